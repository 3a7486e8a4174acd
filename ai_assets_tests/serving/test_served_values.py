"""A product that answers with a number and an interval beside it, by every way of asking."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator
from values_payload import HALF, payload_of

from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.serving.app import create_app
from ai_assets.serving.batch import main
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.edge.__main__ import about
from ai_assets.serving.ranks import Ranks, ranks_of
from ai_assets.serving.settings import Settings

ROWS = [{**small.ROW, "distance": distance} for distance in (1400, 900)]


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
        assert set(predictions(client)[0]) == {"prediction_id", "probability", "label"}
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
    assert "threshold" not in answers.columns
    assert answers["interval_low"].to_list() == pytest.approx((answers["label"] - HALF).to_list())
    assert answers["interval_high"].to_list() == pytest.approx((answers["label"] + HALF).to_list())


FIELDS = {"prediction_id", "probability", "label", "interval"}


def test_a_value_has_no_threshold_by_rest_nor_on_its_pages(client: TestClient):
    assert {frozenset(one) for one in predictions(client)} == {frozenset(FIELDS)}
    assert set(client.get("/schema").json()) == {"bundle", "task", "labels", "request"}
    assert "threshold" not in json.dumps(client.get("/openapi.json").json()["paths"])


def test_a_value_has_no_threshold_in_a_stream(client: TestClient):
    body = "".join(f"{json.dumps(row)}\n" for row in ROWS)
    headers = {"Content-Type": "application/x-ndjson"}
    text = client.post("/stream", content=body, headers=headers).text
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if "{" in line]
    answers = [one for one in events if "label" in one]
    assert len(answers) == len(ROWS)
    assert all(set(one) >= FIELDS and "threshold" not in one for one in answers)


def test_a_value_has_no_threshold_in_graphql(client: TestClient):
    for asked in ("predict(rows: []) { threshold }", "model { threshold }"):
        wrong = client.post("/graphql", json={"query": f"{{ {asked} }}"}).json()
        assert "Cannot query field 'threshold'" in wrong["errors"][0]["message"]
    told = client.post("/graphql", json={"query": "{ model { task labels } }"}).json()
    assert told["data"]["model"] == {"task": "regression", "labels": []}


def test_a_value_has_no_threshold_in_v2(client: TestClient):
    for model in ("trips", "trips_vectors"):
        outputs = client.get(f"/v2/models/{model}").json()["outputs"]
        assert {one["name"] for one in outputs} == FIELDS | {"bundle"}


def test_what_leaves_for_a_device_has_no_threshold(folder: Path):
    assert about(load_bundle(folder / "payload"))["threshold"] is None


def test_a_value_is_counted_by_its_rank_among_those_of_test_rows(client: TestClient):
    def counted() -> tuple[float, float]:
        lines = client.get("/metrics").text.splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        name = 'ai_assets_value_rank_{}{{product="trips"}}'
        return float(found[name.format("count")]), float(found[name.format("sum")])

    predictions(client)
    before = counted()
    answers = [one["label"] for one in predictions(client)]
    after = counted()
    # A quarter of the test rows were answered with 0.25 to 0.5, the others with up to 1.
    ranks = [np.interp(answer, [0.25, 0.5, 1.0], [0.0, 0.25, 1.0]) for answer in answers]
    assert after[0] - before[0] == 2
    assert after[1] - before[1] == pytest.approx(sum(ranks))
    assert 0 < sum(ranks) < 2


def test_ranks_go_from_the_smallest_usual_value_to_the_largest():
    ranks = Ranks((-10.0, 0.0, 30.0), (0.0, 0.5, 1.0))
    assert ranks.of(np.array([-50.0, -5.0, 0.0, 15.0, 99.0])).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_a_bundle_without_a_reference_has_no_ranks(tmp_path: Path):
    bundle = load_bundle(payload_of(tmp_path, None) / "payload")
    assert ranks_of(bundle) is not None
    assert ranks_of(replace(bundle, reference=None)) is None
