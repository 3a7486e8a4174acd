"""A server that is stopped answers whom it let in; a caller that goes away is not worked for."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_payload as small
import uvicorn
import websockets.sync.client as ws
from serving_processes import started, under_bentoml
from v2_requests import inputs
from websockets.exceptions import ConnectionClosed

from ai_assets.serving.app import create_app
from ai_assets.serving.record.store import open_store
from ai_assets.serving.settings import Settings

CALLERS, ANSWERS_BEFORE = 8, 200
HEADERS = {"Content-Type": "application/json"}


def logged(log: Path) -> list[str]:
    """Ids of all answers of a log."""
    return [i for e in open_store(str(log)).answers((None, None)) for i in e.prediction_ids()]


@contextmanager
def server(
    shared: Path, folder: Path, port: int, *more: str, **settings: str
) -> Iterator[tuple[Any, httpx.Client]]:
    """The process and a client."""
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(port), *more]
    environment = {**places(shared, folder), **settings}
    url = f"http://127.0.0.1:{port}"
    with started(command, url, folder, environment) as (client, process):
        yield process, client


@contextmanager
def bento(
    shared: Path, folder: Path, port: int, **settings: str
) -> Iterator[tuple[Any, httpx.Client]]:
    """As `server`, under `bentoml serve`; the process is BentoML's supervisor."""
    environment = {**places(shared, folder), **settings}
    with under_bentoml(shared / "payload", folder, port, environment) as (client, process):
        yield process, client


def places(shared: Path, folder: Path) -> dict[str, str]:
    """Where a server finds rows, and where it records."""
    return {"AI_ASSETS_LAKE": str(shared / "lake"), "AI_ASSETS_LOG": str(folder / "log.sqlite")}


