"""A server records what it answers and what it is told, and says so only when it is so."""

import json
import sqlite3
import struct
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.serving.app import create_app
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.answers import Answered, Told
from ai_assets.serving.record.feedback import FeedbackReader
from ai_assets.serving.record.ids import split_id
from ai_assets.serving.record.store import Store, open_store
from ai_assets.serving.settings import Settings

ROW = small.ROW
KEY = {"due": ROW["due"], "carrier": ROW["carrier"]}
EVENT_US = 1_365_607_800_000_000  # 2013-04-10T15:30:00Z


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the server of the test records."""
    return tmp_path / "log.sqlite"


@pytest.fixture
def client(shared: Path, log: Path) -> Iterator[TestClient]:
    """A server with a log of its own."""
    settings = Settings(lake=str(shared / "lake"), log=str(log), max_rows=20)
    with TestClient(create_app(shared / "payload", settings)) as running:
        yield running


def opened(log: Path) -> Store:
    return open_store(str(log))


def entries(log: Path) -> list[Answered]:
    return list(opened(log).answers((None, None)))


def outcomes(log: Path) -> list[Told]:
    return list(opened(log).outcomes((None, None)))


def test_an_answer_is_recorded_with_all_that_it_was_made_of(client: TestClient, log: Path):
    rows = [ROW, {**ROW, "place": "JFK", "carrier": "ZZ", "due": "2013-04-10T13:00:00-04:00"}]

    answer = client.post("/predict", json={"rows": rows}).json()

    (entry,) = entries(log)
    assert entry.prediction_ids() == [p["prediction_id"] for p in answer["predictions"]]
    assert entry.probabilities() == [p["probability"] for p in answer["predictions"]]
    assert entry.label == [p["label"] for p in answer["predictions"]]
    assert (entry.bundle, entry.model) == (answer["bundle"], answer["model"])
    assert (entry.route, entry.role, entry.key_id) == ("predict", "stable", None)
    assert (entry.threshold, entry.online) == (0.6, {"weather": "0"})
    assert (entry.event_from, entry.event_to) == (EVENT_US, EVENT_US + 90 * 60_000_000)
    assert 0 < entry.latency_ms < 10_000
    described = opened(log).descriptions()[entry.bundle]
    assert entry.given_rows(described.table.columns) == rows
    assert described.encoding.names == ("place", "distance", "carrier_age", "temp")
    seen = struct.unpack("8f", entry.features)
    assert seen[:4] == (0.0, 1400.0, 12.0, 50.0)
    assert seen[4:6] == (1.0, 1400.0)
    assert seen[6] != seen[6]  # the carrier has no age


def test_how_requests_ended_is_counted_in_the_log_when_the_server_stops(shared: Path, log: Path):
    settings = Settings(lake=str(shared / "lake"), log=str(log), max_rows=20)
    with TestClient(create_app(shared / "payload", settings)) as client:
        tag = client.post("/predict", json=ROW).json()["bundle"]
        client.post("/predict", json=[ROW, ROW])
        client.post("/predict", json={})

    (counts,) = opened(log).counts((None, None))

    assert (counts.bundle, counts.role, counts.route) == (tag, "stable", "predict")
    assert (counts.answered, counts.refused, counts.failed) == (2, 1, 0)
    assert sum(counts.latency.values()) == 2
    assert 0 < counts.to_us - counts.from_us < 60_000_000


def test_a_request_that_is_refused_is_not_recorded(client: TestClient, log: Path):
    assert client.post("/predict", json={**ROW, "place": "EWK"}).status_code == 400

    assert entries(log) == []


def test_an_outcome_by_id_is_kept_with_the_key_of_its_row(client: TestClient, log: Path):
    rows = [{**ROW, "carrier": "AA"}, ROW]
    ids = [p["prediction_id"] for p in client.post("/predict", json=rows).json()["predictions"]]

    answer = client.post("/feedback", json={"prediction_id": ids[1], "outcome": "late"})

    assert (answer.status_code, answer.json()) == (200, {"recorded": 1})
    (one,) = outcomes(log)
    assert json.loads(one.entity) == {"due": "2013-04-10T15:30:00+00:00", "carrier": "UA"}
    assert (one.prediction_id, one.outcome, one.event_us) == (ids[1], "late", EVENT_US)
    assert one.known_us == one.at_us > EVENT_US


def test_outcomes_by_key_and_again_are_all_kept_in_their_order(client: TestClient, log: Path):
    told = [
        {**KEY, "outcome": True, "known_at": "2013-04-11T00:00:00Z"},
        {**KEY, "due": "2013-04-10T17:30:00+02:00", "outcome": "not late"},
    ]

    assert client.post("/feedback", json=told).json() == {"recorded": 2}

    one, two = outcomes(log)
    assert (one.outcome, two.outcome) == ("late", "not late")
    assert one.entity == two.entity
    assert one.event_us == two.event_us == EVENT_US
    assert one.known_us == 1_365_638_400_000_000
    assert one.prediction_id is None


UNKNOWN = str(uuid.UUID(int=7 << 76 | 2 << 62 | 99))
BAD: dict[str, tuple[Any, int, str]] = {
    "no outcome": ({**KEY}, 400, "'outcome' is missing."),
    "another word": ({**KEY, "outcome": "lat"}, 400, "Did you mean 'late'?"),
    "a number": ({**KEY, "outcome": 1}, 400, "outcome must be one of 'not late', 'late', but"),
    "half a key": (
        {"carrier": "UA", "outcome": "late"},
        400,
        "'due' is missing: an outcome needs prediction_id, or due and carrier.",
    ),
    "a bad key": ({**KEY, "due": "soon", "outcome": "late"}, 400, "ISO 8601"),
    "a bad time": ({**KEY, "outcome": "late", "known_at": "now"}, 400, "known_at must be an ISO"),
    "an unknown field": ({**KEY, "outcom": "late"}, 400, "Did you mean 'outcome'?"),
    "both": (
        {**KEY, "prediction_id": UNKNOWN, "outcome": "late"},
        400,
        "'due' is not a field of an outcome beside prediction_id.",
    ),
    "no id": ({"prediction_id": "7", "outcome": "late"}, 400, "an id that /predict has given"),
    **{
        f"an id written as {text}": (
            {"prediction_id": text, "outcome": "late"},
            400,
            "an id that /predict has given",
        )
        for text in (
            f"urn:uuid:{UNKNOWN}",
            f"{{{UNKNOWN}}}",
            UNKNOWN.replace("-", ""),
            f"{UNKNOWN}\n",
        )
    },
    "an unknown id": (
        {"prediction_id": UNKNOWN, "outcome": "late"},
        404,
        f"There is no prediction {UNKNOWN}.",
    ),
    "a null as an id": (
        {"prediction_id": None, "outcome": "late"},
        400,
        "prediction_id must be an id that /predict has given, but got null.",
    ),
    "a null as an outcome": (
        {**KEY, "outcome": None},
        400,
        "outcome must be one of 'not late', 'late', but got null.",
    ),
    "a list as an outcome": ({**KEY, "outcome": [None, True]}, 400, "but got [null, true]."),
    "a time far ahead": (
        {**KEY, "outcome": "late", "known_at": "2099-01-01T00:00:00Z"},
        409,
        "minutes after the server's clock, but got '2099-01-01T00:00:00Z'.",
    ),
    "no object": (["late"], 400, "An outcome must be an object"),
    "nothing": ([], 400, "at least one outcome"),
    "too many": ([{**KEY, "outcome": "late"}] * 21, 413, "at most 20 outcomes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_feedback_is_told_and_not_kept(client: TestClient, log: Path, case: str):
    body, status, words = BAD[case]
    good = {**KEY, "outcome": "late"}

    single = client.post("/feedback", json=body)

    assert single.status_code == status
    assert words in single.json()["error"]
    if isinstance(body, dict):
        among = client.post("/feedback", json=[good, body]).json()
        assert among["details"][0]["row"] == 1
    assert outcomes(log) == []


def test_what_becomes_known_after_the_servers_clock_and_its_skew_is_refused():
    decision = Decision("regression", classes=())
    reader = FeedbackReader(small.tables()["trips"], decision, max_rows=5)
    now = datetime(2013, 4, 11, 6, 0, tzinfo=UTC)

    def known(text: str | None) -> datetime | None:
        (found,) = reader.read(json.dumps({**KEY, "outcome": 0, "known_at": text}).encode(), now)
        return found.known_at

    assert known(None) is None
    assert known("2013-04-11T08:04:59+02:00") == now + timedelta(minutes=4, seconds=59)
    assert known("2013-04-11T06:05:00Z") == now + timedelta(minutes=5)
    with pytest.raises(Refused) as refused:
        known("2013-04-11T06:05:01Z")

    (detail,) = refused.value.details
    assert (refused.value.status, detail.field) == (409, "known_at")
    assert (detail.given, detail.allowed) == (
        "2013-04-11T06:05:01Z",
        "at most 2013-04-11T06:05:00Z",
    )
    assert detail.message == (
        "known_at must be at most 2013-04-11T06:05:00Z, 5 minutes after the server's clock, "
        "but got '2013-04-11T06:05:01Z'."
    )


@pytest.mark.parametrize("given", ["1" + "0" * 400, "1e999", "true", '"1"', "null"])
def test_what_is_no_finite_number_is_no_outcome_of_a_regression(given: str):
    reader = FeedbackReader(small.tables()["trips"], Decision("regression", classes=()), max_rows=5)
    row = json.dumps({**KEY, "outcome": 0})

    with pytest.raises(Refused, match="outcome must be a finite number"):
        reader.read(row.replace(": 0}", f": {given}}}").encode())
    (found,) = reader.read(row.replace(": 0}", ": -2}").encode())
    assert found.outcome == -2.0


def test_a_row_that_the_request_did_not_have_is_no_prediction(client: TestClient):
    (prediction,) = client.post("/predict", json=ROW).json()["predictions"]
    place = split_id(prediction["prediction_id"])
    assert place is not None
    beyond = str(uuid.UUID(int=place[0] + 1))

    answer = client.post("/feedback", json={"prediction_id": beyond, "outcome": "late"})

    assert answer.status_code == 404


def test_while_the_log_is_locked_nothing_is_answered(client: TestClient, log: Path):
    assert client.post("/predict", json=ROW).status_code == 200
    other = sqlite3.connect(log, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    locked = client.post("/predict", json=ROW)
    ready = client.get("/readyz")
    other.execute("ROLLBACK")

    assert (locked.status_code, locked.headers["retry-after"]) == (503, "1")
    assert "The log cannot be used: database is locked." in locked.json()["error"]
    assert str(log) not in locked.text
    assert ready.status_code == 503
    assert client.post("/predict", json=ROW).status_code == 200
    assert client.get("/readyz").status_code == 200
    assert len(entries(log)) == 2


def test_without_a_log_answers_are_given_and_feedback_is_not_taken(shared: Path, log: Path):
    settings = Settings(lake=str(shared / "lake"), log=str(log), log_mode="off")
    with TestClient(create_app(shared / "payload", settings)) as client:
        assert client.post("/predict", json=ROW).status_code == 200
        told = client.post("/feedback", json={**KEY, "outcome": "late"})

    assert told.status_code == 404
    assert "keeps no record" in told.json()["error"]
    assert not log.exists()


def test_the_bundle_declares_how_it_is_recorded(tmp_path: Path, log: Path):
    from ai_assets.resources.signer import Signer
    from ai_assets.serving.start import Start

    folder = small.write_payload(tmp_path / "payload")
    signer = Signer(key_path=str(tmp_path / "key.pem"))
    signer.sign(folder, {**small.FACTS, "serving": {"log": "async"}})

    declared = Start(folder, Settings(lake=str(tmp_path), log=str(log))).wait()
    given = Start(folder, Settings(lake=str(tmp_path), log=str(log), log_mode="durable")).wait()

    assert declared.keeper.recorder.mode == "async"
    assert given.keeper.recorder.mode == "durable"
    declared.keeper.recorder.close()
    given.keeper.recorder.close()


def test_metrics_and_the_page_tell_of_the_record(client: TestClient):
    client.post("/predict", json=[ROW, ROW])

    metrics = client.get("/metrics").text
    page = client.get("/openapi.json").json()["paths"]["/feedback"]["post"]

    assert 'ai_assets_recorded_rows_sum{product="trips"} 2.0' in metrics
    assert 'ai_assets_record_seconds_count{product="trips"} 1.0' in metrics
    by_id, by_key, many = page["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert by_id["required"] == ["prediction_id", "outcome"]
    assert by_key["required"] == ["due", "carrier", "outcome"]
    assert many["type"] == "array"
    assert "404" in page["responses"]


def test_columns_and_ready_vectors_are_recorded_too(client: TestClient, log: Path):
    columns = {name: {"datatype": "BYTES", "shape": [1], "data": [ROW[name]]} for name in KEY}
    columns["place"] = {"datatype": "BYTES", "shape": [1], "data": ["EWR"]}
    columns["distance"] = {"datatype": "INT64", "shape": [1], "data": [1400]}
    inputs = [{"name": name, **tensor} for name, tensor in columns.items()]
    vector = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [0, 1400, 12, 50]}

    by_rows, by_vectors = (
        client.post(f"/v2/models/{name}/infer", json={"inputs": given})
        for name, given in (("trips", inputs), ("trips_vectors", [vector]))
    )

    assert (by_rows.status_code, by_vectors.status_code) == (200, 200), by_vectors.text
    rows, vectors = entries(log)
    table = opened(log).descriptions()[rows.bundle].table
    (given,) = rows.given_rows(table.columns)
    assert {k: v for k, v in given.items() if v is not None} == {
        **ROW,
        "due": "2013-04-10T15:30:00.000000Z",
    }
    assert (rows.route, rows.event_from, rows.event_to) == ("v2/infer", EVENT_US, EVENT_US)
    assert rows.features == vectors.features
    assert (vectors.given, vectors.event_from, vectors.online) == (b"", None, {})
    for entry, entity in ((rows, rows.prediction_ids()), (vectors, vectors.prediction_ids())):
        told = client.post("/feedback", json={"prediction_id": entity[0], "outcome": "late"})
        assert told.status_code == 200, entry.route
    assert [json.loads(o.entity) for o in outcomes(log)] == [
        {"due": "2013-04-10T15:30:00+00:00", "carrier": "UA"},
        {},
    ]


def test_an_id_in_capitals_is_kept_as_it_was_given_out(client: TestClient, log: Path):
    given = client.post("/predict", json=ROW).json()["predictions"][0]["prediction_id"]

    told = {"prediction_id": given.upper(), "outcome": "late"}

    assert client.post("/feedback", json=told).status_code == 200
    assert [one.prediction_id for one in outcomes(log)] == [given]
