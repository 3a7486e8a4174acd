"""Spans of OpenTelemetry, sent by OTLP over HTTP. Imported only where traces are on.

A request's span is begun when it comes, so that its id can be told; the parts of its time become
spans when it ends. The provider is the server's own: other libraries' spans are not mixed in.
"""

import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ai_assets.serving.observe.exchange import Exchange

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_PATH = "/v1/traces"
_NAMES = ("traceparent", "tracestate")


class Traces:
    """Sends the spans of requests.

    Args:
        product: the service's name, unless `OTEL_SERVICE_NAME` has another.
        given: URL of the collector; `on` or empty leaves it to OpenTelemetry's own settings, as
            sampling is.
    """

    def __init__(self, product: str, given: str = "") -> None:
        self._product = product
        name = os.environ.get("OTEL_SERVICE_NAME") or product
        self._provider = TracerProvider(resource=Resource.create({"service.name": name}))
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(given)))
        self._tracer = self._provider.get_tracer("ai_assets.serving")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, exchange: Exchange, parent: Exchange | None = None) -> None:
        """Begin the span of a request, in its caller's trace; or of a part of another request."""
        if parent is not None:
            context: Context | None = set_span_in_context(parent.span)
        else:
            carrier = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in exchange.headers
                if name.decode("latin-1") in _NAMES
            }
            context = self._propagator.extract(carrier, Context())
        kind = SpanKind.SERVER if parent is None else SpanKind.INTERNAL
        exchange.span = self._tracer.start_span(
            exchange.method, context, kind, start_time=time.time_ns()
        )
        exchange.traced = exchange.span.is_recording()
        exchange.known_trace = f"{exchange.span.get_span_context().trace_id:032x}"

    def end(self, exchange: Exchange, route: str, status: int) -> None:
        """End the span of a request, and make those of its parts."""
        span = exchange.span
        if span is None:
            return
        if exchange.traced:
            context = set_span_in_context(span)
            for part in exchange.parts:
                facts = dict(part.facts)
                child = self._tracer.start_span(
                    part.name, context, attributes=facts, start_time=part.began_ns
                )
                child.end(part.ended_ns)
            span.update_name(f"{exchange.method} {route}" if route != "row" else "row")
            span.set_attributes(self._facts(exchange, route, status))
            if status >= 500:
                span.set_status(StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send what is not sent yet."""
        self._provider.shutdown()

    def _facts(self, exchange: Exchange, route: str, status: int) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "http.request.method": exchange.method,
            "http.route": route,
            "http.response.status_code": status,
            "ai_assets.product": self._product,
        }
        if exchange.key_id:
            facts["ai_assets.key_id"] = exchange.key_id
        if exchange.bundles:
            facts["ai_assets.bundle"] = ", ".join(exchange.bundles)
            facts["ai_assets.rows"] = exchange.rows
        facts |= {f"ai_assets.online.{name}": version for name, version in exchange.online.items()}
        return facts


def _exporter(given: str) -> "SpanExporter":
    if given in ("", "on"):
        return OTLPSpanExporter()
    url = given.rstrip("/")
    return OTLPSpanExporter(endpoint=url if url.endswith(_PATH) else url + _PATH)
