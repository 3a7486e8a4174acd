"""gRPC beside REST, in the same process and on the same event loop, where a port is set for it."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.access.local import check_host
from ai_assets.serving.settings import Settings

if TYPE_CHECKING:
    from ai_assets.serving.app import Server


def check_grpc(settings: Settings) -> None:
    """Return if gRPC is off, or installed.

    Raises:
        BundleError: it is on, but a package that it needs is not installed; says which.
    """
    missing = [name for name in ("grpc", "grpc_health") if not importlib.util.find_spec(name)]
    if settings.grpc_port and missing:
        raise BundleError(
            "gRPC needs packages that a bundle does without. Run\n"
            "  pip install grpcio grpcio-health-checking\n"
            "or leave AI_ASSETS_GRPC_PORT and --grpc-port out."
        )


@asynccontextmanager
async def grpc_beside(server: "Server") -> AsyncIterator[None]:
    """Serve gRPC meanwhile, if it is on.

    Raises:
        BundleError: a package is missing, or the port is taken.
        AccessError: no key is asked for, and the address is not of this machine alone.
    """
    settings = server.settings
    check_grpc(settings)
    if not settings.grpc_port:
        yield
        return
    check_host(settings.grpc_host, settings.access)
    from ai_assets.serving.protocols.grpc_server import GrpcServer

    beside = GrpcServer(server, settings.grpc_host, settings.grpc_port)
    await beside.start()
    try:
        yield
    finally:
        await beside.stop()
