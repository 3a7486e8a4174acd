"""Declare an AI product in one YAML file; get its whole life as a graph of Dagster assets."""

import atexit
import os
import sys

# Threads of a training that wait for each other spin, as OpenMP has it, and on cores that anything
# else needs too they keep the one they wait for from running: beside a daemon and a web server
# trainings took four times as long. It is read when the first library with OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@atexit.register
def _end_quietly() -> None:
    """Let go of DuckDB's modules: its bindings count what is left of them when a process ends, and
    write forty lines about leaks where a library still holds any. Threads may still ask it."""
    if len(sys._current_frames()) > 1:
        return
    for name in [name for name in sys.modules if name.partition(".")[0] in ("duckdb", "_duckdb")]:
        vars(sys.modules[name]).clear()
