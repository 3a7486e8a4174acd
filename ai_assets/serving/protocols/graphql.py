"""GraphQL over HTTP at `/graphql`. graphql-core is imported with the first request, if it is there.

Only POST of JSON is answered: what another site's page can have a browser send is neither.
"""

import asyncio
import importlib.util
import json
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ai_assets.serving.access.gate import Asked as Asking
from ai_assets.serving.access.rules import Need
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.asked import key_id

if TYPE_CHECKING:
    from ai_assets.serving.app import Server
    from ai_assets.serving.protocols.graphql_calls import Answering
    from ai_assets.serving.traffic.slots import Slot

PATH, ROUTE = "/graphql", "graphql"
# Whoever names this type is told a failure by the status too; others always get 200.
_STATUS_TOLD = "application/graphql-response+json"
_PACKAGE = "graphql"


def graphql_routes(server: "Server") -> list[Route]:
    """The route of the protocol."""
    return [Route(PATH, _GraphQL(server).answer, methods=["POST"])]


class _GraphQL:
    """The handler."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    def _answering(self, slot: "Slot") -> "Answering":
        from ai_assets.serving.protocols.graphql_calls import Answering

        return slot.once("graphql", lambda: Answering(self._server, slot))

    async def answer(self, request: Request) -> Response:
        """Answer one query or mutation."""
        began, status = time.perf_counter(), 500
        told = _STATUS_TOLD in request.headers.get("Accept", "")
        try:
            content, status = await self._content(request, began)
            return _json(content, status if told and content.get("data") is None else 200, told)
        except Refused as refused:
            status = refused.status
            shown = {"message": refused.content()["error"], "extensions": {"status": status}}
            return _json({"errors": [shown]}, status, told, dict(refused.headers))
        finally:
            self._server.answered(ROUTE, status, began)

    async def _content(self, request: Request, began: float) -> tuple[dict[str, Any], int]:
        """The answer, and the status that it would have in REST."""
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "A GraphQL request must be of Content-Type application/json.")
        if importlib.util.find_spec(_PACKAGE) is None:
            raise Refused(
                501, "GraphQL needs a package that this server does without: graphql-core."
            )
        asked = _asked(await self._server.body(request))
        answering = await asyncio.to_thread(self._answering, self._server.slot)
        host, _ = request.scope.get("client") or ("", 0)
        asking = Asking.of(request.scope["headers"], host)

        async def allow(scope: str) -> None:
            await self._server.gate.entitled(asking, Need(True, scope))

        return await answering.answer(asked, allow, key_id(request), began)


def _asked(body: bytes) -> dict[str, Any]:
    """The members of a request.

    Raises:
        Refused: with 400; it is not as GraphQL over HTTP has it.
    """
    from pydantic_core import from_json

    try:
        content = from_json(body, allow_inf_nan=True)
    except ValueError as error:
        raise Refused(400, f"The body must be JSON, but {error}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("query"), str):
        raise Refused(400, "The body must be an object with the text 'query'.")
    for name, kind, words in (("variables", dict, "an object"), ("operationName", str, "a text")):
        if content.get(name) is not None and not isinstance(content[name], kind):
            raise Refused(400, f"'{name}' must be {words}.")
    return content


def _json(content: Any, status: int, told: bool, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, default=str)
    kind = _STATUS_TOLD if told else "application/json"
    # Values that a caller gave may hold what UTF-8 cannot.
    return Response(text.encode("utf-8", "replace"), status, headers, media_type=kind)
