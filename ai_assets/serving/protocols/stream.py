"""Row by row at `/stream`: over a WebSocket, or NDJSON in and server-sent events out."""

import asyncio
import json
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    MutableMapping,
)
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ai_assets.serving.access.gate import Asked as Asking
from ai_assets.serving.access.rules import PREDICT
from ai_assets.serving.observe.exchange import CURRENT
from ai_assets.serving.problems import Refused
from ai_assets.serving.protocols.rows import Answer, Rows, lines, until_silent
from ai_assets.serving.record.asked import Asked

if TYPE_CHECKING:
    from ai_assets.serving.app import Server

PATH, ROUTE = "/stream", "stream"
_KINDS = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json")
_QUIET_S = 15.0


def stream_routes(server: "Server") -> list[BaseRoute]:
    """Both ways to send rows one by one."""
    streams = _Streams(server)
    return [
        WebSocketRoute(PATH, streams.socket),
        Route(PATH, streams.post, methods=["POST"]),
    ]


class _Streams:
    """The handlers."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._open = 0

    async def socket(self, socket: WebSocket) -> None:
        """One row a message in, one answer a message out."""
        try:
            with self._one_more():
                await socket.accept()
                await self._talk(socket)
        except Refused as refused:
            if socket.application_state is WebSocketState.CONNECTING:
                await socket.send_denial_response(_json(refused))

    async def _talk(self, socket: WebSocket) -> None:
        async def send(answer: Answer) -> None:
            await socket.send_text(_text(answer))

        settings = self._server.settings
        incoming = _messages(socket, settings.max_body)
        try:
            rows = until_silent(incoming, settings.stream_seconds)
            await self._rows(socket.scope).run(rows, send)
            async with asyncio.timeout(settings.stream_seconds):
                await socket.close(1000, f"No row came for {settings.stream_seconds:g} s.")
        except* (WebSocketDisconnect, OSError):
            pass

    async def post(self, request: Request) -> Response:
        """NDJSON in, one row a line; an event an answer out, while rows still come."""
        try:
            kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind not in _KINDS:
                raise Refused(415, "Rows must come as Content-Type application/x-ndjson.")
            self._take()
        except Refused as refused:
            # No row came to any bundle, so this is none's answer.
            self._server.refused(ROUTE, refused.status)
            return _json(refused)
        return _Events(self._run, self._let_go)

    async def _run(self, scope: Scope, receive: Receive, send: "_Sending") -> None:
        """Answer the rows of one body."""
        settings = self._server.settings
        incoming = lines(Request(scope, receive).stream(), settings.max_body)
        rows = until_silent(incoming, settings.stream_seconds)
        try:
            await self._rows(scope).run(rows, send.answer, _QUIET_S, send.quiet)
            async with asyncio.timeout(settings.stream_seconds):
                await send.end()
        except* (ClientDisconnect, OSError):
            pass

    def _rows(self, scope: Scope) -> Rows:
        settings = self._server.settings
        return Rows(
            self._answering(scope),
            under_way=settings.stream_rows,
            held=settings.max_body,
            patience_s=settings.stream_seconds,
        )

    def _answering(self, scope: Scope) -> Callable[[bytes | None], Awaitable[Answer]]:
        """What answers a row of a caller. Each row counts as one request of the caller's key."""
        server = self._server
        host, _ = scope.get("client") or ("", 0)
        asking = Asking.of(scope["headers"], host)

        async def scored(row: bytes | None, began: float) -> Answer:
            if row is None:
                raise Refused(413, f"A row must be at most {server.settings.max_body} bytes.")
            key_id = await server.gate.admit(asking, PREDICT)
            found = await server.read(server.reader.rows, row)
            if len(found) != 1:
                raise Refused(400, f"A message must be one row, but there are {len(found)}.")
            asked = Asked(ROUTE, began, key_id, row)
            content = server.content(await server.score(found, asked))
            (prediction,) = content.pop("predictions")
            return {**content, **prediction}

        async def answer(row: bytes | None) -> Answer:
            began, status = time.perf_counter(), 500
            exchange = server.observer.row()
            if exchange is not None:
                CURRENT.set(exchange)  # a row has a task, and so a context, of its own
            try:
                answered = await scored(row, began)
                status = 200
                return answered
            except Refused as refused:
                status = refused.status
                return _refusal(refused)
            except Exception as error:  # one row must not end the stream of the others
                server.observer.failed(error, PATH)
                return {"status": 500, "error": "The server made a mistake.", "details": []}
            finally:
                server.answered(ROUTE, status, began)
                if exchange is not None:
                    server.observer.row_ended(exchange, status)

        return answer

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        self._take()
        try:
            yield
        finally:
            self._let_go()

    def _take(self) -> None:
        if self._open >= self._server.settings.streams:
            raise _too_many(self._open)
        self._open += 1

    def _let_go(self) -> None:
        self._open -= 1


class _Events(Response):
    """Server-sent events, sent while the body of the request is still read."""

    media_type = "text/event-stream"

    def __init__(
        self,
        run: Callable[[Scope, Receive, "_Sending"], Awaitable[None]],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._run, self._ended = run, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        sending = _Sending(send)
        try:
            await send(start)
            await self._run(scope, receive, sending)
        finally:
            self._ended()
        # Whoever got no end is gone, or takes nothing; to end the body would wait for them.
        if sending.ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Sending:
    """Writes events, numbered by their rows from 0."""

    def __init__(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        self._send = send
        self._rows = 0
        self._refused = 0
        self.ended = False

    async def answer(self, answer: Answer) -> None:
        """The answer to the next row: an event `answer` or `refused`."""
        kind = "refused" if "error" in answer else "answer"
        self._refused += kind == "refused"
        await self._write(f"id: {self._rows}\nevent: {kind}\ndata: {_text(answer)}\n\n")
        self._rows += 1

    async def quiet(self) -> None:
        """A comment that readers skip."""
        await self._write(": waiting for rows\n\n")

    async def end(self) -> None:
        """The last event, so that a reader knows that none is missing."""
        counts = _text({"rows": self._rows, "refused": self._refused})
        await self._write(f"event: end\ndata: {counts}\n\n")
        self.ended = True

    async def _write(self, text: str) -> None:
        body = text.encode("utf-8", "replace")
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


async def _messages(socket: WebSocket, most: int) -> AsyncIterator[bytes | None]:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code") or 1000)
        text = message.get("text")
        row = message.get("bytes") or b"" if text is None else text.encode("utf-8", "replace")
        yield row if len(row) <= most else None


def _too_many(count: int) -> Refused:
    words = f"Too many streams are open ({count}). Try again later."
    return Refused(503, words, headers={"Retry-After": "5"})


def _refusal(refused: Refused) -> Answer:
    found: Answer = {"status": refused.status, **refused.content()}
    if "Retry-After" in refused.headers:
        found["retry_after_seconds"] = int(refused.headers["Retry-After"])
    return found


def _json(refused: Refused) -> Response:
    text = json.dumps(refused.content(), ensure_ascii=False)
    return Response(text, refused.status, dict(refused.headers), media_type="application/json")


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, default=str)
