"""Why a row with a picture and a text was answered so: patches and words that add up."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import claims_payload as items
import numpy as np
import pytest
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.tokens import shipped_tokenizer, token_ids
from ai_assets.serving.app import create_app
from ai_assets.serving.parts import Parts, most_rows
from ai_assets.serving.settings import Settings

ROW = {
    "photo": items.photo((2, 3), (8, 10), (5, 5)),
    "remark": "The roof, a leak! Thanks",
    "age": 40,
}


def client_of(payload: Path) -> Iterator[TestClient]:
    with TestClient(create_app(payload, Settings(lake=str(payload.parent)))) as running:
        yield running


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("claims")
    yield from client_of(items.signed_payload(folder / "payload", folder))


def explained(client: TestClient, row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The explanation of a row, and its contributions by feature."""
    (found,) = client.post("/explain", json=row).json()["explanations"]
    return found, {part["feature"]: part for part in found["contributions"]}


def test_patches_and_words_have_what_the_model_gives_them(client: TestClient):
    _, parts = explained(client, ROW)

    seen = np.array(parts["photo"]["map"])
    assert seen.shape == (8, 8)
    # Row 2 of 10 lies in patch 1 of 8, column 3 of 12 in patch 2.
    expected = np.zeros((8, 8))
    expected[1, 2], expected[6, 6] = 1.5 * items.SLOPE, -0.75 * items.SLOPE
    assert seen == pytest.approx(expected, abs=1e-4)
    assert parts["photo"]["contribution"] == pytest.approx(expected.sum(), abs=1e-4)
    assert parts["photo"]["value"] == "picture of 10 x 12 pixels"

    words = [(one["word"], round(one["contribution"], 4)) for one in parts["remark"]["words"]]
    assert words == [("The", 0), ("roof,", 0.4), ("a", 0), ("leak!", 1), ("Thanks", -0.4)]
    assert parts["remark"]["value"] == ROW["remark"]
    assert set(parts["age"]) == {"feature", "value", "contribution"}
    assert parts["age"]["contribution"] == pytest.approx(items.OF_AGE * 30 * items.SLOPE, abs=1e-4)


def test_base_is_the_empty_row_and_all_adds_up_to_the_answer(client: TestClient):
    found, parts = explained(client, ROW)

    # White paper: both spots are bright. Nothing was said. The typical age is 10.
    empty = items.SLOPE * (items.OF_AGE * 10 - 1.5 + 0.75) + items.SHIFT
    assert found["base"] == pytest.approx(empty, abs=1e-4)
    total = found["base"] + sum(part["contribution"] for part in parts.values())
    assert found["output"] == pytest.approx(total, abs=1e-9)
    (answer,) = client.post("/predict", json=ROW).json()["predictions"]
    probability = answer["probability"]
    assert found["output"] == pytest.approx(np.log(probability / (1 - probability)), abs=1e-5)


def test_what_was_not_given_contributes_nothing_and_has_no_words(client: TestClient):
    _, parts = explained(client, {"age": 10})

    # A missing picture is black, and that is something.
    assert parts["photo"]["contribution"] == pytest.approx(0.75 * items.SLOPE, abs=1e-4)
    assert parts["remark"] == {"feature": "remark", "value": None, "contribution": 0, "words": []}


def test_openapi_and_graphql_tell_of_patches_and_words(client: TestClient):
    schema = client.get("/openapi.json").json()["paths"]["/explain"]["post"]["responses"]
    told = Draft202012Validator(schema["200"]["content"]["application/json"]["schema"])
    answer = client.post("/explain", json=ROW).json()
    assert told.is_valid(answer)
    words = next(
        part["words"]
        for part in answer["explanations"][0]["contributions"]
        if part["feature"] == "remark"
    )
    words[0]["contribution"] = "much"
    assert not told.is_valid(answer)

    query = """query ($rows: [RowInput!]!) { explain(rows: $rows) {
      contributions { feature map words { word contribution } } } }"""
    # GraphQL knows pictures as Base64 only.
    asked = {"query": query, "variables": {"rows": [{"remark": "a leak"}]}}
    (row,) = client.post("/graphql", json=asked).json()["data"]["explain"]
    parts = {part["feature"]: part for part in row["contributions"]}
    assert np.shape(parts["photo"]["map"]) == (8, 8) and parts["photo"]["words"] is None
    assert [one["word"] for one in parts["remark"]["words"]] == ["a", "leak"]
    assert parts["age"]["map"] is None


def test_personal_words_and_pictures_are_not_told(tmp_path: Path):
    for client in client_of(items.signed_payload(tmp_path / "payload", tmp_path, personal=True)):
        answer = client.post("/explain", json=ROW)
        parts = {p["feature"]: p for p in answer.json()["explanations"][0]["contributions"]}
        assert "leak" not in answer.text
        for name in ("photo", "remark"):
            assert set(parts[name]) == {"feature", "value", "contribution"}
            assert parts[name]["value"] == "(personal)"
        assert parts["remark"]["contribution"] == pytest.approx(1.0, abs=1e-4)


def of_text(tokens: int) -> Encoding:
    return Encoding((EncodedColumn("said", "text", (), (tokens,), shipped_tokenizer()),))


def test_a_word_that_is_left_out_is_as_if_it_had_not_been_said():
    encoding, text = of_text(16), "Unbelievably good, isn't it?"
    parts = Parts.of(encoding, {"said": text})
    row, empty = token_ids(shipped_tokenizer(), [text, ""], 16).astype(np.float32)
    own = np.array([[True, True, True, True], [False, True, True, False], [False] * 4])

    (found,) = parts.rows(row, empty, own)

    shorter = token_ids(shipped_tokenizer(), [text, "good, isn't", ""], 16)
    assert parts.cuts[0].words == ("Unbelievably", "good,", "isn't", "it?")
    assert found.tolist() == shorter.tolist()


def test_what_is_cut_off_is_no_word_that_was_read():
    parts = Parts.of(of_text(6), {"said": "one two three four five six"})
    assert parts.cuts[0].words == ("one", "two", "three", "four")


def test_a_long_text_is_explained_by_phrases_within_its_bound():
    encoding = of_text(256)
    parts = Parts.of(encoding, {"said": " ".join(["so"] * 250)})

    assert most_rows(encoding) == 48
    assert len(parts.cuts[0].words) <= 24
    assert " ".join(parts.cuts[0].words) == " ".join(["so"] * 250)
    assert most_rows(of_text(48)) == 160
    picture = Encoding((EncodedColumn("scan", "image", (), (8, 8, 1)),))
    large = Encoding((EncodedColumn("scan", "image", (), (224, 224, 3)),))
    assert (most_rows(picture), most_rows(large)) == (2048, 128)
    assert most_rows(Encoding((EncodedColumn("age", "numeric"),))) is None


def test_a_slow_model_is_asked_for_no_more_rows_than_that(client: TestClient, monkeypatch):
    engine = client.app.state.server.slot.engine  # type: ignore[attr-defined]
    asked: list[int] = []
    real = engine.scorer.probabilities

    def counted(matrix: np.ndarray) -> np.ndarray:
        asked.append(len(matrix))
        return real(matrix)

    monkeypatch.setattr(engine.scorer, "probabilities", counted)
    started = time.perf_counter()
    explained(client, ROW)
    # The row itself, and parts put in and taken out.
    assert sum(asked) <= 1 + 2 + 160
    assert time.perf_counter() - started < 1
