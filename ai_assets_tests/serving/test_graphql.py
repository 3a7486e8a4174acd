"""GraphQL, asked by the client `gql` of a server in a process of its own."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXTransport
from serving_processes import running

from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.protocols import graphql as served
from ai_assets.serving.protocols.graphql_documents import MOST_FIELDS, MOST_TOKENS
from ai_assets.serving.protocols.graphql_names import graphql_names

PREDICT = """query ($rows: [RowInput!]!) {
  predict(rows: $rows) { predictionId label probability threshold bundle model
                         online { name version ageSeconds } } }"""
FEEDBACK = "mutation ($o: [OutcomeInput!]!) { feedback(outcomes: $o) { recorded } }"
EXPLAIN = """query ($rows: [RowInput!]!) {
  explain(rows: $rows) { output base contributions { feature value contribution } } }"""


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, KeyFile]]:
    """A server that asks for keys: where it answers, and its keys."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("graphql")
    store = KeyFile(folder / "access.sqlite")
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": str(store.path),
        "AI_ASSETS_LOG": str(folder / "log.sqlite"),
        "AI_ASSETS_MAX_ROWS": "20",
    }
    url = f"http://127.0.0.1:{port}"
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(port)]
    store.add(new_key("first", ["admin"], time.time())[0])
    with running(command, url, folder, environment):
        yield url, store


def headers(store: KeyFile, *scopes: str) -> dict[str, str]:
    """The header of a new key, once the server knows it."""
    key, token = new_key("ada", list(scopes), time.time())
    store.add(key)
    time.sleep(1.1)
    return {"X-API-Key": token}


@pytest.fixture(scope="module")
def all_scopes(place: tuple[str, KeyFile]) -> dict[str, str]:
    """The header of a key that may ask everything."""
    return headers(place[1], "predict", "explain", "feedback")


@pytest.fixture(scope="module")
def caller(place: tuple[str, KeyFile], all_scopes: dict[str, str]) -> Client:
    """A client that asked for the schema first, as such clients do."""
    transport = HTTPXTransport(url=f"{place[0]}/graphql", headers=all_scopes)
    client = Client(transport=transport, fetch_schema_from_transport=True)
    with client:
        assert client.schema is not None
    return client


def ask(caller: Client, text: str, **variables: Any) -> dict[str, Any]:
    query = gql(text)
    query.variable_values = variables
    return caller.execute(query)


def test_the_schema_has_the_products_own_fields(caller: Client):
    schema = caller.schema
    assert schema is not None
    fields = schema.type_map["RowInput"].fields

    assert {name: str(field.type) for name, field in fields.items()} == {
        "due": "DateTime!",
        "place": "String!",
        "carrier": "String!",
        "distance": "Int64!",
        "weight": "Number",
        "name": "Personal",
        "first": "Boolean",
        "booked": "Date",
    }
    assert fields["distance"].description == (
        "Distance (mile); at least 1; at most 6000; such as 1400"
    )


def test_an_answer_is_that_of_rest(
    caller: Client, place: tuple[str, KeyFile], all_scopes: dict[str, str]
):
    (one,) = ask(caller, PREDICT, rows=[small.ROW])["predict"]

    rest = httpx.post(f"{place[0]}/predict", json=small.ROW, headers=all_scopes).json()
    (expected,) = rest["predictions"]
    assert (one["label"], one["threshold"]) == ("late", 0.6)
    assert one["probability"] == expected["probability"]
    assert (one["bundle"], one["model"]) == (rest["bundle"], rest["model"])
    assert (one["online"][0]["name"], one["online"][0]["version"]) == ("weather", "0")


def test_rows_may_stand_in_the_query_itself(caller: Client):
    row = 'due: "2013-04-10T15:30:00Z", place: "EWR", carrier: "UA", distance: 1400'

    found = ask(caller, f"{{ predict(rows: [{{{row}}}]) {{ label }} }}")

    assert found == {"predict": [{"label": "late"}]}


def test_contributions_add_up_to_the_output(caller: Client):
    (found,) = ask(caller, EXPLAIN, rows=[small.ROW])["explain"]

    total = found["base"] + sum(c["contribution"] for c in found["contributions"])
    assert total == pytest.approx(found["output"], abs=1e-6)


