"""Errors to a server that speaks Sentry's protocol. Imported only where `SENTRY_DSN` is set.

What is sent: the exception's type, the places in the code, product, route and trace id. Neither its
message, nor variables, nor anything of the request.
"""

import os
from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk.utils import event_from_exception

from ai_assets.serving.observe.exchange import CURRENT

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_WAIT_S = 2.0


class Errors:
    """Sends errors.

    Args:
        dsn: where to, and as whom.
        product: what is served.
    """

    def __init__(self, dsn: str, product: str) -> None:
        self._client = sentry_sdk.Client(
            dsn=dsn,
            # Without one the library asks git for it.
            release=os.environ.get("SENTRY_RELEASE") or product,
            default_integrations=False,
            auto_enabling_integrations=False,
            send_default_pii=False,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            send_client_reports=False,
            server_name="",
            before_send=_without_values,
        )
        self._product = product

    def send(self, error: BaseException, where: str) -> None:
        """Send an error, in the background."""
        scope = sentry_sdk.Scope()
        exchange = CURRENT.get()
        tags = {"product": self._product, "route": where}
        if exchange is not None:
            tags["trace_id"] = exchange.trace_id
            tags |= {"bundle": ", ".join(exchange.bundles)} if exchange.bundles else {}
        for name, value in tags.items():
            scope.set_tag(name, value)
        # The scope's own `capture_exception` would ask whichever client the process has globally.
        event, hint = event_from_exception(error, client_options=self._client.options)
        self._client.capture_event(event, hint, scope)

    def close(self) -> None:
        """Send what is not sent yet."""
        self._client.close(timeout=_WAIT_S)


def _without_values(event: "Event", _: "Hint") -> "Event":
    """The event without messages, which often repeat the value that caused the error."""
    for exception in (event.get("exception") or {}).get("values", []):
        exception["value"] = ""
        for frame in (exception.get("stacktrace") or {}).get("frames", []):
            frame.pop("vars", None)
            frame.pop("abs_path", None)
    for name in ("request", "user", "extra", "breadcrumbs", "modules", "server_name"):
        event.pop(name, None)  # type: ignore[misc]
    return event
