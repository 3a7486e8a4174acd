"""`python -m ai_assets.serving --product NAME`: the app without BentoML's request path.

It serves what is in production, as the ledger of releases says; `--bundle DIR` one bundle, always
the same.
"""

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ai_assets.lifecycle.errors import UserError
from ai_assets.serving.access.local import check_host
from ai_assets.serving.access.tls import Tls
from ai_assets.serving.app import create_app
from ai_assets.serving.leaving import leave
from ai_assets.serving.observe.observer import check_observe
from ai_assets.serving.place import what_to_serve
from ai_assets.serving.protocols.beside import check_grpc
from ai_assets.serving.protocols.sockets import sockets
from ai_assets.serving.settings import Settings

PORT = 3001
"""Beside Dagster's UI, which listens on 3000."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Returns 1, with one sentence, where the bundle cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m ai_assets.serving", description=__doc__)
    served = parser.add_mutually_exclusive_group()
    served.add_argument("--product", help="serve what is in production of it, also when it changes")
    served.add_argument("--bundle", type=Path, help="folder of a signed bundle")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"port to listen on; default: {PORT}"
    )
    parser.add_argument(
        "--grpc-port", type=int, help="port for gRPC beside REST; without it there is none"
    )
    parser.add_argument("--tls-cert", help="certificate in PEM: speak TLS, over gRPC too")
    parser.add_argument("--tls-key", help="its private key")
    parser.add_argument(
        "--tls-client-ca", help="authorities of clients, who then need certificates"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that answer")
    given = parser.parse_args(arguments)
    try:
        settings = _settings(given)
        tls = Tls.of(settings)
        check_host(given.host, settings.access)
        check_grpc(settings)
        check_observe(settings)
        what = None if given.product else given.bundle or what_to_serve()
        run: dict[str, Any] = {
            "host": given.host,
            "port": given.port,
            "access_log": False,
            "log_level": "warning",
            "ws": sockets(),
            "ws_max_size": settings.max_body,
            "timeout_graceful_shutdown": math.ceil(settings.max_seconds),
            **(tls.for_uvicorn() if tls else {}),
        }
        if given.workers != 1:
            # A single one starts without what several need.
            from ai_assets.serving.workers import serve

            return serve(what, settings, workers=given.workers, **run)
        app = create_app(what, settings)
        app.state.server.wait()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    import uvicorn

    uvicorn.run(app, **run)
    return 0


def _settings(given: argparse.Namespace) -> Settings:
    """The environment's, and those that the command changes."""
    changed: dict[str, Any] = {"product": given.product}
    if given.grpc_port is not None:
        changed |= {"grpc_host": given.host, "grpc_port": given.grpc_port}
    changed |= {name: getattr(given, name) for name in ("tls_cert", "tls_key", "tls_client_ca")}
    told = {name: value for name, value in changed.items() if value is not None}
    return replace(Settings.from_environment(), **told)


if __name__ == "__main__":
    leave(main())
