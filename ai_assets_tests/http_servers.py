"""Plain HTTP servers on loopback: of a folder's files, or of whatever a handler answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(handler: Any) -> Iterator[str]:
    """The address at which a handler of `http.server` answers within the block."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder are, whole."""
    with served(partial(_Files, directory=str(folder))) as address:
        yield address
