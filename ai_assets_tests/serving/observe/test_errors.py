"""Errors, as a server gets them that speaks Sentry's protocol."""

import gzip
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import small_payload as small
from serving_processes import started

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.observe import observer
from ai_assets.serving.settings import Settings
from ai_assets_tests.http_servers import served

MARKER = "markerquux"
FAILING = f"""
import sys
from ai_assets.serving import engine
from ai_assets.serving.__main__ import main
def fail(self, parts):
    secret = "{MARKER}"
    raise ValueError(f"could not convert {{parts}} {MARKER}")
engine.Engine.score = fail
sys.exit(main())
"""


def envelope(body: bytes) -> dict[str, Any]:
    """The event of an envelope: a line of its own head, one of the item's, and the item."""
    _head, kind, content, *_ = body.split(b"\n")
    assert json.loads(kind)["type"] == "event"
    return json.loads(content)


def unzipped(body: bytes, encoding: str | None) -> bytes:
    """The client takes Brotli where that is installed."""
    if encoding == "br":
        import brotli

        return bytes(brotli.decompress(body))
    return gzip.decompress(body) if encoding == "gzip" else body


def test_a_failure_is_sent_without_what_was_asked(shared: Path, tmp_path: Path):
    came: list[bytes] = []
    there = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(unzipped(body, self.headers.get("Content-Encoding")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")
            there.set()

        def log_message(self, *_: Any) -> None:
            pass

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "failing.py").write_text(FAILING)
    command = ["failing", "--bundle", str(shared / "payload"), "--port", str(port)]
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_LOG": str(tmp_path / "log.sqlite"),
    }
    with served(Handler) as sentry:
        environment["SENTRY_DSN"] = f"{sentry.replace('//', '//public@')}/1"
        with started(command, f"http://127.0.0.1:{port}", tmp_path, environment) as (client, _):
            headers = {"X-API-Key": f"aia_1_{MARKER}"}
            answer = client.post(
                f"/predict?{MARKER}", json={**small.ROW, "name": MARKER}, headers=headers
            )
            client.post("/predict", json={"x": MARKER})
            assert there.wait(20)

    assert answer.status_code == 500
    (body,) = came
    event = envelope(body)
    (exception,) = event["exception"]["values"]
    frames = exception["stacktrace"]["frames"]
    assert (exception["type"], exception["value"]) == ("ValueError", "")
    assert frames[-1]["function"] == "fail"
    assert event["tags"]["product"] == "trips"
    assert event["tags"]["route"] == "/predict"
    assert event["tags"]["trace_id"] == answer.headers["X-Trace-Id"]
    assert MARKER not in body.decode().lower()
    assert not {"request", "user", "extra", "breadcrumbs"} & set(event)
    assert str(tmp_path) not in body.decode()


def test_the_package_is_named_where_it_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SENTRY_DSN", "http://public@127.0.0.1:1/1")
    monkeypatch.setattr(observer, "_is_there", lambda module: False)

    with pytest.raises(BundleError, match="pip install sentry-sdk"):
        observer.check_observe(Settings())
    monkeypatch.delenv("SENTRY_DSN")
    observer.check_observe(Settings())
