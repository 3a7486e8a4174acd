"""The log of a product that tells several classes apart: every probability is kept, row by row."""

import json
import struct
from array import array
from pathlib import Path

import classes_payload as several
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from record_entries import AT, answered

from ai_assets.serving.app import create_app
from ai_assets.serving.record.answers import Answered
from ai_assets.serving.record.decode import rows_of
from ai_assets.serving.record.store import Store, open_store
from ai_assets.serving.settings import Settings

WORDS = ["b", 'é, "c"', "a"]
EACH = [[0.25, 0.5, 0.25], [0.1, 0.2, 0.7], [1.0, 0.0, 0.0]]


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty log."""
    if request.param == "sqlite":
        return open_store(str(tmp_path / "log.sqlite"))
    return open_store(str(request.getfixturevalue("postgres").log_of()))


def of_classes(each: list[list[float]]) -> Answered:
    """A request whose rows have these probabilities."""
    flat = array("d", [number for row in each for number in row])
    return answered(rows=len(each), probability=flat.tobytes(), label=WORDS[: len(each)])


def test_what_was_written_is_read_class_by_class(store: Store):
    entry, one = of_classes(EACH), of_classes(EACH[:1])
    store.write([entry, one])

    found = store.find([entry.request_id, one.request_id])

    assert found[entry.request_id].by_class() == EACH
    assert found[entry.request_id].probabilities() == [0.5, 0.7, 1.0]
    assert found[one.request_id].by_class() == EACH[:1]
    assert list(found[entry.request_id].label) == WORDS
    store.close()


def test_one_probability_a_row_has_no_classes():
    assert answered(rows=3).by_class() is None
    assert answered(rows=3).probabilities() == [0.25] * 3
    assert answered(rows=0).by_class() is None


def test_the_rows_of_an_aged_request_are_as_many_as_its_answers(store: Store):
    many, one, binary = of_classes(EACH), of_classes(EACH[:1]), answered(rows=4)
    store.write([many, one, binary])

    aged = {entry.request_id: entry for entry in store.aged(AT + 1_000_000)}

    entries = {entry.request_id: entry for entry in (many, one, binary)}
    assert {name: entry.rows for name, entry in aged.items()} == {
        many.request_id: 3,
        one.request_id: 1,
        binary.request_id: 4,
    }
    for name, entry in aged.items():
        assert entry.prediction_ids() == entries[name].prediction_ids()
    store.close()


def test_an_answer_is_recorded_with_the_probability_of_every_class(
    of_classes: Path, tmp_path: Path
):
    log = str(tmp_path / "log.sqlite")
    rows = [small.ROW, {**small.ROW, "distance": 6000, "place": "LGA"}]
    settings = Settings(lake=str(of_classes / "lake"), log=log)
    with TestClient(create_app(of_classes / "payload", settings)) as client:
        answers = client.post("/predict", json=rows).json()["predictions"]

    (entry,) = open_store(log).answers((None, None))
    each = [list(answer["probabilities"].values()) for answer in answers]
    assert struct.unpack("6d", entry.probability) == tuple(each[0] + each[1])
    described = open_store(log).descriptions()
    assert described[entry.bundle].classes == several.CLASSES
    found = list(rows_of([entry], described))
    assert [row.probabilities for row in found] == each
    assert [row.probability for row in found] == [max(e) for e in each]
    assert [row.label for row in found] == [answer["label"] for answer in answers]
    assert {row.label for row in found} <= set(several.CLASSES)


def test_a_binary_row_has_no_probabilities_of_classes(shared: Path, tmp_path: Path):
    log = str(tmp_path / "log.sqlite")
    with TestClient(
        create_app(shared / "payload", Settings(lake=str(shared / "lake"), log=log))
    ) as client:
        (answer,) = client.post("/predict", json=small.ROW).json()["predictions"]

    described = open_store(log).descriptions()
    (row,) = rows_of(open_store(log).answers((None, None)), described)
    assert described[row.entry.bundle].classes == ()
    assert "classes" not in json.loads(described[row.entry.bundle].content)
    assert (row.probability, row.probabilities) == (answer["probability"], None)