def ask_until_it_is_gone(port: int, answered: list[str], other: list[int]) -> None:
    """Ask until no connection is left; a bad answer, or half of one, is noted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while True:
        try:
            connection.request("POST", "/predict", json.dumps([small.ROW] * 3), HEADERS)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException):
            return
        if answer.status != 200:
            other.append(answer.status)
            return
        answered += [p["prediction_id"] for p in json.loads(answer.read())["predictions"]]


def ask_by_grpc_until_it_is_gone(port: int, answered: list[str], other: list[Any]) -> None:
    """The same over gRPC, where a server that ends is told as unavailable."""
    from tritonclient.grpc import InferenceServerClient, InferInput
    from tritonclient.utils import InferenceServerException

    client = InferenceServerClient(f"127.0.0.1:{port}")
    while True:
        try:
            answer = client.infer("trips", inputs(InferInput, [small.ROW] * 3), client_timeout=30)
        except InferenceServerException as error:
            if error.status() != "StatusCode.UNAVAILABLE":
                other.append(str(error))
            return
        answered += [name.decode() for name in answer.as_numpy("prediction_id")]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("ask", [ask_until_it_is_gone, ask_by_grpc_until_it_is_gone])
def test_what_a_stopped_server_has_scored_it_has_answered_and_recorded(
    shared: Path,
    tmp_path: Path,
    free_port: int,
    another_free_port: int,
    ask: Callable[[int, list[str], list[Any]], None],
    workers: str,
):
    asked = free_port if ask is ask_until_it_is_gone else another_free_port
    ports = ("--grpc-port", str(another_free_port), "--workers", workers)
    with server(shared, tmp_path, free_port, *ports) as (process, _):
        answered, other, ended = stopped_under_load(process, ask, asked)

    assert ended in (0, -signal.SIGTERM)
    assert other == []
    assert sorted(answered) == sorted(logged(tmp_path / "log.sqlite"))


def stopped_under_load(
    process: Any, ask: Callable[[int, list[str], list[Any]], None], port: int
) -> tuple[list[str], list[Any], int]:
    """Stop a server that many ask: the answers, what else came, and how it ended."""
    answered: list[str] = []
    other: list[Any] = []
    callers = [threading.Thread(target=ask, args=(port, answered, other)) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    end = time.monotonic() + 60
    while len(answered) < ANSWERS_BEFORE:
        assert time.monotonic() < end and not other
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    for caller in callers:
        caller.join(timeout=60)
    return answered, other, process.wait(timeout=60)


@pytest.mark.slow
def test_what_a_stopped_bento_has_scored_it_has_answered_and_recorded(
    shared: Path, tmp_path: Path, free_port: int
):
    with bento(shared, tmp_path, free_port) as (process, _):
        answered, other, ended = stopped_under_load(process, ask_until_it_is_gone, free_port)

    assert (ended, other) == (0, [])
    assert sorted(answered) == sorted(logged(tmp_path / "log.sqlite"))


@contextmanager
def half_asked(port: int) -> Iterator[tuple[http.client.HTTPConnection, bytes]]:
    """A request of which half was sent, and the other half."""
    body = json.dumps(small.ROW).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/predict")
    for name, value in {**HEADERS, "Content-Length": str(len(body))}.items():
        connection.putheader(name, value)
    connection.endheaders(body[:20])
    try:
        yield connection, body[20:]
    finally:
        connection.close()


def test_a_request_that_is_under_way_when_the_server_is_stopped_is_answered(
    shared: Path, tmp_path: Path, free_port: int
):
    with (
        server(shared, tmp_path, free_port) as (process, client),
        half_asked(free_port) as (connection, rest),
    ):
        assert client.post("/predict", json=small.ROW).status_code == 200
        process.send_signal(signal.SIGTERM)
        until_refused(free_port)
        assert process.poll() is None

        connection.send(rest)
        answer = connection.getresponse()

        assert answer.status == 200
        (given,) = json.loads(answer.read())["predictions"]
        process.wait(timeout=60)
    assert logged(tmp_path / "log.sqlite")[-1] == given["prediction_id"]


@pytest.mark.slow
def test_a_request_that_is_under_way_when_a_bento_is_stopped_is_answered(
    shared: Path, tmp_path: Path, free_port: int
):
    with (
        bento(shared, tmp_path, free_port) as (process, client),
        half_asked(free_port) as (connection, rest),
        socket.create_connection(("127.0.0.1", free_port), timeout=60) as idle,
    ):
        assert client.post("/predict", json=small.ROW).status_code == 200
        process.send_signal(signal.SIGTERM)
        # The supervisor keeps the port until its worker has ended, which begins by closing whatever
        # asks nothing.
        assert idle.recv(1) == b""
        assert process.poll() is None

        connection.send(rest)
        answer = connection.getresponse()

        assert answer.status == 200
        (given,) = json.loads(answer.read())["predictions"]
        assert process.wait(timeout=60) == 0
    assert logged(tmp_path / "log.sqlite")[-1] == given["prediction_id"]


@pytest.mark.slow
def test_a_caller_that_never_ends_does_not_keep_a_stopped_bento(
    shared: Path, tmp_path: Path, free_port: int
):
    with (
        bento(shared, tmp_path, free_port, AI_ASSETS_MAX_SECONDS="1") as (process, client),
        half_asked(free_port),
    ):
        answer = client.post("/predict", json=small.ROW).json()
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=60) == 0

    (given,) = answer["predictions"]
    assert logged(tmp_path / "log.sqlite") == [given["prediction_id"]]


def test_an_open_stream_does_not_keep_a_stopped_server(
    shared: Path, tmp_path: Path, free_port: int
):
    with server(shared, tmp_path, free_port) as (process, _):
        with ws.connect(f"ws://127.0.0.1:{free_port}/stream") as stream:
            for _ in range(5):
                stream.send(json.dumps(small.ROW))
            answers = [json.loads(stream.recv(timeout=30)) for _ in range(5)]
            process.send_signal(signal.SIGTERM)

            with pytest.raises(ConnectionClosed):
                stream.recv(timeout=30)

        process.wait(timeout=60)
    ids = [answer["prediction_id"] for answer in answers]
    assert sorted(ids) == sorted(logged(tmp_path / "log.sqlite"))


def test_a_server_that_is_asked_too_much_answers_some_and_tells_others_when_to_come_back(
    shared: Path, tmp_path: Path, free_port: int
):
    """Forty callers of ten rows each, where twenty rows may wait."""
    given: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as caller:
            given.extend(caller.post("/predict", json=[small.ROW] * 10) for _ in range(20))

    with server(shared, tmp_path, free_port, AI_ASSETS_MAX_WAITING="20") as (_, client):
        callers = [threading.Thread(target=ask) for _ in range(40)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(timeout=120)
        afterwards = client.post("/predict", json=small.ROW)

    answered = [answer for answer in given if answer.status_code == 200]
    refused = [answer for answer in given if answer.status_code != 200]
    assert len(given) == 800
    assert answered and {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert all("Retry-After" not in answer.headers for answer in answered)
    assert afterwards.status_code == 200
    ids = [p["prediction_id"] for a in [*answered, afterwards] for p in a.json()["predictions"]]
    assert sorted(ids) == sorted(logged(tmp_path / "log.sqlite"))


def until_refused(port: int) -> None:
    """Return when the server takes nobody any more."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    raise AssertionError("the server still takes callers")


