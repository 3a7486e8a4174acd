"""Traces, as a collector gets them that speaks OTLP over HTTP."""

import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_payload as small
import websockets.sync.client as ws
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from serving_processes import running

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.observe import observer
from ai_assets.serving.settings import Settings
from ai_assets_tests.http_servers import served

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


class Collector:
    """Spans that were sent, by their ids."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.services: set[str] = set()
        self.raw = b""
        self._came = threading.Condition()

    def take(self, body: bytes) -> None:
        """Keep what a request brought."""
        found = ExportTraceServiceRequest.FromString(body)
        with self._came:
            self.raw += body
            for resource in found.resource_spans:
                for fact in resource.resource.attributes:
                    if fact.key == "service.name":
                        self.services.add(fact.value.string_value)
                for scope in resource.scope_spans:
                    self.spans |= {span.span_id.hex(): span for span in scope.spans}
            self._came.notify_all()

    def wait(self, name: str, count: int = 1) -> list[Any]:
        """Spans of a name, once there are so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.named(name)) >= count, 30), self.names()
        return self.named(name)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans.values() if span.name == name]

    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans.values())

    def children(self, span: Any) -> dict[str, Any]:
        return {s.name: s for s in self.spans.values() if s.parent_span_id == span.span_id}


def facts(span: Any) -> dict[str, Any]:
    return {f.key: getattr(f.value, f.value.WhichOneof("value")) for f in span.attributes}


@contextmanager
def collecting() -> Iterator[tuple[str, Collector]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler) as address:
        yield address, collector


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def place(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Collector]]:
    """A server whose spans are collected: where it answers, and the collector."""
    folder, port = tmp_path_factory.mktemp("traces"), free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(port)]
    with collecting() as (endpoint, collector):
        environment = {
            "AI_ASSETS_LAKE": str(shared / "lake"),
            "AI_ASSETS_ACCESS": "open",
            "AI_ASSETS_LOG": str(folder / "log.sqlite"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with running(command, url, folder, environment):
            yield url, collector


def test_a_request_is_a_span_of_its_callers_trace_with_the_parts_of_its_time(
    place: tuple[str, Collector],
):
    url, collector = place

    answer = httpx.post(f"{url}/predict", json=[small.ROW, small.ROW], headers=HEADERS)
    (span,) = collector.wait("POST /predict")

    assert answer.headers["X-Trace-Id"] == TRACE
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    parts = collector.children(span)
    assert set(parts) == {"validate", "features.sql", "model", "record"}
    order = [parts[n] for n in ("validate", "features.sql", "model", "record")]
    times = [t for p in order for t in (p.start_time_unix_nano, p.end_time_unix_nano)]
    assert times == sorted(times)
    assert span.start_time_unix_nano <= times[0]
    assert times[-1] <= span.end_time_unix_nano
    assert {p.trace_id.hex() for p in order} == {TRACE}
    bundle = answer.json()["bundle"]
    assert facts(span) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "ai_assets.product": "trips",
        "ai_assets.bundle": bundle,
        "ai_assets.rows": 2,
        "ai_assets.online.weather": "0",
    }
    assert facts(parts["model"]) == {"ai_assets.bundle": bundle, "ai_assets.batch.rows": 2}
    assert collector.services == {"trips"}


def test_ready_vectors_need_no_sql(place: tuple[str, Collector]):
    url, collector = place
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [0, 900, 12, 50]}

    answer = httpx.post(f"{url}/v2/models/trips_vectors/infer", json={"inputs": [tensor]})
    (span,) = collector.wait("POST /v2/models/{name}/infer")

    assert answer.status_code == 200
    assert set(collector.children(span)) == {"validate", "model", "record"}


def test_each_row_of_a_stream_is_a_span_of_its_own(place: tuple[str, Collector]):
    url, collector = place

    with ws.connect(f"{url.replace('http', 'ws')}/stream", additional_headers=HEADERS) as stream:
        for distance in (100, "far"):
            stream.send(json.dumps({**small.ROW, "distance": distance}))
        for _ in range(2):
            stream.recv()
    (span,) = collector.wait("WEBSOCKET /stream")

    rows = [s for s in collector.named("row") if s.parent_span_id == span.span_id]
    assert span.parent_span_id.hex() == PARENT
    assert {facts(s)["http.response.status_code"] for s in rows} == {200, 400}
    assert {frozenset(collector.children(s)) for s in rows} == {
        frozenset({"validate", "features.sql", "model", "record"}),
        frozenset({"validate"}),
    }


