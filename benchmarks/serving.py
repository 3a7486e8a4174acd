"""One-row requests under load: ours beside MLflow, BentoML and FastAPI, with the same trees.

Run as `python benchmarks/serving.py`. All servers run at once and are asked in turn, 32 connections
each. Ours gets what a caller knows of a flight: it validates it, computes the features from the
history in the lake, scores, and answers when the record is on the disk. The others get features
that are ready. Then ours gets ready features too, and records after it answered.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np
import peers
from figures import Figure, report
from peers import free_port, serving
from requests_of import ROWS, request_bodies, vector_bodies
from trees_bundle import Trees, trees_bundle
from wrk import Load, load, paced

from ai_assets.serving.model import open_model
from ai_assets.serving.place import state_root

TURNS, SECONDS = 3, 4
MODEL_CALLS, MODEL_TURN = 4000, 200
LONGEST_P99_MS = 20
HALF = 0.45, 0.55
DIRECT, BENTOML = "directly", "under bentoml serve"


class Servers:
    """All servers, at work until the stack ends.

    Args:
        stack: ends them.
        trees: the model that each serves.
        folder: for what they write.
    """

    def __init__(self, stack: ExitStack, trees: Trees, folder: Path) -> None:
        self._stack, self._trees, self._folder = stack, trees, folder
        complete = trees.matrix[np.isfinite(trees.matrix).all(axis=1)][:ROWS]
        self._ready = f"/v2/models/{trees.product}_vectors/infer"
        self._tensors = vector_bodies(complete)
        self._raw = request_bodies(trees.payload)
        self.asks: dict[str, tuple[int, str, list[str]]] = {}
        model = folder / "trees.txt"
        model.write_text(
            (trees.payload / "trees.txt").read_text(encoding="utf-8"), encoding="utf-8"
        )
        rows = {key: peers.vectors(key, complete) for key in ("x", "inputs")}
        for name, begin, path, bodies in (
            ("MLflow", lambda p: peers.mlflow(trees.booster, folder, p), "/invocations", "inputs"),
            ("BentoML", lambda p: peers.bentoml(model, folder, p), "/predict", "x"),
            ("FastAPI", lambda p: peers.fastapi(model, folder, p), "/predict", "x"),
        ):
            self._start(name, begin, path, rows[bodies])
        for how in (DIRECT, BENTOML):
            self._ours(f"raw, {how}", how, "durable", "/predict", self._raw)
            self._ours(f"ready, {how}", how, "async", self._ready, self._tensors)

    def _start(
        self,
        name: str,
        command: Callable[[int], list[str]],
        path: str,
        bodies: list[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        port = free_port()
        print(f"starting {name}", flush=True)
        started = serving(
            command(port), port, (path, bodies[0]), folder=self._folder, environment=environment
        )
        self._stack.enter_context(started)
        self.asks[name] = (port, path, bodies)

    def _ours(self, name: str, how: str, log_mode: str, path: str, bodies: list[str]) -> None:
        environment = {
            "AI_ASSETS_HOME": str(state_root()),
            "AI_ASSETS_BUNDLE": str(self._trees.payload),
            "AI_ASSETS_ACCESS": "open",
            "AI_ASSETS_LOG": str(self._folder / f"{name.replace(', ', '-')}.sqlite"),
            "AI_ASSETS_LOG_MODE": log_mode,
        }
        directly = ["-m", "ai_assets.serving"]
        wrapped = ["-m", "bentoml", "serve", "ai_assets.serving.service:Service"]
        start = directly if how == DIRECT else [*wrapped, "--host", "127.0.0.1"]
        self._start(name, lambda port: [*start, "--port", str(port)], path, bodies, environment)

    def load(self, name: str, seconds: int = SECONDS, pause_ms: float = 0.0) -> Load:
        """Ask one of them."""
        port, path, bodies = self.asks[name]
        return load(port, path, bodies, seconds=seconds, pause_ms=pause_ms)


def in_turn(servers: Servers) -> dict[str, float]:
    """Median answers a second of each; they take turns, so that noise meets all alike."""
    rates: dict[str, list[float]] = {name: [] for name in servers.asks}
    for turn in range(TURNS + 1):
        for name in servers.asks:
            found = servers.load(name, 1 if turn == 0 else SECONDS)
            if turn:
                rates[name].append(found.rate)
                print(
                    f"turn {turn}: {name:28s} {found.rate:8,.0f}/s, p99 {found.p99_us / 1e3:.1f} ms"
                )
    return {name: median(found) for name, found in rates.items()}


def against(ours: str, other: str, rates: Mapping[str, float], goal: float) -> Figure:
    ratio = rates[ours] / rates[other]
    return Figure(
        f"{ours}, against {other}", f"{rates[ours]:,.0f}/s", f"{rates[other]:,.0f}/s",
        ratio, f">= {goal}", ratio >= goal,
    )  # fmt: skip


def at_half_load(servers: Servers, name: str, most: float) -> Figure:
    """The 99th percentile where callers come half as often as the server could answer.

    A figure at another load than half is none.
    """
    pause_ms, _ = paced(lambda pause: servers.load(name, SECONDS, pause), most, 0.5, tries=3)
    found = servers.load(name, 10, pause_ms)
    p99, share = found.p99_us / 1e3, found.rate / most
    half = HALF[0] <= share <= HALF[1]
    return Figure(
        f"p99 at {share:.0%} of the load, {name}, ms",
        f"{p99:.1f}" if half else "not at half load", "", None,
        f"<= {LONGEST_P99_MS}", half and p99 <= LONGEST_P99_MS,
    )  # fmt: skip


def model_us(
    calls: Mapping[str, Callable[[np.ndarray], object]], matrix: np.ndarray
) -> dict[str, float]:
    """Median microseconds of each model alone, a row at a time; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for first in range(0, MODEL_CALLS, MODEL_TURN):
        rows = [matrix[n % len(matrix)][None, :] for n in range(first, first + MODEL_TURN)]
        for name, call in calls.items():
            for row in rows:
                began = time.perf_counter()
                call(row)
                taken[name].append(time.perf_counter() - began)
    return {name: 1e6 * median(found) for name, found in taken.items()}


