"""An app that says what it was told; it stands for those behind the proxy."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


async def say(request: Request) -> JSONResponse:
    """The path and the headers that came."""
    body = (await request.body()).decode()
    return JSONResponse({"path": request.url.path, "body": body, **dict(request.headers)})


async def echo(socket: WebSocket) -> None:
    """Send back what comes, until the other side ends."""
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


app = Starlette(
    routes=[
        WebSocketRoute("/{path:path}", echo),
        Route("/{path:path}", say, methods=["GET", "POST"]),
    ]
)
