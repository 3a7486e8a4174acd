"""Begins and ends the observation of requests, whatever protocol they come by."""

import importlib.util
import os
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import BundleError, must_be
from ai_assets.serving.observe import logs
from ai_assets.serving.observe.exchange import CURRENT, Exchange, Headers

if TYPE_CHECKING:
    from ai_assets.serving.observe.errors import Errors
    from ai_assets.serving.observe.traces import Traces
    from ai_assets.serving.settings import Settings

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DSN = "SENTRY_DSN"


class Observer:
    """What watches one server.

    Args:
        product: what is served.
        settings: what is to be watched, and how it is told.

    Raises:
        BundleError: a setting is none that there is.
    """

    def __init__(self, product: str, settings: "Settings") -> None:
        if settings.logs not in logs.FORMS:
            raise BundleError(must_be("AI_ASSETS_LOGS", logs.FORMS, settings.logs))
        self._product, self._settings = product, settings
        self._traces: Traces | None = None
        self._errors: Errors | None = None
        self._tells_trace = settings.logs == "json"

    def open(self) -> None:
        """Begin to send traces and errors, where that is on.

        Raises:
            BundleError: a package that it needs is not installed; says which.
        """
        settings = self._settings
        check_observe(settings)
        logs.set_up(settings.logs, settings.logs_answered)
        if traces_on(settings):
            from ai_assets.serving.observe.traces import Traces

            self._traces, self._tells_trace = Traces(self._product, settings.traces), True
        if os.environ.get(_DSN):
            from ai_assets.serving.observe.errors import Errors

            self._errors = Errors(os.environ[_DSN], self._product)

    def close(self) -> None:
        """Send what is not sent yet; blocks for a few seconds at most."""
        if self._traces is not None:
            self._traces.close()
        if self._errors is not None:
            self._errors.close()

    def begin(self, method: str, headers: Headers) -> Exchange:
        """A request came; give it to `end`. It is the one that `CURRENT` must name meanwhile."""
        exchange = Exchange(method, headers)
        if self._traces is not None:
            self._traces.begin(exchange)
        return exchange

    def row(self) -> Exchange | None:
        """A row of a stream came, to be observed as a request; None where nothing is traced."""
        stream = CURRENT.get()
        if stream is None or self._traces is None or not stream.traced:
            return None
        exchange = Exchange("row", stream.headers, known_trace=stream.trace_id)
        exchange.key_id = stream.key_id
        self._traces.begin(exchange, stream)
        return exchange

    def row_ended(self, exchange: Exchange, status: int) -> None:
        """A row of a stream was answered."""
        if self._traces is not None:
            self._traces.end(exchange, "row", status)

    def tells_trace(self, status: int) -> bool:
        """Whether the answer names its trace: where a trace or a line of the log has that id."""
        return self._tells_trace or status >= 400

    def failed(self, error: BaseException, where: str) -> None:
        """Something went wrong that nobody expected."""
        logs.failed(error, where)
        if self._errors is not None:
            self._errors.send(error, where)

    def end(self, exchange: Exchange, route: str, status: int) -> None:
        """A request was answered, or not.

        Args:
            exchange: from `begin`.
            route: the pattern of its path.
            status: of HTTP.
        """
        logs.request_ended(exchange, self._product, route, status, self._settings.logs_answered)
        if self._traces is not None:
            self._traces.end(exchange, route, status)


def traces_on(settings: "Settings") -> bool:
    """Whether traces are sent: where the settings, or OpenTelemetry's own, name a collector."""
    if settings.traces:
        return settings.traces != "off"
    return any(os.environ.get(name) for name in _ENDPOINTS)


def check_observe(settings: "Settings") -> None:
    """Return if what is on can work.

    Raises:
        BundleError: a package that it needs is not installed; says which.
    """
    needs = []
    if traces_on(settings):
        needs += [("opentelemetry", "opentelemetry-exporter-otlp-proto-http", "Traces")]
    if os.environ.get(_DSN):
        needs += [("sentry_sdk", "sentry-sdk", "Error tracking")]
    for module, package, what in needs:
        wanted = f"{module}.exporter.otlp.proto.http" if module == "opentelemetry" else module
        if not _is_there(wanted):
            words = (
                f"{what} needs a package that a bundle does without. Run\n  pip install {package}"
            )
            raise BundleError(f"{words}\nor leave out the setting that asks for it.")


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
