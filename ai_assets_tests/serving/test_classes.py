"""A product that tells several classes apart: what it answers, and what it says of its answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import classes_payload as several
import numpy as np
import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.app import create_app
from ai_assets.serving.batch import main
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.scoring import Scorer
from ai_assets.serving.settings import Settings

CLASSES = several.CLASSES
ROWS = [
    {**small.ROW, "place": place, "carrier": carrier, "distance": distance}
    for place, carrier, distance in (("EWR", "UA", 1400), ("LGA", "ZZ", 6000), ("JFK", "AA", 1))
]
# What the model sees of them: the carrier ZZ has no age.
SEEN = [[0, 1400, 12, 50], [2, 6000, 0, 50], [1, 1, 30, 50]]


@pytest.fixture(scope="module")
def client(of_classes: Path) -> Iterator[TestClient]:
    """The running app."""
    settings = Settings(lake=str(of_classes / "lake"), max_rows=20)
    with TestClient(create_app(of_classes / "payload", settings)) as running:
        yield running


def check_answers(answers: list[dict[str, Any]], classes: tuple[str, ...] = CLASSES) -> None:
    """The answers to ROWS are those that one computes by hand."""
    own = several.expected(SEEN, len(classes))
    assert [list(answer["probabilities"]) for answer in answers] == [list(classes)] * len(ROWS)
    each = np.array([list(answer["probabilities"].values()) for answer in answers])
    assert each == pytest.approx(own, abs=1e-5)
    assert [answer["probability"] for answer in answers] == each.max(axis=1).tolist()
    assert [answer["label"] for answer in answers] == [classes[at] for at in own.argmax(axis=1)]


def test_a_row_is_answered_with_the_probability_of_every_class(client: TestClient):
    answers = client.post("/predict", json=ROWS).json()["predictions"]

    check_answers(answers)
    assert len({answer["label"] for answer in answers}) > 1
    assert list(answers[0]) == ["prediction_id", "probability", "label", "probabilities"]


@pytest.mark.parametrize("classes", [several.MANY, ("ja", "nein")], ids=["39", "2"])
def test_there_may_be_as_many_classes_as_one_likes(tmp_path: Path, classes: tuple[str, ...]):
    payload = several.signed_payload(tmp_path / "payload", tmp_path, classes)
    small.write_weather(tmp_path / "lake")
    settings = Settings(lake=str(tmp_path / "lake"), log=str(tmp_path / "log.sqlite"))
    with TestClient(create_app(payload, settings)) as client:
        check_answers(client.post("/predict", json=ROWS).json()["predictions"], classes)
        told = client.post("/feedback", json=[outcome(classes[-1]), outcome(classes[0] + "x")])

    assert told.status_code == 400
    (detail,) = told.json()["details"]
    assert (detail["row"], detail["allowed"]) == (1, list(classes))
    assert f"Did you mean '{classes[0]}'?" in detail["message"]


def outcome(word: Any) -> dict[str, Any]:
    return {"due": small.ROW["due"], "carrier": "UA", "outcome": word}


def test_an_outcome_is_a_word_of_the_classes(client: TestClient):
    good = client.post("/feedback", json=[outcome(word) for word in CLASSES])

    assert good.json() == {"recorded": 3}
    for wrong in ("fruh", True, 0, None):
        refused = client.post("/feedback", json=outcome(wrong))
        assert refused.status_code == 400, wrong
        assert refused.json()["details"][0]["allowed"] == list(CLASSES)
    near = client.post("/feedback", json=outcome("fruh")).json()["error"]
    assert near.startswith(
        "outcome must be one of 'früh', 'pünktlich, fast', '遅い', but got 'fruh'"
    )
    assert near.endswith("Did you mean 'früh'?")


def test_the_page_says_what_is_answered(client: TestClient):
    page = client.get("/openapi.json").json()
    answer = {name: page["paths"][f"/{name}"]["post"]["responses"]["200"] for name in NAMES}
    schemas = {n: a["content"]["application/json"]["schema"] for n, a in answer.items()}
    predicted = client.post("/predict", json=ROWS).json()
    explained = client.post("/explain", json=ROWS[:1]).json()

    assert predicted["predictions"][0].keys() == set(of(schemas["predict"], "predictions"))
    for name, given in (("predict", predicted), ("explain", explained)):
        Draft202012Validator(schemas[name]).validate(given)
    own = of(schemas["predict"], "predictions")
    assert own["label"]["enum"] == list(CLASSES)
    assert own["probability"]["description"] == "Probability of the answer"
    assert own["probabilities"]["required"] == list(CLASSES)
    assert own["probabilities"]["examples"] == [{CLASSES[0]: 1.0, CLASSES[1]: 0.0, CLASSES[2]: 0.0}]
    assert of(schemas["explain"], "explanations")["label"]["enum"] == list(CLASSES)
    told = page["paths"]["/feedback"]["post"]["requestBody"]["content"]["application/json"]
    assert told["schema"]["oneOf"][0]["properties"]["outcome"] == {"enum": list(CLASSES)}
    del predicted["predictions"][0]["probabilities"][CLASSES[1]]
    assert not Draft202012Validator(schemas["predict"]).is_valid(predicted)


NAMES = ("predict", "explain")


def of(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The properties of the objects of a list."""
    found: dict[str, Any] = schema["properties"][name]["items"]["properties"]
    return found


