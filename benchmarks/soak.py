"""Hours of traffic in little: a server at 70 % of what it can answer, its memory, errors and log.

Run as `python benchmarks/soak.py --minutes 15`. The server is the newest bundle, asked for what
callers know of a flight, and records durably. In the end its log must have each answer, once, and
nothing else: the callers keep the ids of what they were answered. So that none is cut off on its
way, they ask nothing in the two seconds after each step.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import psutil
from figures import Figure, report
from newest_bundle import newest_bundle
from peers import free_port, serving
from requests_of import request_bodies
from wrk import Load, apart, load, paced

from ai_assets.serving.place import state_root
from ai_assets.serving.record.store import read_store

SHARE, WARM_S, STEP_S = 0.7, 20, 15
MOST_GROWTH = 0.05


def resident_mb(pid: int) -> float:
    """Resident memory of a process and those it started."""
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (process, *process.children(recursive=True))) / 1e6


def soaked(
    port: int, pid: int, bodies: list[str], minutes: float, ids: Path
) -> tuple[list[Load], list[float]]:
    """What happened in each step of so many minutes, and the memory after it.

    Args:
        port: where the server listens.
        pid: its process.
        bodies: of requests.
        minutes: how long it is asked, the steps before them and the pauses between them aside.
        ids: a file for what callers were answered.
    """

    def asked(pause_ms: float, seconds: int = STEP_S) -> Load:
        return load(
            port, "/predict", bodies, seconds=seconds, pause_ms=pause_ms, strict=False, ids=ids
        )

    warm = asked(0.0, WARM_S)

    pause, first = paced(asked, warm.rate, SHARE)
    print(f"saturated at {warm.rate:,.0f}/s; a caller waits {pause:.1f} ms", flush=True)
    loads, memory = [warm, first], []
    for step in range(max(4, round(minutes * 60 / STEP_S))):
        loads.append(asked(pause))
        memory.append(resident_mb(pid))
        if step % 8 == 0:
            found = loads[-1]
            told = f"{found.rate:,.0f}/s, p99 {found.p99_us / 1e3:.1f} ms, {memory[-1]:.1f} MB"
            print(f"{step * STEP_S / 60:5.1f} min: {told}", flush=True)
    return loads, memory


def recorded(log: Path) -> list[str]:
    """Ids of all answers of the log, a row each."""
    store = read_store(str(log))
    assert store is not None
    try:
        return [i for answered in store.answers((None, None)) for i in answered.prediction_ids()]
    finally:
        store.close()


def main() -> int:
    """Soak the newest bundle; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--product", default="flight_delay")
    parser.add_argument("--minutes", type=float, default=15)
    given = parser.parse_args()
    payload = newest_bundle(given.product)[1]
    bodies = request_bodies(payload)
    port = free_port()
    command = ["-m", "ai_assets.serving", "--bundle", str(payload), "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as temporary:
        folder = Path(temporary)
        log, ids = folder / "answers.sqlite", folder / "ids"
        environment = {
            "AI_ASSETS_HOME": str(state_root()),
            "AI_ASSETS_ACCESS": "open",
            "AI_ASSETS_LOG": str(log),
        }
        with ExitStack() as stack:
            server = stack.enter_context(
                serving(
                    command, port, ("/predict", bodies[0]), folder=folder, environment=environment
                )
            )
            # Whether the server is ready was asked by a request like any other.
            before = recorded(log)
            loads, memory = soaked(port, server.pid, bodies, given.minutes, ids)
        answered = [*before, *ids.read_text(encoding="utf-8").split()]
        kept = recorded(log)
    return report(figures(loads, memory, len(kept) - len(before), apart(answered, kept)))


def figures(
    loads: list[Load], memory: list[float], kept: int, differ: tuple[int, int]
) -> list[Figure]:
    """Growth of memory, errors, and the log against the answers.

    Args:
        loads: all that was asked.
        memory: after each step.
        kept: rows of the log.
        differ: as `apart` tells it.
    """
    # The first minutes fill caches that are bounded; a leak goes on to the end.
    quarter = len(memory) // 4
    early, late = median(memory[quarter : 2 * quarter]), median(memory[-quarter:])
    growth = late / early - 1
    answers = sum(found.answers for found in loads)
    errors = sum(found.broken + found.refused for found in loads)
    return [
        Figure(
            "memory, second quarter and last, MB", f"{late:.1f}", f"{early:.1f}", late / early,
            f"<= +{MOST_GROWTH:.0%} (is {growth:+.1%})", growth <= MOST_GROWTH,
        ),
        Figure("errors", str(errors), "", None, "0", errors == 0),
        Figure(
            "rows in the log, answers that callers saw", f"{kept:,}", f"{answers:,}", None,
            "as many", kept == answers,
        ),
        Figure(
            "answers that the log lacks, rows of the log that nobody was answered",
            str(differ[0]), str(differ[1]), None, "0, 0: by their ids", differ == (0, 0),
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
