"""Row by row, over a WebSocket and as server-sent events, of a server in a process of its own."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_payload as small
import websockets.sync.client as ws
from fastapi.testclient import TestClient
from serving_processes import running
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.record.store import open_store

NDJSON = {"Content-Type": "application/x-ndjson"}


class Place:
    """Where a server answers, with what it needs."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.http, self.ws = (f"{kind}://127.0.0.1:{self.port}/stream" for kind in ("http", "ws"))
        self.folder, self.log = folder, folder / "log.sqlite"
        self.store = KeyFile(folder / "access.sqlite")
        self.keys = {
            name: self.key(name, scope, rate)
            for name, scope, rate in (
                ("predict", "predict", None),
                ("explain", "explain", None),
                ("slow", "predict", "3/h"),
            )
        }

    def key(self, name: str, scope: str, rate: str | None) -> dict[str, str]:
        key, token = new_key(name, [scope], time.time(), **({"rate": rate} if rate else {}))
        self.store.add(key)
        return {"X-API-Key": token}

    def routes(self) -> set[str]:
        log = open_store(str(self.log))
        try:
            return {entry.route for entry in log.answers((None, None))}
        finally:
            log.close()


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that asks for keys, and lets two streams be open."""
    place = Place(tmp_path_factory.mktemp("stream"))
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": str(place.store.path),
        "AI_ASSETS_LOG": str(place.log),
        "AI_ASSETS_STREAMS": "2",
        "AI_ASSETS_MAX_BODY": "50000",
    }
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(place.port)]
    with running(command, f"http://127.0.0.1:{place.port}", place.folder, environment):
        yield place


def row(distance: Any) -> str:
    return json.dumps({**small.ROW, "distance": distance})


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Kind and data of each event."""
    found = []
    for block in text.split("\n\n"):
        parts = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if "data" in parts:
            found.append((parts["event"], json.loads(parts["data"])))
    return found


def test_each_message_is_answered_in_order(place: Place):
    distances = list(range(100, 200))

    with ws.connect(place.ws, additional_headers=place.keys["predict"]) as stream:
        for distance in distances:
            stream.send(row(distance))
        answers = [json.loads(stream.recv()) for _ in distances]

    rest = httpx.post(
        f"http://127.0.0.1:{place.port}/predict",
        json=[{**small.ROW, "distance": d} for d in distances],
        headers=place.keys["predict"],
    ).json()
    assert [a["probability"] for a in answers] == [
        pytest.approx(p["probability"], abs=1e-6) for p in rest["predictions"]
    ]
    assert {a["bundle"] for a in answers} == {rest["bundle"]}
    assert len({a["prediction_id"] for a in answers}) == len(distances)
    assert "stream" in place.routes()


def test_a_bad_row_is_told_in_its_place_and_the_stream_goes_on(place: Place):
    bad = [
        "{",
        row("far"),
        f"[{row(1)}, {row(2)}]",
        "[]",
        '"x"',
        "\ud800".encode("utf-8", "replace"),
    ]

    with ws.connect(place.ws, additional_headers=place.keys["predict"]) as stream:
        for one in (row(100), *bad, row(200)):
            stream.send(one)
        first, *refused, last = (json.loads(stream.recv()) for _ in range(len(bad) + 2))

    assert (first["label"], last["label"]) == ("not late", "not late")
    assert {r["status"] for r in refused} == {400}
    assert refused[1]["error"] == "distance must be a whole number, but got 'far'."
    assert refused[1]["details"][0]["field"] == "distance"
    assert refused[2]["error"] == "A message must be one row, but there are 2."


def test_a_message_that_is_too_large_ends_the_stream(place: Place):
    with ws.connect(place.ws, additional_headers=place.keys["predict"]) as stream:
        stream.send("x" * 50_001)
        with pytest.raises(ConnectionClosedError) as closed:
            stream.recv()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize(("key", "status"), [("none", 401), ("explain", 403)])
def test_a_stream_needs_a_key_with_the_scope(place: Place, key: str, status: int):
    headers = place.keys.get(key, {})

    with pytest.raises(InvalidStatus) as refused:
        ws.connect(place.ws, additional_headers=headers)

    assert refused.value.response.status_code == status
    answer = httpx.post(place.http, content=row(100), headers={**NDJSON, **headers})
    assert answer.status_code == status


def test_each_row_counts_against_the_rate_of_its_key(place: Place):
    with ws.connect(place.ws, additional_headers=place.keys["slow"]) as stream:
        for _ in range(4):
            stream.send(row(100))
        answers = [json.loads(stream.recv()) for _ in range(4)]

    assert [a.get("status", 200) for a in answers] == [200, 200, 429, 429]
    assert answers[-1]["retry_after_seconds"] >= 1


