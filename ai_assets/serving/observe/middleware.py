"""Observes what an ASGI app answers, and answers for it where it fails. Plain ASGI."""

import json
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_assets.serving.observe.exchange import CURRENT, TRACE_HEADER
from ai_assets.serving.observe.observer import Observer

_OBSERVED = "ai_assets.observed"
_STARTS = ("http.response.start", "websocket.http.response.start")
_WENT_AWAY = 499
NOT_FOUND = "(none)"


class ObserveMiddleware:
    """Stands before all else, so that what access refuses is seen too."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app, self._observer = app, observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI app."""
        if scope["type"] not in ("http", "websocket") or scope.get(_OBSERVED):
            await self._app(scope, receive, send)
            return
        scope[_OBSERVED] = True
        observer, status = self._observer, 0
        exchange = observer.begin(scope.get("method", "WEBSOCKET"), scope["headers"])

        async def observed(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if not status and (kind in _STARTS or kind == "websocket.accept"):
                status = message.get("status", 101)
                if observer.tells_trace(status):
                    header = (TRACE_HEADER, exchange.trace_id.encode())
                    message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        token = CURRENT.set(exchange)
        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            status = _WENT_AWAY
        except Exception as error:
            observer.failed(error, _route(scope))
            begun, status = status, 500
            if not begun:
                status = 0
                with suppress(Exception):  # the caller may be gone
                    await _answer_500(scope, observed)
                status = 500
        finally:
            CURRENT.reset(token)
            exchange.key_id = scope.get("state", {}).get("key_id")
            observer.end(exchange, _route(scope), status or _WENT_AWAY)


def _route(scope: Scope) -> str:
    """The pattern of the path that was asked; the path itself is the caller's own text."""
    return getattr(scope.get("route"), "path", None) or NOT_FOUND


async def _answer_500(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1011})
        return
    content: dict[str, Any] = {"error": "The server made a mistake.", "details": []}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
