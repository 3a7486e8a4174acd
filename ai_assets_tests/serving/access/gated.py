"""A small app behind the gate, with a clock of ours."""

from dataclasses import dataclass, field
from typing import Any

from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ai_assets.serving.access.gate import Gate
from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.middleware import AccessMiddleware
from ai_assets.serving.access.sqlite import KeyFile

DAY = 86400


@dataclass
class Place:
    """A gate with its keys, a clock to move, and a client on loopback."""

    store: KeyFile
    gate: Gate = field(init=False)
    client: TestClient = field(init=False)
    now: float = 100.0 * DAY
    mode: str = "keys"

    def __post_init__(self) -> None:
        self.gate = Gate(self.mode, self.store, clock=lambda: self.now, steady=lambda: self.now)
        self.client = TestClient(guarded(self.gate))

    def key(self, *scopes: str, **limits: Any) -> tuple[str, dict[str, str]]:
        """A new key: its id, and the header that carries its token."""
        key, token = new_key("ada", list(scopes), self.now, **limits)
        self.store.add(key)
        self.now += 1.1  # by then a running server has looked
        return key.id, {"Authorization": f"Bearer {token}"}


def guarded(gate: Gate) -> Starlette:
    """An app behind the gate twice, as under BentoML, which says who asked."""

    async def who(request: Request) -> JSONResponse:
        return JSONResponse({"key": request.state.key_id})

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json({"key": socket.state.key_id})
        await socket.close()

    paths = ["/predict", "/explain", "/feedback", "/metrics", "/schema", "/healthz", "/added"]
    paths += ["/readyz", "/v2/health/live", "/v2/models/{name}/infer"]
    routes = [Route(path, who, methods=["GET", "POST"]) for path in paths]
    twice = [Middleware(AccessMiddleware, gate=gate)] * 2
    return Starlette(routes=[*routes, WebSocketRoute("/stream", talk)], middleware=twice)
