"""However many mistakes a request holds, few are looked into: near names cost time, told or not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.lifecycle import errors
from ai_assets.lifecycle.errors import did_you_mean
from ai_assets.serving import request
from ai_assets.serving.app import create_app
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.frames import ColumnReader
from ai_assets.serving.problems import Refused
from ai_assets.serving.protocols.rows import until_silent
from ai_assets.serving.request import RequestReader
from ai_assets.serving.settings import Settings

MANY = 20_000
# The first ten details of a refusal are given a near name.
MOST = 10
STRANGERS = {f"distance_{number:05}": number for number in range(MANY)}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of each search for a near name, how many names were compared with."""
    found: list[int] = []

    def counting(search: Callable[..., list[str]]) -> Callable[..., list[str]]:
        def counted(word: str, names: Any, *given: Any, **named: Any) -> list[str]:
            found.append(len(names))
            return search(word, names, *given, **named)

        return counted

    for module in (errors, request):
        monkeypatch.setattr(module, "get_close_matches", counting(module.get_close_matches))
    yield found


@pytest.fixture(scope="module")
def reader(shared: Path) -> RequestReader:
    return RequestReader(load_bundle(shared / "payload"), max_rows=1000)


def refused(call: Callable[[], Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def test_a_row_of_very_many_unknown_fields(reader: RequestReader, compared: list[int]):
    row = {**small.ROW, **STRANGERS}

    found = refused(lambda: reader.rows(json.dumps(row).encode()))

    assert [d.field for d in found.details] == list(STRANGERS)[:50]
    assert found.error == "'distance_00000' is not a field of the request. Did you mean 'distance'?"
    assert "Did you mean" in found.details[MOST - 1].message
    assert "Did you mean" not in found.details[MOST].message
    assert len(compared) == MOST


def test_what_is_missing_is_looked_for_among_few(reader: RequestReader, compared: list[int]):
    found = refused(lambda: reader.rows(json.dumps(STRANGERS).encode()))

    missing = [d.field for d in found.details if "is required" in d.message]
    assert missing == [name for name, check in reader.checks.items() if check.required]
    assert len(found.details) == 50
    assert len(compared) == MOST
    assert max(compared) <= 50


def test_good_fields_among_very_many_are_still_checked(reader: RequestReader):
    row = {**STRANGERS, **small.ROW, "place": "EWK"}

    found = refused(lambda: reader.rows(json.dumps(row).encode()))

    assert found.error == "place must be one of EWR, JFK, LGA, but got 'EWK'. Did you mean 'EWR'?"


def test_wrong_values_of_very_many_rows(reader: RequestReader, compared: list[int]):
    rows = [{**small.ROW, "place": "EWK"}] * 1000

    found = refused(lambda: reader.rows(json.dumps(rows).encode()))

    assert [d.row for d in found.details] == list(range(50))
    assert len(compared) == MOST


def test_very_many_columns(reader: RequestReader, compared: list[int]):
    columns = {name: pl.Series(name, [1]) for name in [*small.ROW, *STRANGERS]}

    found = refused(lambda: ColumnReader(reader).check_names(columns))

    assert [d.field for d in found.details] == list(STRANGERS)[:50]
    assert len(compared) == MOST


def test_a_long_name_is_compared_with_none(compared: list[int]):
    assert did_you_mean("distance" * 20, ["distance" * 20 + "s"]) == ""
    assert compared == []
    assert did_you_mean("distanse", ["distance"]) == " Did you mean 'distance'?"
    assert compared == [1]


@pytest.fixture(scope="module")
def client(shared: Path) -> Iterator[TestClient]:
    settings = Settings(lake=str(shared / "lake"), max_rows=1000)
    with TestClient(create_app(shared / "payload", settings)) as client:
        yield client


def test_very_many_wrong_outcomes(client: TestClient, compared: list[int]):
    outcomes = [{"outcom": "late", "carrier": "UA"}] * 1000

    answer = client.post("/feedback", json=outcomes)

    assert answer.status_code == 400
    assert len(answer.json()["details"]) == 50
    assert answer.json()["error"].endswith("Did you mean 'outcome'?")
    assert len(compared) == MOST


def tensors(names: list[str]) -> dict[str, Any]:
    return {"inputs": [{"name": n, "datatype": "INT64", "shape": [1], "data": [1]} for n in names]}


def test_very_many_tensors_are_not_read(
    client: TestClient, compared: list[int], monkeypatch: pytest.MonkeyPatch
):
    few = client.post("/v2/models/trips/infer", json=tensors(list(STRANGERS)[:2000]))
    assert few.status_code == 400
    assert "'distance_00000' is not a field" in few.json()["error"]
    assert len(compared) <= MOST

    monkeypatch.setattr(pl, "Series", None)  # no tensor is made
    many = client.post("/v2/models/trips/infer", json=tensors(list(STRANGERS)[:2001]))
    assert many.status_code == 413
    assert many.json()["error"] == "There must be at most 2000 inputs, but there are 2001."


def test_an_output_is_given_once(client: TestClient):
    body = {**tensors(["distance"]), "outputs": [{"name": "label"}] * 30_000}

    answer = client.post("/v2/models/trips/infer", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"] == "The output 'label' is asked for twice."


def aliases(count: int) -> str:
    asked = " ".join(f"a{number}: label" for number in range(count))
    return f"query ($rows: [RowInput!]!) {{ predict(rows: $rows) {{ {asked} }} }}"


def asked(client: TestClient, query: str, rows: int) -> dict[str, Any]:
    body = {"query": query, "variables": {"rows": [small.ROW] * rows}}
    content: dict[str, Any] = client.post("/graphql", json=body).json()
    return content


def test_rows_times_fields_of_a_query_are_bounded(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    from ai_assets.serving.protocols import graphql_calls

    monkeypatch.setattr(graphql_calls, "MOST_VALUES", 120)

    (error,) = asked(client, aliases(13), 10)["errors"]
    assert error["extensions"]["status"] == 413
    assert error["message"] == (
        "130 values are asked for, rows x fields, and at most 120 may be. "
        "Ask for fewer rows or fields."
    )
    good = asked(client, aliases(12), 10)["data"]["predict"]
    assert good == [{f"a{number}": "late" for number in range(12)}] * 10


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ("label label", 2),
        ("...F ...F } } fragment F on Prediction { label ... { model", 4),
        ("label online { name version }", 4),
        ("online { a: name b: name c: name }", 4),
    ],
)
def test_what_is_asked_twice_or_within_counts(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, fields: str, values: int
):
    from ai_assets.serving.protocols import graphql_calls

    query = f"query ($rows: [RowInput!]!) {{ predict(rows: $rows) {{ {fields} }} }}"

    monkeypatch.setattr(graphql_calls, "MOST_VALUES", 10 * values)
    assert "errors" not in asked(client, query, 10)
    monkeypatch.setattr(graphql_calls, "MOST_VALUES", 10 * values - 1)
    assert f"{10 * values} values are asked for" in asked(client, query, 10)["errors"][0]["message"]


def test_fields_of_many_aliases_count_together(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    from ai_assets.serving.protocols import graphql_calls

    monkeypatch.setattr(graphql_calls, "MOST_VALUES", 9)
    query = "{ a: schema { name } b: schema { name } model { bundle } }"

    found = client.post("/graphql", json={"query": query}).json()

    assert [error["path"] for error in found["errors"]] == [["b"]]
    assert found["errors"][0]["message"].startswith("16 values are asked for")


def test_no_long_list_is_made_on_the_event_loop(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    from ai_assets.serving.protocols import graphql_calls

    found: list[bool] = []

    def ask(rows: int) -> None:
        found.clear()
        assert asked(client, aliases(1), rows)["data"]["predict"] == [{"a0": "late"}] * rows

    complete = graphql_calls.ExecutionContext.complete_list_value

    def noted(*given: Any) -> Any:
        try:
            asyncio.get_running_loop()
            found.append(True)
        except RuntimeError:
            found.append(False)
        return complete(*given)

    monkeypatch.setattr(graphql_calls.ExecutionContext, "complete_list_value", noted)
    ask(1000)
    assert found == [False]
    ask(20)
    assert found == [True]


def test_lists_of_several_variables_are_bounded_together(client: TestClient):
    query = (
        "query ($a: [RowInput!]!, $b: [RowInput!]!) "
        "{ a: predict(rows: $a) { label } b: predict(rows: $b) { label } }"
    )
    variables = {"a": [small.ROW] * 501, "b": [small.ROW] * 500}

    answer = client.post("/graphql", json={"query": query, "variables": variables}).json()

    assert answer["errors"][0]["message"] == "There must be at most 1000 rows, but there are 1001."


@pytest.fixture
def impatient(shared: Path) -> Iterator[TestClient]:
    """A server with room for one stream, which may be silent for a moment."""
    settings = Settings(lake=str(shared / "lake"), streams=1, stream_seconds=0.5)
    with TestClient(create_app(shared / "payload", settings)) as client:
        yield client


def test_a_socket_that_says_nothing_is_closed_and_makes_room(impatient: TestClient):
    for _ in range(2):
        with impatient.websocket_connect("/stream") as stream:
            stream.send_text(json.dumps(small.ROW))
            assert stream.receive_json()["label"] == "late"
            closed = stream.receive()
        assert closed["type"] == "websocket.close"
        assert (closed["code"], closed["reason"]) == (1000, "No row came for 0.5 s.")


def test_rows_are_taken_until_none_comes():
    async def slow() -> AsyncIterator[bytes | None]:
        yield b"1"
        yield None
        await asyncio.Event().wait()

    async def quick() -> AsyncIterator[bytes | None]:
        yield b"1"

    async def taken(rows: AsyncIterator[bytes | None]) -> list[bytes | None]:
        return [row async for row in until_silent(rows, 0.05)]

    assert asyncio.run(taken(slow())) == [b"1", None]
    assert asyncio.run(taken(quick())) == [b"1"]