def test_a_caller_that_never_ends_does_not_keep_a_stopped_server(
    shared: Path, tmp_path: Path, free_port: int
):
    with (
        server(shared, tmp_path, free_port, AI_ASSETS_MAX_SECONDS="1") as (process, client),
        half_asked(free_port),
    ):
        answer = client.post("/predict", json=small.ROW).json()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)

    (given,) = answer["predictions"]
    assert logged(tmp_path / "log.sqlite") == [given["prediction_id"]]


def test_a_body_that_never_ends_is_refused_and_let_go(shared: Path, tmp_path: Path, free_port: int):
    with (
        server(shared, tmp_path, free_port, AI_ASSETS_MAX_SECONDS="1") as (_, client),
        half_asked(free_port) as (connection, _),
    ):
        answer = connection.getresponse()

        assert (answer.status, answer.getheader("Connection")) == (408, "close")
        assert json.loads(answer.read())["error"] == "The whole body must come within 1 s."
        assert client.post("/predict", json=small.ROW).status_code == 200


@pytest.fixture
def held_up(shared: Path, tmp_path: Path, free_port: int) -> Iterator[tuple[int, Any, Path]]:
    """Port of a server that scores nothing until it is let, what lets it, and its log."""
    log, let = tmp_path / "log.sqlite", threading.Event()
    app = create_app(shared / "payload", Settings(lake=str(shared / "lake"), log=str(log)))
    config = uvicorn.Config(app, port=free_port, log_level="warning")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        batcher = app.state.server.slot.batcher
        score = batcher._score
        batcher._score = lambda parts: let.wait(30) and score(parts)
        yield free_port, let, log
    finally:
        let.set()
        running.should_exit = True
        thread.join(timeout=60)


def ask_and_go(port: int, path: str, rows: Any) -> None:
    """Ask, wait a little, and go away without an answer."""
    body = json.dumps(rows).encode()
    with socket.create_connection(("127.0.0.1", port)) as gone:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        gone.sendall(head.encode() + body)
        time.sleep(0.3)


def test_the_rows_of_a_caller_that_went_away_are_not_scored(
    held_up: tuple[int, threading.Event, Path],
):
    port, let, log = held_up
    answers: list[Any] = []

    def ask() -> None:
        url = f"http://127.0.0.1:{port}/predict"
        answers.append(httpx.post(url, json=small.ROW, timeout=60))

    callers = [threading.Thread(target=ask) for _ in range(2)]
    callers[0].start()
    time.sleep(0.3)
    ask_and_go(port, "/predict", [small.ROW] * 5)
    callers[1].start()
    time.sleep(0.3)
    let.set()
    for caller in callers:
        caller.join(timeout=60)

    assert [answer.status_code for answer in answers] == [200, 200]
    given = {answer.json()["predictions"][0]["prediction_id"] for answer in answers}
    # Those of the one that went away would be five.
    assert set(logged(log)) == given
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'ai_assets_requests_total{product="trips",route="predict",status="499"} 1.0' in metrics


def test_rows_are_not_explained_for_a_caller_that_went_away(
    held_up: tuple[int, threading.Event, Path],
):
    port, let, _ = held_up
    url = f"http://127.0.0.1:{port}"
    answers: list[Any] = []

    def ask(path: str) -> None:
        answers.append(httpx.post(f"{url}{path}", json=small.ROW, timeout=60).status_code)

    callers = [threading.Thread(target=ask, args=(path,)) for path in ("/predict", "/explain")]
    for caller in callers:
        caller.start()
        time.sleep(0.3)
    ask_and_go(port, "/explain", small.ROW)
    let.set()
    for caller in callers:
        caller.join(timeout=60)

    assert answers == [200, 200]
    explained = 'ai_assets_requests_total{product="trips",route="explain",status='
    metrics = httpx.get(f"{url}/metrics").text
    found = [line for line in metrics.splitlines() if line.startswith(explained)]
    assert sorted(found) == [f'{explained}"200"}} 1.0', f'{explained}"499"}} 1.0']
