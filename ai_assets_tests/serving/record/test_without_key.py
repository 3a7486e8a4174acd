"""Rows without a key, as pictures often are: known by what was predicted of them alone."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import items_payload as items
import polars as pl
import pytest
from fastapi.testclient import TestClient

from ai_assets.lifecycle.product import ImageDeclaration, Product
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.serving.app import create_app
from ai_assets.serving.record.asked import Asked
from ai_assets.serving.record.decode import rows_of
from ai_assets.serving.record.store import open_store
from ai_assets.serving.settings import Settings
from ai_assets.serving.traffic.router import _pieces
from ai_assets.stages.served import _row_ids, feedback_frame, last_of_each_row, served_frame

ROWS = [{"photo": [[0, 0, 0], [0, 0, 0]]}, {"photo": [[255, 255, 255], [255, 255, 255]]}]
TABLE = items.tables("image")["things"]
DECLARED = ImageDeclaration.model_validate(
    {
        "description": "Is anything on it?",
        "owners": ["team:forms"],
        "request": "things",
        "tables": {"things": TABLE.model_dump(exclude_none=True)},
        "label": {"sql": "number > 0", "positive": "some"},
    }
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "log.sqlite"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, log: Path) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("things")
    payload = items.signed_payload(folder / "payload", folder, "image")
    with TestClient(create_app(payload, Settings(lake="none", log=str(log)))) as running:
        yield running


def test_each_outcome_finds_the_row_that_it_is_of(client: TestClient, log: Path) -> None:
    told = client.post("/predict", json=ROWS).json()["predictions"]
    first, second = (each["prediction_id"] for each in told)
    outcomes = [
        {"prediction_id": second, "outcome": "some"},
        {"prediction_id": first, "outcome": "some"},
        {"prediction_id": first, "outcome": "none"},
    ]
    assert client.post("/feedback", json=outcomes).json() == {"recorded": 3}

    store = open_store(str(log))
    served = served_frame(list(rows_of(store.answers((None, None)), store.descriptions())), TABLE)
    product = Product("things", log.parent, DECLARED)
    last = last_of_each_row(feedback_frame(list(store.outcomes((None, None))), product))

    assert served["_row_id"].null_count() == 0
    found = served.join(last, on="_row_id").sort("prediction_id")
    assert found.select("prediction_id", "outcome").rows() == [(first, "none"), (second, "some")]


@pytest.mark.parametrize("time", [None, "at"])
def test_rows_without_a_key_are_no_row_of_the_table_and_each_its_own(time: str | None) -> None:
    table = Table(
        source=TABLE.source,
        columns={"photo": Column(type="image", size=(2, 3)), "at": Column(type="datetime")},
        time=time,
    )
    keys: list[dict[str, Any]] = [{"at": None} if time else {} for _ in range(3)]
    found = _row_ids(keys, pl.Series("prediction_id", ["a", "b", None]), table)

    assert found[0] != found[1] and found[2] is None


def test_a_key_may_be_a_text() -> None:
    table = Table(source=TABLE.source, key=["note"], columns={"note": Column(type="text")})
    found = _row_ids([{"note": "a"}, {"note": "a"}, {}], pl.Series("id", ["x", "y", "z"]), table)
    assert found[0] == found[1] and found[2] is None


def test_an_outcome_of_nothing_is_refused(client: TestClient) -> None:
    for given in ({"outcome": "some"}, {"number": 3, "outcome": "some"}):
        refused = client.post("/feedback", json=given)
        assert refused.status_code == 400
    assert "'number' is not a field of an outcome" in refused.text
    refused = client.post("/feedback", json={"outcome": "some"})
    assert "'prediction_id' is missing: an outcome needs it." in refused.text
    page = client.get("/openapi.json").json()["paths"]["/feedback"]["post"]["requestBody"]
    forms = page["content"]["application/json"]["schema"]["oneOf"]
    one, many = forms
    assert one["required"] == ["prediction_id", "outcome"] and many["type"] == "array"


def test_under_a_trial_all_rows_of_a_request_go_one_way() -> None:
    bundle = SimpleNamespace(request=SimpleNamespace(table=TABLE), product="things", tag="t:2")
    slot = SimpleNamespace(bundle=bundle)
    release = SimpleNamespace(mode="canary")
    now: Any = SimpleNamespace(
        candidate=slot, stable=slot, is_split=True, encodes_alike=True, share=0.3, release=release
    )
    roles = []
    for _ in range(400):
        pieces = _pieces(now, pl.DataFrame({"photo": [b"a", b"b"]}), Asked("predict", 0.0))
        (piece,) = pieces
        assert list(piece.rows) == [0, 1] and piece.request_id is not None
        assert piece.asked.split is not None and piece.asked.split.by == "request"
        roles.append(piece.asked.role)
    assert 60 < roles.count("candidate") < 180