def test_the_schema_names_the_classes_and_no_threshold(client: TestClient):
    told = client.get("/schema").json()

    assert (told["task"], told["labels"]) == ("multiclass", list(CLASSES))
    assert "threshold" not in told


QUERY = """query ($rows: [RowInput!]!) {
  predict(rows: $rows) { label probability probabilities { label probability } }
  explain(rows: $rows) { label output base contributions { contribution } }
  model { task labels }
}"""


def test_graphql_answers_with_a_list_of_the_classes(client: TestClient):
    found = client.post("/graphql", json={"query": QUERY, "variables": {"rows": ROWS}}).json()

    data = found["data"]
    listed = [
        {**answer, "probabilities": {e["label"]: e["probability"] for e in answer["probabilities"]}}
        for answer in data["predict"]
    ]
    check_answers(listed)
    assert [one["label"] for one in data["explain"]] == [one["label"] for one in listed]
    assert data["model"] == {"task": "multiclass", "labels": list(CLASSES)}
    for asked in ("predict(rows: []) { threshold }", "model { threshold }"):
        wrong = client.post("/graphql", json={"query": f"{{ {asked} }}"}).json()
        assert "Cannot query field 'threshold'" in wrong["errors"][0]["message"]


@pytest.mark.parametrize(("most", "refused"), [(12_600, False), (12_599, True)])
def test_graphql_counts_the_classes_among_the_values_that_are_asked_for(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, most: int, refused: bool
):
    from ai_assets.serving.protocols import graphql_calls

    # 20 rows of 90 lists, each of three objects of two fields.
    monkeypatch.setattr(graphql_calls, "MOST_VALUES", most)
    each = " ".join(f"a{at}: probabilities {{ label probability }}" for at in range(90))
    asked = "query ($rows: [RowInput!]!) { predict(rows: $rows) { %s } }"
    rows = {"rows": [small.ROW] * 20}

    found = client.post("/graphql", json={"query": asked % each, "variables": rows}).json()

    if refused:
        assert "12600 values are asked for" in found["errors"][0]["message"]
    else:
        assert len(found["data"]["predict"][0]["a89"]) == 3


def test_a_stream_answers_as_predict_does(client: TestClient):
    with client.websocket_connect("/stream") as socket:
        for row in ROWS:
            socket.send_text(json.dumps(row))
        answers = [socket.receive_json() for _ in ROWS]

    check_answers(answers)


def test_answers_are_counted_by_their_class(client: TestClient):
    def counts() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        found = [
            line.rpartition(" ") for line in lines if line.startswith("ai_assets_labels_total")
        ]
        return {name.split('label="')[1].split('"')[0]: float(n) for name, _, n in found}

    answers = client.post("/predict", json=ROWS).json()["predictions"]
    before = counts()

    client.post("/predict", json=ROWS)

    gained = {name: count - before.get(name, 0) for name, count in counts().items()}
    labels = [answer["label"] for answer in answers]
    assert {n: c for n, c in gained.items() if c} == {n: labels.count(n) for n in set(labels)}


@pytest.mark.parametrize("rejected", [False, True], ids=["good", "with a bad piece"])
def test_a_file_gets_a_column_a_class(
    of_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rejected: bool
):
    monkeypatch.setenv("AI_ASSETS_LAKE", str(of_classes / "lake"))
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    bad = [{**ROWS[0], "distance": 9000}] if rejected else []
    frame = pl.DataFrame([*bad, *ROWS]).with_columns(pl.col("due").str.to_datetime(time_zone="UTC"))
    frame.write_parquet(source)

    bundle = str(of_classes / "payload")
    assert main([str(source), str(target), "--bundle", bundle, "--chunk-rows", "1"]) == 0

    found = pl.read_parquet(target)
    names = [f"probability_{name}" for name in CLASSES]
    assert found.columns == [
        "_row", "due", "carrier", "prediction_id", "probability", "label", *names,
    ]  # fmt: skip
    each = found.select(names).to_numpy()
    assert each == pytest.approx(several.expected(SEEN), abs=1e-5)
    assert found["probability"].to_list() == each.max(axis=1).tolist()
    assert found["label"].to_list() == [CLASSES[at] for at in each.argmax(axis=1)]


def test_no_rows_give_no_probabilities(of_classes: Path):
    scores = Scorer(load_bundle(of_classes / "payload")).score_features(small.FEATURES.clear())

    assert (scores.predicted.shape, scores.label) == ((0, 3), [])


def test_a_model_of_other_classes_is_not_served(tmp_path: Path):
    folder = small.write_payload(tmp_path / "payload")
    several.turn(folder)
    (folder / "model.onnx").write_bytes(several.model(4))
    small.Signer(key_path=str(tmp_path / "key.pem")).sign(folder, several.FACTS)

    with pytest.raises(BundleError, match=r"tells 4 classes apart, decision\.json names 3"):
        Scorer(load_bundle(folder)).open_model()
