"""The end of a process that leaves nothing but its own words in the log."""

import atexit
import os
import sys
import threading


def leave(code: int) -> None:
    """End the process when all that was registered for its end has run.

    What lives until the interpreter is taken down DuckDB's binding reports as leaked: in lines that
    are no objects of a server's log, and on the page where a newcomer looks for the answer.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
