"""Lines of the log: which requests get one, what is in it, and what never is."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import small_payload as small
import uvicorn
import websockets.sync.client as ws
from fastapi.testclient import TestClient
from serving_processes import running, started

from ai_assets.serving.access.keys import new_key, split_token
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.observe.logs import JsonFormatter, without_values

MARKER = "Markerquux"
# Serves as `python -m ai_assets.serving` does, but the model fails with a message that holds what
# it was given, as those of libraries do.
FAILING = f"""
from ai_assets.serving import engine
from ai_assets.serving.__main__ import leave, main
def fail(self, parts):
    try:
        raise ValueError("could not convert string to float: {MARKER}")
    except ValueError as error:
        raise RuntimeError(f"bad part {{parts}} {MARKER}") from error
engine.Engine.score = fail
leave(main())
"""


class Place:
    """A server with keys that logs JSON."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self.folder = folder
        with socket.socket() as one, socket.socket() as other:
            for probe in (one, other):
                probe.bind(("127.0.0.1", 0))
            self.port, self.grpc_port = one.getsockname()[1], other.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.arguments = ["--bundle", str(shared / "payload"), "--port", str(self.port)]
        store = KeyFile(folder / "access.sqlite")
        key, token = new_key("ada", ["predict", "explain", "feedback"], time.time())
        store.add(key)
        self.key_id, self.headers = key.id, {"X-API-Key": token}
        self.environment = {
            "AI_ASSETS_LAKE": str(shared / "lake"),
            "AI_ASSETS_ACCESS": "keys",
            "AI_ASSETS_KEYS": str(store.path),
            "AI_ASSETS_LOG": str(folder / "log.sqlite"),
            "AI_ASSETS_LOGS": "json",
            "AI_ASSETS_GRPC_PORT": str(self.grpc_port),
        }

    def text(self) -> str:
        return (self.folder / "server.log").read_text()

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        """The lines with these facts; a line is written just after its answer."""
        end = time.monotonic() + 3
        while not (found := self._lines(wanted)) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def _lines(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text().splitlines()]
        return [one for one in found if all(one.get(k) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("logs"), shared)
    command = ["ai_assets.serving", *place.arguments]
    with running(command, place.url, place.folder, place.environment):
        yield place


def test_a_refused_request_has_a_line_that_its_answer_names(place: Place):
    answer = httpx.post(f"{place.url}/predict", json={"x": MARKER}, headers=place.headers)

    (line,) = place.lines(trace_id=answer.headers["X-Trace-Id"])
    assert answer.status_code == 400
    assert line.pop("ms") > 0
    assert line.pop("time").endswith("Z")
    assert line.pop("message").startswith("refused POST /predict: 400 in ")
    assert line == {
        "level": "warning",
        "logger": "ai_assets.requests",
        "product": "trips",
        "method": "POST",
        "route": "/predict",
        "status": 400,
        "trace_id": answer.headers["X-Trace-Id"],
        "key_id": place.key_id,
    }


def test_what_access_refuses_has_a_line_too(place: Place):
    answer = httpx.post(f"{place.url}/predict", headers={"X-API-Key": "aia_no_such"})

    (line,) = place.lines(trace_id=answer.headers["X-Trace-Id"])
    assert (line["status"], "key_id" in line) == (401, False)


def test_the_line_has_the_callers_trace(place: Place):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    header = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}

    httpx.get(f"{place.url}/{MARKER}", headers={**place.headers, **header})

    (line,) = place.lines(trace_id=trace)
    assert (line["route"], line["status"]) == ("(none)", 404)


def test_answered_requests_have_no_line_unless_asked_for(place: Place):
    answer = httpx.post(f"{place.url}/predict", json=small.ROW, headers=place.headers)

    assert answer.status_code == 200
    assert place.lines(trace_id=answer.headers["X-Trace-Id"]) == []


