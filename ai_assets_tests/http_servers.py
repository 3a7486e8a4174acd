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
def served(handler: Any, port: int = 0) -> Iterator[str]:
    """The address at which a handler of `http.server` answers within the block.

    Args:
        handler: of requests.
        port: of the address; a free one unless it is given.
    """
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """The address at which the files of a folder are, whole."""
    with served(partial(_Files, directory=str(folder))) as address:
        yield address