def test_there_are_no_more_streams_than_set(place: Place):
    headers = place.keys["predict"]

    with (
        ws.connect(place.ws, additional_headers=headers),
        ws.connect(place.ws, additional_headers=headers),
    ):
        with pytest.raises(InvalidStatus) as refused:
            ws.connect(place.ws, additional_headers=headers)
        posted = httpx.post(place.http, content=row(100), headers={**NDJSON, **headers})

    assert refused.value.response.status_code == posted.status_code == 503
    assert posted.headers["Retry-After"] == "5"
    end = time.monotonic() + 10
    while httpx.post(place.http, content=row(1), headers={**NDJSON, **headers}).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_lines_become_events_and_the_last_event_counts_them(place: Place):
    body = "\n".join([row(100), "", row("far"), "x" * 50_001, row(200)])

    with httpx.stream(
        "POST", place.http, content=body, headers={**NDJSON, **place.keys["predict"]}
    ) as answer:
        answer.read()

    kinds = [kind for kind, _ in events(answer.text)]
    contents = [content for _, content in events(answer.text)]
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert kinds == ["answer", "refused", "refused", "answer", "end"]
    assert (contents[0]["label"], contents[1]["status"], contents[2]["status"]) == (
        "not late",
        400,
        413,
    )
    assert contents[-1] == {"rows": 4, "refused": 2}
    assert "id: 3\nevent: answer" in answer.text


def test_rows_are_answered_while_others_still_come(place: Place):
    """The body is half sent when the first answer is there."""
    head = "\r\n".join(
        [
            "POST /stream HTTP/1.1",
            "Host: 127.0.0.1",
            "Transfer-Encoding: chunked",
            *(f"{k}: {v}" for k, v in {**NDJSON, **place.keys["predict"]}.items()),
            "\r\n",
        ]
    )

    def chunk(text: str) -> bytes:
        return f"{len(text):x}\r\n{text}\r\n".encode()

    with socket.create_connection(("127.0.0.1", place.port), timeout=20) as connection:
        connection.sendall(head.encode() + chunk(row(100) + "\n"))
        seen = b""
        while b"event: answer" not in seen:
            seen += connection.recv(65536)
        connection.sendall(chunk(row(200) + "\n") + b"0\r\n\r\n")
        while b"event: end" not in seen:
            seen += connection.recv(65536)

    assert seen.count(b"event: answer") == 2


def test_a_caller_who_reads_only_at_the_end_gets_all_within_the_bound(place: Place):
    many = 400

    answer = httpx.post(
        place.http,
        content="\n".join(row(100) for _ in range(many)),
        headers={**NDJSON, **place.keys["predict"]},
        timeout=60,
    )

    assert events(answer.text)[-1] == ("end", {"rows": many, "refused": 0})


def test_another_kind_of_body_is_refused(place: Place):
    answer = httpx.post(place.http, content="a=b", headers=place.keys["predict"])

    assert answer.status_code == 415
    assert "application/x-ndjson" in answer.json()["error"]


def test_an_open_server_refuses_pages_of_other_sites(client: TestClient):
    """A browser lets any page open a WebSocket to this machine, and says where it comes from."""
    from starlette.testclient import WebSocketDenialResponse

    own = client.websocket_connect("/stream", headers={"Origin": "http://localhost:3000"})
    with own as stream:
        stream.send_text(row(100))
        assert stream.receive_json()["label"] == "not late"
    with pytest.raises(WebSocketDenialResponse) as refused:
        client.websocket_connect("/stream", headers={"Origin": "http://evil.test"}).__enter__()

    assert refused.value.status_code == 403


def test_a_row_that_the_server_fails_on_does_not_end_the_stream(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    server = client.app.state.server  # type: ignore[attr-defined]
    content = server.content

    with client.websocket_connect("/stream") as stream:
        monkeypatch.setattr(server, "content", lambda _: 1 / 0)
        stream.send_text(row(100))
        failed = stream.receive_json()
        monkeypatch.setattr(server, "content", content)
        stream.send_text(row(100))
        answered = stream.receive_json()

    assert failed == {"status": 500, "error": "The server made a mistake.", "details": []}
    assert answered["label"] == "not late"


@pytest.fixture
def impatient(shared: Path, tmp_path: Path, free_port: int) -> Iterator[int]:
    """The port of a server with room for two streams, each ended after a second without a take."""
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_STREAMS": "2",
        "AI_ASSETS_STREAM_SECONDS": "1",
    }
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    with running(command, f"http://127.0.0.1:{free_port}", tmp_path, environment):
        yield free_port


def test_callers_who_never_read_do_not_hold_the_places_of_others(impatient: int):
    def opened() -> int:
        url = f"http://127.0.0.1:{impatient}/stream"
        return httpx.post(url, content=row(1), headers=NDJSON, timeout=30).status_code

    head = (
        "POST /stream HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: application/x-ndjson\r\n\r\n"
    )
    chunk = b"7d0\r\n" + b"x\n" * 1000 + b"\r\n"
    callers = [socket.socket() for _ in range(2)]
    try:
        for caller in callers:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.settimeout(5)
            caller.connect(("127.0.0.1", impatient))
            caller.sendall(head.encode())
        for caller in callers:
            with contextlib.suppress(TimeoutError):  # it is read no further: its answers wait
                for _ in range(60):
                    caller.sendall(chunk)
        end = time.monotonic() + 30
        while opened() != 200:
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        for caller in callers:
            caller.close()