def by_graph(graph: bytes) -> Callable[[np.ndarray], object]:
    """A function that scores rows by a graph, on one thread."""
    run = open_model(graph, 1).run
    return lambda rows: run(None, {"x": rows})


def model_alone(trees: Trees) -> list[Figure]:
    """One row through the model itself and through the student, against LightGBM."""
    calls: dict[str, Callable[[np.ndarray], object]] = {
        "native": lambda row: trees.booster.predict(row, num_threads=1),
        **{name: by_graph(trees.candidates[name]) for name in ("onnx", "student")},
    }
    taken = model_us(calls, trees.matrix)
    within, words = trees.student
    print(f"student: {words} The budget serves: {trees.kept}.")
    figures = []
    for name, goal, good in (("onnx", 2, True), ("student", 4, within)):
        ratio = taken["native"] / taken[name]
        figures.append(
            Figure(
                f"one row, {name} against native LightGBM", f"{taken[name]:.0f} us",
                f"{taken['native']:.0f} us", ratio, f">= {goal}", ratio >= goal and good,
            )
        )  # fmt: skip
    return figures


def main() -> int:
    """Measure the newest bundle's features with trees; 1 if a goal is missed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        trees = trees_bundle(folder)
        figures = model_alone(trees)
        servers = Servers(stack, trees, folder)
        rates = in_turn(servers)
        figures += [
            against(f"raw, {DIRECT}", "MLflow", rates, 3),
            against(f"raw, {DIRECT}", "BentoML", rates, 1),
            against(f"raw, {DIRECT}", "FastAPI", rates, 0.3),
            against(f"raw, {BENTOML}", "BentoML", rates, 1),
            against(f"ready, {BENTOML}", "BentoML", rates, 1.3),
            against(f"ready, {DIRECT}", "FastAPI", rates, 0.7),
            at_half_load(servers, f"raw, {DIRECT}", rates[f"raw, {DIRECT}"]),
        ]
    return report(figures)


if __name__ == "__main__":
    sys.exit(main())
