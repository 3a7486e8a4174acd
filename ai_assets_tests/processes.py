"""The end of a process that a test has started."""

import subprocess
from typing import Any

_PATIENCE_S = 20


def stop(process: "subprocess.Popen[Any]") -> None:
    """Ask it to end, and see that it does."""
    process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
