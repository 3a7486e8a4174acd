"""Open Inference Protocol v2 over REST, with the extension for binary tensors."""

import time
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ai_assets.serving.problems import Refused, told
from ai_assets.serving.record.asked import Asked, key_id
from ai_assets.serving.text import as_json

if TYPE_CHECKING:
    from ai_assets.serving.app import Server
    from ai_assets.serving.protocols.models import Models

EXTENSIONS = ("binary_tensor_data",)
_HEADER = "Inference-Header-Content-Length"
_OF_MODEL = "/v2/models/{name}"
_OF_VERSION = "/v2/models/{name}/versions/{version}"
Handler = Callable[[Request], Awaitable[Response]]


def v2_routes(server: "Server") -> list[Route]:
    """The routes of the protocol."""
    v2 = _V2(server)
    # What is asked most is found first: a path is held against one route after the other.
    routes = [
        Route(f"{path}/infer", v2.counted("v2/infer", v2.infer), methods=["POST"])
        for path in (_OF_MODEL, _OF_VERSION)
    ]
    routes += [
        Route("/v2", v2.counted("v2", v2.metadata), methods=["GET"]),
        Route("/v2/health/live", v2.counted("v2/live", v2.live), methods=["GET"]),
        Route("/v2/health/ready", v2.counted("v2/ready", v2.ready), methods=["GET"]),
    ]
    for path in (_OF_MODEL, _OF_VERSION):
        routes += [
            Route(path, v2.counted("v2/model", v2.model), methods=["GET"]),
            Route(f"{path}/ready", v2.counted("v2/model_ready", v2.model_ready), methods=["GET"]),
        ]
    return routes


class _V2:
    """The handlers."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    @property
    def _models(self) -> "Models":
        return self._server.slot.models

    def counted(self, route: str, handler: Handler) -> Handler:
        """A handler whose refusals are told as the protocol has it, and whose answers count."""

        async def answer(request: Request) -> Response:
            began, status = time.perf_counter(), 500
            try:
                response = await handler(request)
                status = response.status_code
                return response
            except Refused as refused:
                status = refused.status
                return _json({"error": told(refused)}, status, dict(refused.headers))
            finally:
                self._server.answered(route, status, began)

        return answer

    async def metadata(self, _: Request) -> Response:
        """What serves."""
        version = str(self._server.bundle.manifest.get("code_version", ""))
        return _json({"name": "ai_assets", "version": version, "extensions": list(EXTENSIONS)})

    async def live(self, _: Request) -> Response:
        """Whether the process runs."""
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        """Whether rows can be scored now."""
        await self._server.ready()
        return _json({"ready": True})

    async def model(self, request: Request) -> Response:
        """What a model takes and gives."""
        return _json(self._models.find(**request.path_params).metadata())

    async def model_ready(self, request: Request) -> Response:
        """Whether a model can score now."""
        model = self._models.find(**request.path_params)
        await self._server.ready()
        return _json({"name": model.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Score the rows that the tensors bring."""
        from ai_assets.serving.protocols.documents import answer, read
        from ai_assets.serving.protocols.models import version

        began = time.perf_counter()
        body = _inflated(
            await self._server.body(request),
            request.headers.get("Content-Encoding", "identity"),
            self._server.settings.max_body,
        )
        asked = read(body, request.headers.get(_HEADER))
        # Found only now: what is in production may change while a body comes.
        model = self._models.find(**request.path_params)
        names = model.wanted([output.name for output in asked.outputs])
        of = Asked("v2/infer", began, key_id(request))
        scored = await self._server.score(await self._server.read(model.part, asked.inputs), of)
        content = {"model_name": model.name, "model_version": version(scored)}
        if asked.id:
            content["id"] = asked.id
        head, blobs = answer(content, model.answers(scored, names), asked)
        if not blobs:
            return Response(head, media_type="application/json")
        headers = {_HEADER: str(len(head))}
        whole = b"".join([head, *blobs])
        return Response(whole, headers=headers, media_type="application/octet-stream")


def _inflated(body: bytes, encoding: str, most: int) -> bytes:
    """The body as it was before it was compressed."""
    kind = encoding.strip().lower()
    if kind in ("", "identity"):
        return body
    if kind not in ("gzip", "deflate"):
        raise Refused(415, "Content-Encoding must be one of gzip, deflate, identity.")
    # 47 reads the head of gzip and of zlib. The bound keeps a small body from filling the memory.
    reader = zlib.decompressobj(47)
    try:
        inflated = reader.decompress(body, most + 1)
    except zlib.error:
        raise Refused(400, f"The body is not {kind}, as Content-Encoding says.") from None
    if len(inflated) > most:
        raise Refused(413, f"The body must be at most {most} bytes when decompressed.")
    if not reader.eof:
        raise Refused(400, f"The body ends before its {kind} data does.")
    return inflated


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(as_json(content), status, headers, media_type="application/json")