def test_an_outcome_is_taken_by_id_and_by_key(caller: Client):
    (one,) = ask(caller, PREDICT, rows=[small.ROW])["predict"]
    by_id = {"predictionId": one["predictionId"], "outcome": "late"}
    by_key = {"due": small.ROW["due"], "carrier": "UA", "outcome": False}

    assert ask(caller, FEEDBACK, o=[by_id])["feedback"] == {"recorded": 1}
    assert ask(caller, FEEDBACK, o=[by_key])["feedback"] == {"recorded": 1}


def test_what_answers_is_told(caller: Client):
    found = ask(caller, "{ model { product task labels } schema { name graphqlName type } }")

    assert found["model"] == {
        "product": "trips",
        "task": "binary",
        "labels": ["not late", "late"],
    }
    assert found["schema"][0] == {"name": "due", "graphqlName": "due", "type": "datetime"}


@pytest.mark.parametrize(
    ("query", "variables", "status", "words"),
    [
        (PREDICT, {"rows": [{**small.ROW, "place": "EWK"}]}, 400, "Did you mean 'EWR'?"),
        (PREDICT, {"rows": [{**small.ROW, "distance": "far"}]}, 400, "must be a whole number"),
        (PREDICT, {"rows": [{**small.ROW, "distance": 10**30}]}, 400, "64 bits"),
        (PREDICT, {"rows": []}, 400, "the list is empty"),
        (EXPLAIN, {"rows": [small.ROW] * 17}, 413, "at most 16 rows to explain, not 17"),
        (FEEDBACK, {"o": [{"outcome": "late"}]}, 400, "'due' is missing"),
        (
            FEEDBACK,
            {"o": [{"predictionId": "0197c5f0-0000-7000-8000-000000000000", "outcome": "late"}]},
            404,
            "There is no prediction 0197c5f0",
        ),
    ],
)
def test_a_refusal_has_the_words_of_rest(
    caller: Client, query: str, variables: dict[str, Any], status: int, words: str
):
    with pytest.raises(TransportQueryError) as refused:
        ask(caller, query, **variables)

    (error,) = refused.value.errors or []
    assert words in error["message"]
    assert error["extensions"]["status"] == status


def test_a_field_that_fails_leaves_the_others(caller: Client):
    query = f"""query ($rows: [RowInput!]!) {{
      bad: {"explain(rows: $rows) { output }"} predict(rows: $rows) {{ label }} }}"""
    with pytest.raises(TransportQueryError) as refused:
        ask(caller, query, rows=[small.ROW] * 17)

    assert refused.value.data is not None
    assert refused.value.data["bad"] is None


def posted(client: TestClient, query: str, **variables: Any) -> httpx.Response:
    return client.post("/graphql", json={"query": query, "variables": variables})


