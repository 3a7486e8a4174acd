"""A process ends with its own code and words, after all that was to run at its end."""

import subprocess
import sys

ENDING = """
import atexit, threading, time
import duckdb
from ai_assets.serving.leaving import leave
kept = duckdb.connect().sql("SELECT 1")
atexit.register(print, "registered")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
leave(3)
"""


def test_what_runs_and_what_is_registered_ends_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (3, "thread\nregistered\n", "")
