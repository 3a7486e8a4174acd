"""A product that answers with a number and an interval beside it, by every way of asking."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.resources.signer import Signer
from ai_assets.serving.app import create_app
from ai_assets.serving.batch import main
from ai_assets.serving.settings import Settings

HALF = 0.25
ROWS = [{**small.ROW, "distance": distance} for distance in (1400, 900)]


def payload_of(folder: Path, interval: Interval | None) -> Path:
    """The small payload, whose number is an answer by itself."""
    small.write_payload(folder / "payload")
    decision = Decision("regression", classes=(), interval=interval)
    (folder / "payload" / "decision.json").write_text(decision.to_json(), encoding="utf-8")
    plain = Calibration().to_json()
    (folder / "payload" / "calibration.json").write_text(plain, encoding="utf-8")
    facts = {**small.FACTS, "task": "regression"}
    Signer(key_path=str(folder / "key.pem")).sign(folder / "payload", facts)
    small.write_weather(folder / "lake")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return payload_of(tmp_path_factory.mktemp("values"), Interval(0.9, HALF, 60))


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    settings = Settings(lake=str(folder / "lake"), max_rows=20)
    with TestClient(create_app(folder / "payload", settings)) as running:
        yield running


def predictions(client: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.post("/predict", json=ROWS).json()["predictions"]
    return found


def test_beside_each_value_lie_the_ends_of_its_interval(client: TestClient):
    answers = predictions(client)
    assert len({answer["label"] for answer in answers}) == 2
    for answer in answers:
        assert answer["label"] == answer["probability"]
        assert answer["interval"] == pytest.approx([answer["label"] - HALF, answer["label"] + HALF])


def test_what_is_answered_again_has_its_interval(client: TestClient):
    first, again = (predictions(client) for _ in range(2))
    assert [one["interval"] for one in again] == [one["interval"] for one in first]


def test_without_an_interval_there_is_none(tmp_path: Path):
    place = payload_of(tmp_path, None)
    settings = Settings(lake=str(place / "lake"))
    with TestClient(create_app(place / "payload", settings)) as client:
        assert "interval" not in predictions(client)[0]
        page = client.get("/openapi.json").json()
    assert "interval" not in json.dumps(page["paths"]["/predict"])


def test_the_page_says_what_the_interval_is(client: TestClient):
    page = client.get("/openapi.json").json()
    answer = page["paths"]["/predict"]["post"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    told = client.post("/predict", json=ROWS).json()
    Draft202012Validator(schema).validate(told)
    own = schema["properties"]["predictions"]["items"]["properties"]["interval"]
    assert (own["minItems"], own["maxItems"]) == (2, 2)
    assert own["description"] == (
        "Lower and upper end: 90% of outcomes within 0.25 of the prediction, measured on 60 rows"
    )
    told["predictions"][0]["interval"].append(1.0)
    assert not Draft202012Validator(schema).is_valid(told)


def test_graphql_gives_the_interval_as_a_list(client: TestClient):
    query = "query ($rows: [RowInput!]!) { predict(rows: $rows) { label interval } }"
    found = client.post("/graphql", json={"query": query, "variables": {"rows": ROWS}}).json()
    expected = [{"label": one["label"], "interval": one["interval"]} for one in predictions(client)]
    assert found["data"]["predict"] == expected


def test_v2_gives_the_interval_as_two_columns(client: TestClient):
    model = client.get("/v2/models/trips_vectors").json()
    assert {"name": "interval", "datatype": "FP64", "shape": [-1, 2]}.items() <= next(
        one for one in model["outputs"] if one["name"] == "interval"
    ).items()
    (given,) = model["inputs"]
    vectors = [[0.0, 1400.0, 12.0, 50.0], [0.0, 900.0, 12.0, 50.0]]
    asked = {"name": given["name"], "datatype": given["datatype"], "shape": [2, 4], "data": vectors}
    body = {"inputs": [asked], "outputs": [{"name": "label"}, {"name": "interval"}]}
    told = client.post("/v2/models/trips_vectors/infer", json=body).json()
    label, interval = (one["data"] for one in told["outputs"])
    ends = np.reshape(interval, (2, 2))
    assert ends == pytest.approx(np.column_stack([np.array(label) - HALF, np.array(label) + HALF]))


def test_a_file_gets_the_ends_in_columns_of_their_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_ASSETS_LAKE", str(folder / "lake"))
    source, target = tmp_path / "rows.parquet", tmp_path / "answers.parquet"
    frame = pl.DataFrame(ROWS).with_columns(pl.col("due").str.to_datetime(time_zone="UTC"))
    frame.write_parquet(source)
    assert main([str(source), str(target), "--bundle", str(folder / "payload")]) == 0
    answers = pl.read_parquet(target)
    assert answers["interval_low"].to_list() == pytest.approx((answers["label"] - HALF).to_list())
    assert answers["interval_high"].to_list() == pytest.approx((answers["label"] + HALF).to_list())
