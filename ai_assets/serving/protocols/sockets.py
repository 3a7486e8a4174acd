"""WebSockets of uvicorn, imported with the first one: their package costs a start 40 ms."""

import asyncio
import importlib.util
from typing import Any

_PACKAGE = "websockets"


def sockets() -> str:
    """What uvicorn is told to speak WebSockets by."""
    return f"{__name__}:socket" if importlib.util.find_spec(_PACKAGE) else "none"


def socket(**given: Any) -> asyncio.Protocol:
    """A connection that became a WebSocket, as uvicorn makes one."""
    from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

    assert AutoWebSocketsProtocol is not None
    return AutoWebSocketsProtocol(**given)
