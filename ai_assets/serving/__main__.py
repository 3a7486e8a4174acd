"""`python -m ai_assets.serving --bundle DIR --port N`: the app without BentoML's request path."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ai_assets.lifecycle.errors import UserError
from ai_assets.serving.access.local import check_host
from ai_assets.serving.app import create_app
from ai_assets.serving.place import find_bundle
from ai_assets.serving.protocols.beside import check_grpc
from ai_assets.serving.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Returns 1, with one sentence, where the bundle cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m ai_assets.serving", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="folder of a signed bundle")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on")
    parser.add_argument(
        "--grpc-port", type=int, help="port for gRPC beside REST; without it there is none"
    )
    given = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
        if given.grpc_port is not None:
            settings = replace(settings, grpc_host=given.host, grpc_port=given.grpc_port)
        check_host(given.host, settings.access)
        check_grpc(settings)
        app = create_app(given.bundle or find_bundle(), settings)
        app.state.server.wait()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    import uvicorn

    uvicorn.run(app, host=given.host, port=given.port, access_log=False, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