def test_each_field_needs_its_own_scope(place: tuple[str, KeyFile]):
    url, store = place
    may_predict = headers(store, "predict")
    rows = {"rows": [small.ROW]}

    def call(query: str, variables: dict[str, Any], key: dict[str, str]) -> httpx.Response:
        content = {"query": query, "variables": variables}
        return httpx.post(f"{url}/graphql", json=content, headers=key)

    assert call(PREDICT, rows, {}).status_code == 401
    assert call(PREDICT, rows, may_predict).json()["data"]["predict"][0]["label"] == "late"
    assert call("{ model { bundle } }", {}, may_predict).status_code == 200
    hidden = "query ($rows: [RowInput!]!) { ...f } fragment f on Query { explain(rows: $rows)"
    for query, variables, scope in (
        (FEEDBACK, {"o": [{"outcome": "late"}]}, "feedback"),
        (hidden + " { base } }", rows, "explain"),
    ):
        refused = call(query, variables, may_predict)
        assert refused.status_code == 403
        assert f"has not the scope '{scope}'" in refused.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"{", 400, "must be JSON"),
        (b"[]", 400, "an object with the text 'query'"),
        (b'{"query": 3}', 400, "an object with the text 'query'"),
        (b'{"query": "{a}", "variables": []}', 400, "'variables' must be an object"),
        (b'{"query": "{a}", "operationName": 3}', 400, "'operationName' must be a text"),
        (b'{"query": "subscription {x}"}', 200, "no subscriptions"),
    ],
)
def test_a_request_that_is_none_is_refused(
    client: TestClient, content: bytes, status: int, words: str
):
    answer = client.post("/graphql", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == status
    assert words in answer.json()["errors"][0]["message"]


def test_only_json_that_is_posted_is_answered(client: TestClient):
    """Another site's page can have a browser send a form or a text, or get an address."""
    assert client.get("/graphql?query={model{bundle}}").status_code == 405
    assert client.post("/graphql", content=b'{"query": "{a}"}').status_code == 415


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{" + "model{bundle}" * MOST_FIELDS + "}", f"at most {MOST_FIELDS} fields"),
        ("{" + "a " * MOST_TOKENS + "}", f"at most {MOST_TOKENS} tokens"),
        ("#" * 100_001, "at most 100000 characters"),
        ("{" + "a{" * 30 + "b" + "}" * 30 + "}", "at most 20 fields deep"),
        (
            "query{...a}fragment a on Query{...b ...b}"
            + "".join(
                f"fragment {x} on Query{{...{y} ...{y}}}"
                for x, y in zip("bcdefghij", "cdefghijk", strict=True)
            )
            + "fragment k on Query{model{bundle}}",
            "at most",
        ),
    ],
)
def test_a_query_that_costs_too_much_is_refused(client: TestClient, query: str, words: str):
    began = time.perf_counter()
    answer = posted(client, query)

    assert answer.status_code == 413
    assert words in answer.json()["errors"][0]["message"]
    assert time.perf_counter() - began < 30


def test_many_calls_and_rows_in_one_request_are_bounded_together(client: TestClient):
    once = "predict(rows: $rows) { label }"
    head = "query ($rows: [RowInput!]!)"

    nine = posted(client, head + "{" + "".join(f"a{i}: {once} " for i in range(9)) + "}")
    many = posted(client, head + f"{{ a: {once} b: {once} }}", rows=[small.ROW] * 11)
    long = posted(client, head + f"{{ {once} }}", rows=[small.ROW] * 21)

    assert (nine.status_code, long.status_code) == (413, 413)
    assert many.json()["errors"][0]["message"] == (
        "There must be at most 20 rows, but there are 22."
    )


def test_the_status_tells_a_failure_to_who_asks_for_that(client: TestClient):
    accept = {"Accept": "application/graphql-response+json"}
    wrong = {"query": "{ nope }"}

    assert client.post("/graphql", json=wrong).status_code == 200
    assert client.post("/graphql", json=wrong, headers=accept).status_code == 400


def test_no_error_repeats_personal_data_or_the_whole_row(client: TestClient):
    row = {**small.ROW, "name": "JOHN DOE"}

    wrong_name = posted(client, PREDICT, rows=[row])
    wrong_field = posted(client, PREDICT, rows=[{**row, "first": 3, "nme": "JOHN DOE"}])

    assert "(personal)" in wrong_name.text
    assert "rows[0].first: Boolean cannot represent" in wrong_field.text
    assert "JOHN" not in wrong_name.text + wrong_field.text


def test_a_mistake_of_the_server_says_nothing_of_itself(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    server = client.app.state.server  # type: ignore[attr-defined]
    monkeypatch.setattr(server, "content", lambda _: 1 / 0)

    answer = posted(client, PREDICT, rows=[small.ROW]).json()

    (error,) = answer["errors"]
    assert (error["message"], error["extensions"]["status"]) == (
        "The server made a mistake.",
        500,
    )


def test_without_the_package_the_answer_names_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(served, "_PACKAGE", "no_such_package")

    answer = posted(client, "{ model { bundle } }")

    assert answer.status_code == 501
    assert "graphql-core" in answer.json()["errors"][0]["message"]


def test_names_become_those_that_graphql_allows_and_stay_apart():
    names = ["número", "numero", "2nd", "a-b", "a b", "__x", "долгота", "plain"]

    found = graphql_names(names, taken=["plain"])

    assert found == {
        "número": "numero_2",
        "numero": "numero",
        "2nd": "_2nd",
        "a-b": "a_b",
        "a b": "a_b_2",
        "__x": "_x",
        "долгота": "column",
        "plain": "plain_2",
    }
