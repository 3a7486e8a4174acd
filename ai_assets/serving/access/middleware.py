"""The gate in front of an ASGI app. Plain ASGI: it adds no task and reads no body."""

import json
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.routing import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from ai_assets.serving.access.gate import Asked, Gate
from ai_assets.serving.access.rules import needed, route_of
from ai_assets.serving.observe.exchange import CURRENT
from ai_assets.serving.problems import Refused

_PASSED = "ai_assets.passed"


class AccessMiddleware:
    """Lets a request through with `state.key_id` set, or answers with the refusal.

    Args:
        app: what is behind it.
        gate: who may pass.
        refused: told of each refusal: the route's name and the status.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        refused: Callable[[str, int], None] = lambda route, status: None,
    ) -> None:
        self._app, self._gate, self._refused = app, gate, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI app."""
        # Under BentoML the gate stands before its own routes, and again before the app.
        if scope["type"] not in ("http", "websocket") or scope.get(_PASSED):
            await self._app(scope, receive, send)
            return
        path = get_route_path(scope)
        need = needed(scope.get("method", ""), path)
        try:
            host, _ = scope.get("client") or ("", 0)
            key_id = await self._gate.admit(Asked.of(scope["headers"], host), need)
        except Refused as refused:
            self._refused(route_of(path), refused.status)
            await _response(refused)(scope, receive, send)
            return
        scope[_PASSED] = True
        # A new dict: that of the lifespan belongs to all requests.
        scope["state"] = {**scope.get("state", {}), "key_id": key_id}
        # While it lasts, the rows of a stream ask who sends them.
        if (exchange := CURRENT.get()) is not None:
            exchange.key_id = key_id
        await self._app(scope, receive, send)


def _response(refused: Refused) -> Response:
    content: dict[str, Any] = refused.content()
    return Response(
        json.dumps(content, ensure_ascii=False),
        refused.status,
        {**refused.headers, "Cache-Control": "no-store"},
        media_type="application/json",
    )
