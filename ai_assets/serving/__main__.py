"""`python -m ai_assets.serving --bundle DIR --port N`: the app without BentoML's request path."""

import argparse
import sys
from pathlib import Path

from ai_assets.lifecycle.errors import UserError
from ai_assets.serving.app import create_app
from ai_assets.serving.place import find_bundle


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Returns 1, with one sentence, where the bundle cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m ai_assets.serving", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="folder of a signed bundle")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on")
    given = parser.parse_args(arguments)
    try:
        app = create_app(given.bundle or find_bundle())
        app.state.server.wait()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    import uvicorn

    uvicorn.run(app, host=given.host, port=given.port, access_log=False, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