def test_grpc_calls_have_lines_too(place: Place):
    with grpc.insecure_channel(f"127.0.0.1:{place.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError):
            call(MARKER.encode(), metadata=[("x-api-key", place.headers["X-API-Key"])])

    (line,) = place.lines(method="grpc")
    assert (line["route"], line["status"], line["key_id"]) == (
        "grpc/ModelInfer",
        400,
        place.key_id,
    )


def test_a_share_of_answered_requests_can_be_asked_for(shared: Path, tmp_path: Path):
    place = Place(tmp_path, shared)
    environment = {**place.environment, "AI_ASSETS_LOGS_ANSWERED": "1"}

    with running(["ai_assets.serving", *place.arguments], place.url, tmp_path, environment):
        answer = httpx.post(f"{place.url}/predict", json=small.ROW, headers=place.headers)

    (line,) = place.lines(trace_id=answer.headers["X-Trace-Id"])
    assert (line["level"], line["bundle"], line["rows"]) == ("info", answer.json()["bundle"], 1)


def ask_everything(place: Place) -> list[int]:
    """Send the marker by every way in, wherever it fits; the statuses."""
    row = {**small.ROW, "name": MARKER.lower()}
    query = "query ($rows: [RowInput!]!) { predict(rows: $rows) { label } }"
    asked: list[tuple[str, dict[str, Any]]] = [
        ("predict", {"json": row}),
        ("predict", {"json": {**row, "place": MARKER, MARKER: 1}}),
        ("predict", {"content": MARKER}),
        ("explain", {"json": {**row, "carrier": MARKER}}),
        ("feedback", {"json": {"prediction_id": MARKER, "outcome": MARKER}}),
        ("graphql", {"json": {"query": query, "variables": {"rows": [row]}}}),
        ("graphql", {"json": {"query": f"{{ {MARKER} }}"}}),
        ("v2/models/trips/infer", {"json": {"inputs": [{"name": MARKER}]}}),
        (f"v2/models/{MARKER}/infer", {"json": {}}),
        (f"{MARKER}?{MARKER}={MARKER}", {"json": {}}),
    ]
    statuses = [
        httpx.post(f"{place.url}/{path}", headers=place.headers, **content).status_code
        for path, content in asked
    ]
    with ws.connect(
        place.url.replace("http", "ws") + "/stream", additional_headers=place.headers
    ) as s:
        for text in (json.dumps(row), MARKER):
            s.send(text)
            statuses.append(json.loads(s.recv()).get("status", 200))
    return statuses


def test_nothing_of_a_request_is_in_the_log(place: Place):
    statuses = ask_everything(place)

    assert 500 not in statuses
    assert MARKER.lower() not in place.text().lower()
    _, secret = split_token(place.headers["X-API-Key"])
    assert secret not in place.text()


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_of_a_request_is_in_the_log_when_scoring_raises(
    shared: Path, tmp_path: Path, form: str
):
    place = Place(tmp_path, shared)
    (tmp_path / "failing.py").write_text(FAILING)
    environment = {**place.environment, "AI_ASSETS_LOGS": form}

    with started(["failing", *place.arguments], place.url, tmp_path, environment) as (client, _):
        statuses = ask_everything(place)
        answer = client.post("/predict", json=small.ROW, headers=place.headers)

    assert statuses.count(500) == 2
    assert answer.status_code == 500
    assert answer.json() == {"error": "The server made a mistake.", "details": []}
    assert MARKER.lower() not in place.text().lower()
    assert "RuntimeError from ValueError" in place.text()
    assert "failing:8 fail" in place.text().replace("__main__:", "failing:")
    if form == "json":
        trace = answer.headers["X-Trace-Id"]
        failure, line = place.lines(trace_id=trace)
        assert (failure["where"], line["status"]) == ("/predict", 500)


def test_a_record_with_an_exception_shows_its_type_only():
    try:
        raise KeyError(MARKER)
    except KeyError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it broke", None, sys.exc_info())

    content = json.loads(JsonFormatter().format(record))

    assert content["error"]["type"] == "KeyError"
    assert content["message"] == "it broke"
    assert MARKER not in json.dumps(content)


def test_the_places_of_an_exception_are_modules_not_paths():
    try:
        json.loads("{")
    except ValueError as error:
        found = without_values(error)

    assert found["type"] == "JSONDecodeError"
    assert any(place.startswith("json.decoder:") for place in found["places"])
    assert "/" not in "".join(found["places"])


def test_a_form_that_there_is_not_is_refused(shared: Path):
    ran = subprocess.run(
        [sys.executable, "-m", "ai_assets.serving", "--bundle", str(shared / "payload")],
        env={"AI_ASSETS_LOGS": "xml", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ran.returncode == 1
    assert "AI_ASSETS_LOGS must be one of 'text', 'json', but got 'xml'" in ran.stderr


def test_a_caller_that_goes_away_is_no_failure_of_the_server(client: TestClient):
    """What fails is counted against a bundle."""
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    config = uvicorn.Config(client.app, port=0, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode())
        time.sleep(0.3)
    time.sleep(0.3)
    server.should_exit = True
    thread.join()

    text = client.get("/metrics").text
    assert 'route="predict",status="499"' in text
    assert 'route="predict",status="500"' not in text
