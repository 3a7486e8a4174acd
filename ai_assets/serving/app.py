"""The FastAPI app of a bundle. BentoML mounts it, and an ASGI server runs it as it is."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response

from ai_assets.serving.batching import MicroBatcher
from ai_assets.serving.bundle import Bundle, load_bundle
from ai_assets.serving.metrics import Metrics
from ai_assets.serving.online import OnlineTables
from ai_assets.serving.openapi import documented, operation
from ai_assets.serving.problems import Refused
from ai_assets.serving.request import RequestReader
from ai_assets.serving.settings import Settings

if TYPE_CHECKING:
    from ai_assets.serving.engine import Answer, Engine

_EXPLAIN_COST = 64
Handler = Callable[[Request], Awaitable[dict[str, Any]]]


def create_app(folder: Path | str, settings: Settings | None = None) -> FastAPI:
    """The app that serves a bundle.

    Raises:
        BundleError: the bundle does not verify; there is then nothing to serve.
    """
    settings = settings or Settings.from_environment()
    server = Server(load_bundle(folder, settings.trusted_key or None), settings)
    bundle = server.bundle

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(lambda: server.engine.warm())
        server.start()
        yield
        await server.stop()

    app = FastAPI(
        title=bundle.product,
        description=bundle.description,
        version=bundle.tag.partition(":")[2],
        lifespan=lifespan,
    )
    app.state.server = server
    for route in ("predict", "explain"):
        handler = server.answering(route, getattr(server, route))
        app.add_api_route(
            f"/{route}",
            handler,
            methods=["POST"],
            summary=getattr(server, route).__doc__,
            operation_id=route,
            openapi_extra=operation(server.reader),
        )
    for name in ("healthz", "livez", "readyz", "metrics", "model_card", "schema"):
        handler = getattr(server, name)
        app.add_api_route(f"/{name}", handler, methods=["GET"], summary=handler.__doc__)
    documented(app, server.reader, bundle.decision)
    return app


class Server:
    """The handlers, and what they share."""

    def __init__(self, bundle: Bundle, settings: Settings) -> None:
        self.bundle = bundle
        self.settings = settings
        self.reader = RequestReader(bundle, max_rows=settings.max_rows)
        self._metrics = Metrics(bundle)
        self._batcher: MicroBatcher[Any, Answer] = MicroBatcher(
            lambda rows: self.engine.score(rows),
            max_rows=settings.batch_rows,
            max_waiting=settings.max_waiting,
        )

    @cached_property
    def engine(self) -> "Engine":
        """What answers. Only a worker makes it: BentoML's supervisor needs no library it loads."""
        from ai_assets.serving.engine import Engine

        return Engine(
            self.bundle,
            self.reader,
            OnlineTables(self.settings.lake, self.bundle.online),
            self._metrics,
            threads=self.settings.threads,
            check_s=self.settings.check_seconds,
        )

    def start(self) -> None:
        """Take requests."""
        self._batcher.open()
        self.engine.start()

    async def stop(self) -> None:
        """Answer what waits, and end."""
        await self._batcher.close()
        await asyncio.to_thread(self.engine.stop)

    def answering(self, route: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler whose refusals become answers, and whose answers are counted."""

        async def answer(request: Request) -> Response:
            began, status = time.perf_counter(), 500
            try:
                response = _json(await handler(request))
                status = response.status_code
                return response
            except Refused as refused:
                status = refused.status
                return _json(refused.content(), status, dict(refused.headers))
            finally:
                self._metrics.answered(route, status, began, self._batcher.waiting)

        return answer

    async def predict(self, request: Request) -> dict[str, Any]:
        """Score one row, a list of rows, or `{"rows": [...]}`."""
        rows = self.reader.rows(await self._body(request))
        answers = await self._batcher.submit(rows)
        snapshots = answers[0][1]
        return {
            "bundle": self.bundle.tag,
            "model": self.bundle.partition,
            "online": {name: s.shown() for name, s in snapshots.items()},
            "predictions": [content for content, _ in answers],
        }

    async def explain(self, request: Request) -> dict[str, Any]:
        """Say how much each feature contributed to the answer to a row."""
        rows = self.reader.rows(await self._body(request))
        most = self.settings.explain_rows
        if len(rows) > most:
            raise Refused(413, f"There must be at most {most} rows to explain, not {len(rows)}.")
        found = await self._batcher.call(
            lambda: self.engine.explain(rows), _EXPLAIN_COST * len(rows)
        )
        return {"bundle": self.bundle.tag, "model": self.bundle.partition, "explanations": found}

    async def healthz(self) -> Response:
        """Whether the process runs."""
        return Response(media_type="text/plain")

    async def livez(self) -> Response:
        """Whether the process runs."""
        return Response(media_type="text/plain")

    async def readyz(self) -> Response:
        """Whether rows can be scored now; if not, why."""
        try:
            await self._batcher.call(self.engine.ready, 0)
        except Refused as refused:
            return _json(refused.content(), refused.status, dict(refused.headers))
        return Response(media_type="text/plain")

    async def metrics(self) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def model_card(self) -> Response:
        """The model card."""
        return Response(self.bundle.model_card, media_type="text/markdown")

    async def schema(self) -> Response:
        """What a row must be, as JSON Schema, with the bundle and its answers."""
        decision = self.bundle.decision
        return _json(
            {
                "bundle": self.bundle.tag,
                "task": decision.task,
                "labels": list(decision.classes),
                "threshold": decision.threshold,
                "request": self.reader.model.model_json_schema(),
            }
        )

    async def _body(self, request: Request) -> bytes:
        most, size, parts = self.settings.max_body, 0, []
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise Refused(413, f"The body must be at most {most} bytes.")
            parts.append(part)
        return b"".join(parts)


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, default=str)
    return Response(text, status, headers, media_type="application/json")
