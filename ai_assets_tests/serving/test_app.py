"""The HTTP surface: answers, pages, and a useful refusal for each kind of bad row."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_payload as small
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings

ROW = small.ROW


@pytest.mark.parametrize("body", [ROW, [ROW], {"rows": [ROW]}], ids=["row", "list", "rows"])
def test_each_form_of_body_gets_the_same_answer(client: TestClient, body: Any):
    answer = client.post("/predict", json=body).json()

    (one,) = answer["predictions"]
    assert one["probability"] == pytest.approx(0.621519, abs=1e-5)
    assert (one["label"], one["threshold"]) == ("late", 0.6)
    assert len(one["prediction_id"]) == 36
    assert answer["bundle"].startswith("trips:2013-04-01-")
    assert answer["model"] == "2013-04-01"
    assert answer["online"]["weather"]["version"] == "0"
    assert answer["online"]["weather"]["age_seconds"] >= 0


BAD = {
    "missing": ({"place": None}, "place", "must be one of EWR, JFK, LGA, but got null"),
    "unknown": ({"distanse": 3}, "distanse", "Did you mean 'distance'?"),
    "late": ({"delay": 3}, "delay", "becomes known only after the answer"),
    "text for number": ({"distance": "far"}, "distance", "must be a whole number, but got 'far'"),
    "fraction": ({"distance": 1.5}, "distance", "must be a whole number"),
    "true for number": ({"distance": True}, "distance", "a whole number, but got true"),
    "number for text": ({"carrier": 3}, "carrier", "must be a text, but got 3"),
    "number for truth": ({"first": 1}, "first", "must be true or false"),
    "too large": ({"distance": 6001}, "distance", "between 1 and 6000 mile, but got 6001"),
    "very large": ({"distance": 10**30}, "distance", "64 bits"),
    "at most": ({"weight": 1e7}, "weight", "at most 1000000"),
    "not allowed": ({"place": "EWK"}, "place", "Did you mean 'EWR'?"),
    "pattern": ({"carrier": "UAX"}, "carrier", "matches [A-Z0-9]{2}"),
    "line end": ({"carrier": "UA\n"}, "carrier", "matches [A-Z0-9]{2}"),
    "null key": ({"carrier": None}, "carrier", "must be a text, but got null"),
    "naive time": ({"due": "2013-04-10T15:30:00"}, "due", "with its UTC offset"),
    "no time": ({"due": "tomorrow"}, "due", "ISO 8601"),
    "time in no year": ({"due": "0001-01-01T00:00:00+14:00"}, "due", "ISO 8601"),
    "no date": ({"booked": "2013-02-30"}, "booked", "ISO 8601 date"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_field_is_named_with_what_is_allowed(client: TestClient, case: str):
    change, field, words = BAD[case]

    response = client.post("/predict", json=[ROW, {**ROW, **change}])

    assert response.status_code == 400
    (detail,) = response.json()["details"]
    assert (detail["row"], detail["field"]) == (1, field)
    assert words in detail["message"]
    assert response.json()["error"] == detail["message"]
    assert detail["allowed"]


def test_a_missing_field_offers_the_name_that_was_given(client: TestClient):
    row = {k: v for k, v in ROW.items() if k != "distance"} | {"distanc": 3}

    details = client.post("/predict", json=row).json()["details"]

    expected = "The field 'distance' is required, but missing. Was it given as 'distanc'?"
    assert expected in [d["message"] for d in details]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(client: TestClient, number: str):
    body = json.dumps(ROW)[:-1] + f', "weight": {number}}}'

    response = client.post("/predict", content=body)

    assert response.status_code == 400
    assert "a finite number" in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("", 400, "must be JSON"),
        ("{", 400, "must be JSON"),
        (b"\xff", 400, "must be JSON"),
        ("[" * 5000, 400, "must be JSON"),
        ("null", 400, "is null"),
        ("3", 400, "is a number"),
        ('"x"', 400, "is a text"),
        ("[]", 400, "the list is empty"),
        ('{"rows": []}', 400, "the list is empty"),
        ('{"rows": {}}', 400, "must be a list"),
        ('{"rows": [], "x": 1}', 400, "'x' is not a field beside 'rows'"),
        ("[3]", 400, "A row must be an object"),
        (json.dumps([ROW] * 21), 413, "at most 20 rows, but there are 21"),
        (" " * 2_000_001, 413, "at most 2000000 bytes"),
    ],
)
def test_a_bad_body_is_refused_in_words(client: TestClient, body: Any, status: int, words: str):
    response = client.post("/predict", content=body)

    assert response.status_code == status
    assert words in response.json()["error"]


def test_personal_data_is_not_repeated(client: TestClient):
    response = client.post("/predict", json={**ROW, "name": "JOHN DOE"})

    assert response.status_code == 400
    assert "JOHN" not in response.text


def test_optional_fields_may_be_null_or_left_out(client: TestClient):
    assert client.post("/predict", json={**ROW, "weight": None}).status_code == 200


def test_an_unknown_category_is_scored_as_other(client: TestClient):
    assert client.post("/predict", json={**ROW, "carrier": "ZZ"}).status_code == 200


def test_an_unknown_category_is_refused_where_declared(tmp_path: Path):
    declared = small.tables()
    columns = dict(declared["trips"].columns)
    columns["place"] = columns["place"].model_copy(update={"unknown": "reject", "allowed": None})
    declared["trips"] = declared["trips"].model_copy(update={"columns": columns})
    folder = small.signed_payload(tmp_path / "payload", tmp_path, declared=declared)
    small.write_weather(tmp_path / "lake")
    client = TestClient(create_app(folder, Settings(lake=str(tmp_path / "lake"))))

    response = client.post("/predict", json={**ROW, "place": "BOS"})

    assert response.status_code == 400
    assert "one of EWR, JFK, LGA, but got 'BOS'" in response.json()["error"]
    assert client.post("/predict", json=ROW).status_code == 200


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
NEAR_ROWS = st.fixed_dictionaries(
    {name: st.just(value) | VALUES for name, value in ROW.items()},
    optional={
        "weight": VALUES | st.floats(), "first": VALUES, "name": st.text(), "x": VALUES,
        "booked": VALUES | st.dates().map(str),
    },
)  # fmt: skip
DUE_ROWS = st.datetimes(timezones=st.timezones()).map(lambda t: {**ROW, "due": t.isoformat()})


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=VALUES | NEAR_ROWS | DUE_ROWS | st.lists(NEAR_ROWS | DUE_ROWS | VALUES, max_size=4))
def test_no_body_is_ever_answered_by_a_server_error(client: TestClient, body: Any):
    response = client.post("/predict", content=json.dumps(body))

    assert response.status_code in (200, 400, 413)
    assert response.json()


@pytest.mark.parametrize("page", ["healthz", "livez", "readyz", "metrics", "model_card", "schema"])
def test_each_page_is_there(client: TestClient, page: str):
    assert client.get(f"/{page}").status_code == 200


def test_openapi_shows_the_products_own_fields(client: TestClient):
    page = client.get("/openapi.json").json()

    assert page["info"]["title"] == "trips"
    row = page["components"]["schemas"]["Row"]
    distance = row["properties"]["distance"]
    assert distance["description"] == "Distance (mile)"
    assert (distance["minimum"], distance["maximum"], distance["x-unit"]) == (1, 6000, "mile")
    assert row["properties"]["place"]["enum"] == ["EWR", "JFK", "LGA"]
    assert row["required"] == ["due", "place", "carrier", "distance"]
    assert "delay" not in row["properties"]
    body = page["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["one row"]["value"] == ROW


def test_the_documented_example_is_answered(client: TestClient):
    page = client.get("/openapi.json").json()
    body = page["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]

    for example in body["examples"].values():
        assert client.post("/predict", json=example["value"]).status_code == 200


def test_metrics_count_answers_and_refusals(client: TestClient):
    client.post("/predict", json=ROW)
    client.post("/predict", json={})

    text = client.get("/metrics").text

    assert 'ai_assets_requests_total{product="trips",route="predict",status="200"}' in text
    assert 'ai_assets_requests_total{product="trips",route="predict",status="400"}' in text
    assert 'ai_assets_online_age_seconds{product="trips",table="weather"}' in text


def test_contributions_explain_the_answer(client: TestClient):
    (found,) = client.post("/explain", json=ROW).json()["explanations"]

    total = found["base"] + sum(c["contribution"] for c in found["contributions"])
    assert total == pytest.approx(found["output"], abs=1e-6)
    assert {c["feature"] for c in found["contributions"]} == set(small.FEATURES.columns)
    assert found["space"] == "log odds"


def test_a_query_that_fails_on_a_row_is_refused_and_spares_others(tmp_path: Path):
    sql = (
        "SELECT r._row_id, r.place, r.distance, CAST(r.carrier AS INT) AS carrier_age, 1.0 AS temp"
    )
    sql += ", (SELECT count(*) FROM weather) AS n, (SELECT count(*) FROM carriers) AS m"
    folder = small.signed_payload(tmp_path / "payload", tmp_path, sql=sql + " FROM request AS r")
    small.write_weather(tmp_path / "lake")
    client = TestClient(create_app(folder, Settings(lake=str(tmp_path / "lake"))))

    refused = client.post("/predict", json=ROW)

    assert refused.status_code == 400
    assert "cannot be computed" in refused.json()["error"]
    assert client.post("/predict", json={**ROW, "carrier": "12"}).status_code == 200