def test_a_row_of_a_stream_says_who_asked(shared: Path, tmp_path: Path, free_port: int):
    key, token = new_key("ada", ["predict"], time.time())
    KeyFile(tmp_path / "access.sqlite").add(key)
    url = f"http://127.0.0.1:{free_port}"
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    with collecting() as (endpoint, collector):
        environment = {
            "AI_ASSETS_LAKE": str(shared / "lake"),
            "AI_ASSETS_ACCESS": "keys",
            "AI_ASSETS_KEYS": str(tmp_path / "access.sqlite"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with running(command, url, tmp_path, environment):
            answer = httpx.post(
                f"{url}/stream",
                content=json.dumps(small.ROW),
                headers={"X-API-Key": token, "Content-Type": "application/x-ndjson"},
                timeout=60,
            )
            assert answer.status_code == 200
            (row,), (stream,) = collector.wait("row"), collector.wait("POST /stream")

    assert facts(row)["ai_assets.key_id"] == facts(stream)["ai_assets.key_id"] == key.id


def test_no_span_holds_what_was_asked(place: tuple[str, Collector]):
    url, collector = place
    marker = "MARKER4711"

    httpx.post(f"{url}/predict", json={**small.ROW, "name": marker, "place": marker})
    httpx.post(f"{url}/{marker}?{marker}", json=marker)
    httpx.post(
        f"{url}/graphql",
        json={"query": "query ($x: [RowInput!]!) {predict(rows: $x) {label}}",
              "variables": {"x": [{**small.ROW, "name": marker.lower()}]}},
    )  # fmt: skip
    collector.wait("POST /graphql")
    (lost,) = collector.wait("POST (none)")

    assert facts(lost)["http.response.status_code"] == 404
    assert marker.encode().lower() not in collector.raw.lower()


def test_a_caller_that_is_not_sampled_is_traced_nowhere(place: tuple[str, Collector]):
    url, collector = place
    other = "a" * 32

    answer = httpx.get(f"{url}/schema", headers={"traceparent": f"00-{other}-{PARENT}-00"})
    httpx.get(f"{url}/model_card")
    collector.wait("GET /model_card")

    assert answer.headers["X-Trace-Id"] == other
    assert collector.named("GET /schema") == []


def test_a_collector_that_is_gone_costs_no_answer_and_no_long_stop(shared: Path, tmp_path: Path):
    port = free_port()
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(port)]
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_LOG": str(tmp_path / "log.sqlite"),
        "AI_ASSETS_TRACES": f"http://127.0.0.1:{free_port()}",
    }

    with running(command, f"http://127.0.0.1:{port}", tmp_path, environment) as client:
        answers = [client.post("/predict", json=small.ROW).status_code for _ in range(5)]
        began = time.monotonic()

    assert answers == [200] * 5
    assert time.monotonic() - began < 20


def test_nothing_of_it_is_imported_while_it_is_off(shared: Path, tmp_path: Path):
    code = f"""
import sys
from starlette.testclient import TestClient
from ai_assets.serving.app import create_app
app, url = create_app({str(shared / "payload")!r}), "http://localhost"
with TestClient(app, base_url=url, client=("127.0.0.1", 1)) as client:
    assert client.post("/predict", json={small.ROW!r}).status_code == 200
print(sorted(m for m in ("opentelemetry", "sentry_sdk", "graphql") if m in sys.modules))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={"AI_ASSETS_LAKE": str(shared / "lake"), "AI_ASSETS_ACCESS": "open",
             "AI_ASSETS_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert ran.stdout.strip() == "[]", ran.stderr


@pytest.mark.parametrize(
    ("given", "standard", "on"),
    [
        ("", "", False),
        ("", "http://127.0.0.1:4318", True),
        ("off", "http://127.0.0.1:4318", False),
        ("on", "", True),
        ("http://127.0.0.1:4318", "", True),
    ],
)
def test_the_setting_comes_before_the_standard_one(
    monkeypatch: pytest.MonkeyPatch, given: str, standard: str, on: bool
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", standard)

    assert observer.traces_on(Settings(traces=given)) is on


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(observer, "_is_there", lambda module: False)

    with pytest.raises(BundleError, match="pip install opentelemetry-exporter-otlp-proto-http"):
        observer.check_observe(Settings(traces="on"))
    observer.check_observe(Settings(traces="off"))
