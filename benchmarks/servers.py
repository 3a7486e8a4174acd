"""Our app under uvicorn, as `python -m ai_assets.serving` runs it, and under granian.

Run as `python benchmarks/servers.py`. One worker each of the newest bundle, 32 connections, one row
a request. Raw rows are answered when the record is on the disk; ready vectors are recorded after
the answer, so that of these the HTTP server is a larger part. All are at work at once and are asked
in turn, so that noise meets all alike.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from figures import Figure, report
from newest_bundle import newest_bundle
from peers import free_port, serving
from requests_of import ROWS, request_bodies, request_rows, vector_bodies
from wrk import Load, load

from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.place import state_root

OURS, OTHER = "uvicorn", "granian"
COMMANDS = {
    OURS: ["-m", "ai_assets.serving", "--port"],
    OTHER: [
        "-m", "granian", "--interface", "asgi", "--http", "1", "--loop", "uvloop", "--factory",
        "ai_assets.serving.workers:app", "--log-level", "warning", "--port",
    ],
}  # fmt: skip
TURNS, SECONDS, WARM_S = 5, 5, 2
LEAST = 0.95
Ask = Callable[[int], Load]


def main() -> int:
    """Measure the newest bundle under both; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--product", default="flight_delay")
    given = parser.parse_args()
    if find_spec(OTHER) is None:
        sys.exit(f"{OTHER} is needed to compare with. Install what is locked: make setup")
    payload = newest_bundle(given.product)[1]
    bundle = load_bundle(payload)
    vectors = vector_bodies(request_rows(bundle, ROWS)[1])
    if not vectors:
        sys.exit(f"All of the {ROWS} newest rows lack a feature: there is no vector to send.")
    ready = f"/v2/models/{bundle.product}_vectors/infer"
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as folder, ExitStack() as stack:
        figures = []
        for kind, mode, path, bodies in (
            ("ready vectors", "async", ready, vectors),
            ("raw rows", "durable", "/predict", request_bodies(payload)),
        ):
            asks = {
                name: started(stack, name, payload, mode, Path(folder), (path, bodies))
                for name in COMMANDS
            }
            figures.append(figure(kind, in_turn(kind, asks)))
    return report(figures)


def started(
    stack: ExitStack,
    name: str,
    payload: Path,
    mode: str,
    folder: Path,
    asked: tuple[str, list[str]],
) -> Ask:
    """Start one of the servers, until the stack ends; what asks it for so many seconds.

    Args:
        stack: ends it.
        name: which.
        payload: folder of the bundle.
        mode: when it records.
        folder: for what it writes.
        asked: path and bodies of requests.
    """
    port, (path, bodies) = free_port(), asked
    environment = {
        "AI_ASSETS_HOME": str(state_root()),
        "AI_ASSETS_BUNDLE": str(payload),
        "AI_ASSETS_ACCESS": "open",
        "AI_ASSETS_LOG": str(folder / f"{port}.sqlite"),
        "AI_ASSETS_LOG_MODE": mode,
    }
    command, first = [*COMMANDS[name], str(port)], (path, bodies[0])
    stack.enter_context(serving(command, port, first, folder=folder, environment=environment))
    return lambda seconds: load(port, path, bodies, seconds=seconds)


def in_turn(kind: str, asks: dict[str, Ask]) -> dict[str, float]:
    """Median answers a second of each; who is asked first changes from turn to turn."""
    for ask in asks.values():
        ask(WARM_S)
    rates: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(TURNS):
        for name in sorted(asks, reverse=turn % 2 == 0):
            found = asks[name](SECONDS)
            rates[name].append(found.rate)
            told = f"{found.rate:,.0f}/s, p99 {found.p99_us / 1e3:.1f} ms"
            print(f"turn {turn + 1}, {kind}, {name}: {told}", flush=True)
    return {name: median(found) for name, found in rates.items()}


def figure(kind: str, rates: dict[str, float]) -> Figure:
    """The server that we use against the other."""
    ratio = rates[OURS] / rates[OTHER]
    return Figure(
        f"{kind}, {OURS} against {OTHER}", f"{rates[OURS]:,.0f}/s", f"{rates[OTHER]:,.0f}/s",
        ratio, f">= {LEAST}", ratio >= LEAST,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
