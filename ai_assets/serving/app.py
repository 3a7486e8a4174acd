"""The ASGI app of a bundle. BentoML mounts it, and an ASGI server runs it as it is.

Starlette alone answers. FastAPI writes the pages that people read, and is imported for them.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ai_assets.serving.access.gate import Gate
from ai_assets.serving.access.middleware import AccessMiddleware
from ai_assets.serving.batching import CallerGone, caller
from ai_assets.serving.observe.middleware import ObserveMiddleware
from ai_assets.serving.observe.observer import Observer
from ai_assets.serving.observe.profile import profile_routes
from ai_assets.serving.openapi import PAGES, Pages
from ai_assets.serving.problems import Refused
from ai_assets.serving.protocols.beside import grpc_beside
from ai_assets.serving.protocols.graphql import graphql_routes
from ai_assets.serving.protocols.rest import v2_routes
from ai_assets.serving.protocols.stream import stream_routes
from ai_assets.serving.record.asked import Asked, key_id
from ai_assets.serving.settings import Settings
from ai_assets.serving.start import Start
from ai_assets.serving.text import as_json
from ai_assets.serving.traffic.begin import first_router, follower
from ai_assets.serving.uploads import Given, Read, Unpacking, as_json_body

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ai_assets.serving.bundle import Bundle
    from ai_assets.serving.engine import Engine, Part, Scored
    from ai_assets.serving.record.keeper import Keeper
    from ai_assets.serving.request import RequestReader
    from ai_assets.serving.start import Loaded
    from ai_assets.serving.traffic.follow import Follower
    from ai_assets.serving.traffic.router import Router
    from ai_assets.serving.traffic.slots import Slot

_EXPLAIN_COST = 64
# How many more objects than before start a search for garbage. What a request leaves goes without
# one, and Python's own 700 let the search take some hundredths of a busy server's time.
_GARBAGE = 10_000
Handler = Callable[[Request], Awaitable[dict[str, Any]]]


def create_app(folder: Path | str | None, settings: Settings | None = None) -> Starlette:
    """The app that serves a bundle. It loads what answers when it starts, or `begin` is called.

    Args:
        folder: the bundle; None serves what is in production of `settings.product`.
        settings: limits and places.

    Raises:
        BundleError: the bundle does not verify; there is then nothing to serve.
        ReleaseError: there is no release to follow.
        AccessError: the setting of access is none.
    """
    settings = settings or Settings.from_environment()
    server = Server(Start(folder, settings), settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(server.wait)
        server.open()
        async with grpc_beside(server):
            yield
        await server.close()

    answers = [
        Route(f"/{name}", handler, methods=["POST"]) for name, handler in server.answers.items()
    ]
    shown = [Route(f"/{name}", handler, methods=["GET"]) for name, handler in server.shown.items()]
    pages = Pages(server)
    described = [Route(path, pages, methods=["GET"]) for path in PAGES]
    app = Starlette(
        routes=[
            *answers,
            *v2_routes(server),
            *shown,
            *described,
            *graphql_routes(server),
            *stream_routes(server),
            *profile_routes(server),
        ],
        lifespan=lifespan,
        middleware=[
            Middleware(ObserveMiddleware, observer=server.observer),
            Middleware(AccessMiddleware, gate=server.gate, refused=server.refused),
        ],
        exception_handlers={HTTPException: _refused},
    )
    app.state.server = server
    return app


class Server:
    """The handlers, and what they share."""

    def __init__(self, start: Start, settings: Settings) -> None:
        self.product = str(start.manifest["product"])
        self.settings = settings
        self.gate = Gate.of(settings)
        self.observer = Observer(self.product, settings)
        self._start = start
        self._unpacking = Unpacking()
        self.answers = {
            name: self._answering(name, handler)
            for name, handler in (
                ("predict", self.predict),
                ("explain", self.explain),
                ("feedback", self.feedback),
            )
        }
        self.shown: dict[str, Callable[..., Awaitable[Response]]] = {
            "healthz": self.healthz,
            "livez": self.healthz,
            "readyz": self.readyz,
            "metrics": self.metrics,
            "model_card": self.model_card,
            "release": self.release,
            "schema": self.schema,
        }

    def begin(self) -> None:
        """Load what answers, in the background."""
        self._start.begin()

    def wait(self) -> None:
        """Return when all is there that answers.

        Raises:
            BundleError: a file of the bundle cannot be read.
        """
        _ = self.router

    def open(self) -> None:
        """Take requests."""
        self.observer.open()
        # What was loaded stays, so the search for garbage need not go through it again and again.
        gc.freeze()
        gc.set_threshold(_GARBAGE, *gc.get_threshold()[1:])
        self.gate.announce()
        self.router.open()
        if self._follower is not None:
            self._follower.start()

    async def close(self) -> None:
        """Answer what waits, and end."""
        if self._follower is not None:
            await asyncio.to_thread(self._follower.stop)
        self._unpacking.close()
        await self.router.close()
        self.keeper.counts.flush()
        await asyncio.to_thread(self.keeper.recorder.close)
        await asyncio.to_thread(self.observer.close)

    @cached_property
    def _loaded(self) -> "Loaded":
        return self._start.wait()

    @cached_property
    def router(self) -> "Router":
        """What sends requests to bundles."""
        return first_router(self._loaded, self.settings)

    @cached_property
    def _follower(self) -> "Follower | None":
        return follower(self._start.releases, self._loaded, self.router, self.settings)

    @property
    def slot(self) -> "Slot":
        """The stable bundle at work. Another takes its place between two turns of the loop."""
        return self.router.now.stable

    @property
    def bundle(self) -> "Bundle":
        """What is served."""
        return self.slot.bundle

    @property
    def reader(self) -> "RequestReader":
        """Reads the bodies of requests."""
        return self.slot.reader

    @property
    def engine(self) -> "Engine":
        """What scores."""
        return self.slot.engine

    @property
    def keeper(self) -> "Keeper":
        """What records."""
        return self._loaded.keeper

    def _answering(self, route: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
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
                self.answered(route, status, began)

        return answer

    async def predict(self, request: Request) -> dict[str, Any]:
        """Score one row, a list of rows, or `{"rows": [...]}`."""
        began = time.perf_counter()
        body = await self.row_body(request)
        asked = Asked("predict", began, key_id(request), body)
        scored = await self.score(await self.read(self.reader.rows, body), asked)
        return self.content(scored)

    def content(self, scored: "Scored") -> dict[str, Any]:
        """The answers to the rows of a request, as JSON shows them."""
        return {
            "bundle": scored.bundle,
            "model": scored.model,
            "online": {name: s.shown() for name, s in scored.snapshots.items()},
            "predictions": scored.content(),
        }

    async def score(self, part: "Part", asked: Asked) -> "Scored":
        """Score what any protocol brings, together with what others bring at the time.

        What this returns is recorded, and may be given.

        Raises:
            Refused: the rows cannot be scored, or the answers not recorded, or not now.
        """
        return await self.router.score(part, asked)

    async def read(self, reading: Callable[[Given], Read], given: Given) -> Read:
        """What a caller gave, as it is read; pictures while others are answered."""
        return await self._unpacking(reading, given) if self.reader.reads_files else reading(given)

    async def feedback(self, request: Request) -> dict[str, Any]:
        """Take outcomes, each of a prediction by its id, or of a row by its key."""
        return await self.told(await self.body(request), key_id(request))

    async def told(self, body: bytes, key_id: str | None) -> dict[str, Any]:
        """Keep the outcomes of a body that any protocol brings.

        Raises:
            Refused: one of them is wrong, or they cannot be kept now.
        """
        return await self.keeper.told(body, self.slot.feedback, key_id)

    async def explain(self, request: Request) -> dict[str, Any]:
        """Say how much each feature contributed to the answer to a row."""
        body = await self.row_body(request)
        return await self.explained(await self.read(self.reader.rows, body))

    async def explained(self, rows: "list[BaseModel]") -> dict[str, Any]:
        """The contributions to the answers to checked rows, as JSON shows them.

        Raises:
            Refused: they cannot be explained, or not now, or are too many.
        """
        slot, most = self.slot, self.settings.explain_rows
        if len(rows) > most:
            raise Refused(413, f"There must be at most {most} rows to explain, not {len(rows)}.")
        rows = slot.own(rows)
        with slot.held():
            found = await slot.batcher.call(
                lambda: slot.engine.explain(rows), _EXPLAIN_COST * len(rows)
            )
        return {"bundle": slot.bundle.tag, "model": slot.bundle.partition, "explanations": found}

    async def healthz(self, _: Request) -> Response:
        """Whether the process runs."""
        return Response(media_type="text/plain")

    async def ready(self) -> None:
        """Return if rows can be scored now.

        Raises:
            Refused: with 503 and the reason.
        """
        slot = self.slot
        with slot.held():
            await slot.ready()
        self.keeper.recorder.ready()

    def answered(self, route: str, status: int, began: float) -> None:
        """Count one answer, or that there was none.

        Args:
            route: which route was asked.
            status: what the caller was told.
            began: `time.perf_counter` when the request came.
        """
        self._loaded.metrics.answered(route, status, began, self.router.waiting)
        # What reached the bundles was counted there, for each of them.
        if not self.router.was_counted():
            seconds = time.perf_counter() - began
            self.keeper.counts.add(self.bundle.tag, "stable", route, status, seconds)

    def refused(self, route: str, status: int) -> None:
        """Count a request that was not let in."""
        self._loaded.metrics.refused(route, status)

    async def readyz(self, _: Request) -> Response:
        """Whether rows can be scored now; if not, why."""
        try:
            await self.ready()
        except Refused as refused:
            return _json(refused.content(), refused.status, dict(refused.headers))
        return Response(media_type="text/plain")

    async def metrics(self, _: Request) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self._loaded.metrics.text(), media_type="text/plain; version=0.0.4")

    async def model_card(self, _: Request) -> Response:
        """The model card."""
        return Response(self.bundle.model_card, media_type="text/markdown")

    async def release(self, _: Request) -> Response:
        """Which bundles answer, how rows are split among them, and what stands in the way."""
        return _json(self.router.shown())

    async def schema(self, _: Request) -> Response:
        """What a row must be, as JSON Schema, with the bundle and its answers."""
        decision = self.bundle.decision
        binary = decision.task == "binary"
        return _json(
            {
                "bundle": self.bundle.tag,
                "task": decision.task,
                "labels": list(decision.classes),
                **({"threshold": decision.threshold} if binary else {}),
                "request": self.reader.model.model_json_schema(),
            }
        )

    async def row_body(self, request: Request) -> bytes:
        """The body of a request for rows as JSON, whether it came so or as a file.

        Raises:
            Refused: as `body`; with 415, where no file of that type can be the whole request.
        """
        given = request.headers.get("content-type", "")
        return as_json_body(await self.body(request), given, self.reader.table)

    async def body(self, request: Request) -> bytes:
        """The whole body of a request.

        Raises:
            Refused: with 413; it is too large. With 408; its end did not come. With 499; the
                caller went away before its end.
        """
        most, seconds, size, parts = self.settings.max_body, self.settings.max_seconds, 0, []
        try:
            async with asyncio.timeout(seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise Refused(413, f"The body must be at most {most} bytes.")
                    parts.append(part)
        except ClientDisconnect:
            raise CallerGone from None
        except TimeoutError:
            words = f"The whole body must come within {seconds:g} s."
            raise Refused(408, words, headers={"Connection": "close"}) from None
        caller.set(request)
        return b"".join(parts)


async def _refused(_: Request, error: Exception) -> Response:
    """A path or a method that there is not, told as every refusal is."""
    assert isinstance(error, HTTPException)
    content = Refused(error.status_code, error.detail).content()
    # A method that is not allowed is answered with those that are.
    return _json(content, error.status_code, dict(error.headers or {}))


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(as_json(content), status, headers, media_type="application/json")
