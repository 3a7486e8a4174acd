"""What the gate is asked of a gRPC call. Knows gRPC's names, and imports none of it."""

from typing import Any
from urllib.parse import unquote

from ai_assets.serving.access.gate import Asked
from ai_assets.serving.access.rules import ADMIN, KEY, NOTHING, PREDICT, Need

_NEEDS = {
    "ServerLive": NOTHING,
    "ServerReady": NOTHING,
    "ModelReady": KEY,
    "ServerMetadata": KEY,
    "ModelMetadata": KEY,
    "ModelInfer": PREDICT,
}


def call_needs(method: str) -> Need:
    """What a call needs; one that is not listed is closed to all but `admin`."""
    return _NEEDS.get(method, ADMIN)


def asked_in(context: Any) -> Asked:
    """Who calls. The token is in the metadata `authorization` (`Bearer …`) or `x-api-key`.

    Args:
        context: a `grpc.aio.ServicerContext`.
    """
    return Asked.of(headers_in(context), host_of(context.peer()))


def headers_in(context: Any) -> list[tuple[bytes, bytes]]:
    """The metadata of a call, as ASGI gives headers."""
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in context.invocation_metadata() or ()
    ]


def host_of(peer: str) -> str:
    """The address of a peer as gRPC writes it: `ipv4:127.0.0.1:4242` or `ipv6:%5B::1%5D:4242`."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].strip("[]")
