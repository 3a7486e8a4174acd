"""What the graph adds to the functions that it calls.

One partition's lifecycle without tuning, training and report drawing: raw, cleaned, rejected,
labels and features of one month, online tables. One side runs them as assets in one run of the
graph, the other calls the same functions in a plain script, over lakes of their own. Five runs
each, in turn; the medians count. Process start and imports are in neither side.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import dagster as dg
from figures import Figure, report
from flights import product

from ai_assets.lifecycle.product import Product
from ai_assets.resources import default_resources
from ai_assets.stages import stages_of
from ai_assets.stages.binding import Stage, StageRun, Tools, bind

ROOT = Path(__file__).resolve().parent.parent
RUNS, PARTITION = 5, "2013-01-01"
STAGES = ("raw", "cleaned", "rejected", "labels", "features", "online")
SHARE, SECONDS_A_STEP = 0.05, 0.05
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def own_state() -> Iterator[Path]:
    """An empty state folder that the resources use while the block runs."""
    before = os.environ.get("AI_ASSETS_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AI_ASSETS_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            os.environ.pop("AI_ASSETS_HOME")
            if before is not None:
                os.environ["AI_ASSETS_HOME"] = before


def ordered(flights: Product) -> list[Stage]:
    """The stages of this benchmark, each after those that it reads."""
    chosen = [stage for stage in stages_of(flights) if stage.stage in STAGES]
    return sorted(chosen, key=lambda stage: STAGES.index(stage.stage))


def as_script(flights: Product, stages: list[Stage]) -> float:
    """Seconds to call the stages' functions one after another."""
    with own_state():
        tools = Tools(
            **{n: r for n, r in default_resources().items() if n in Tools.__annotations__}
        )
        started = time.perf_counter()
        for stage in stages:
            list(stage.outcomes([StageRun(flights, PARTITION, tools)]))
        return time.perf_counter() - started


@contextmanager
def shipped_instance(state: Path) -> Iterator[dg.DagsterInstance]:
    """An empty instance as `dagster.yaml` has it, below the state folder."""
    with tempfile.TemporaryDirectory(dir=state) as history:
        shutil.copy(ROOT / "dagster.yaml", history)
        os.environ["DAGSTER_HOME"] = history
        with dg.DagsterInstance.from_config(history) as instance:
            yield instance


def as_graph(flights: Product, stages: list[Stage]) -> float:
    """Seconds to run the same as assets in one run, on the instance of `dagster.yaml`."""
    with own_state() as folder, shipped_instance(folder) as instance:
        definitions = dg.Definitions(
            assets=[bind(flights, stage) for stage in stages], resources=default_resources()
        )
        job = definitions.resolve_implicit_global_asset_job_def()
        started = time.perf_counter()
        done = job.execute_in_process(
            instance=instance, partition_key=PARTITION, run_config=QUIET, raise_on_error=True
        )
        assert done.success
        return time.perf_counter() - started


def main() -> int:
    flights = product()
    stages = ordered(flights)
    as_script(flights, stages)  # imports, and the source's files, once for both sides
    pairs = [(as_graph(flights, stages), as_script(flights, stages)) for _ in range(RUNS)]
    graph, script = median(p[0] for p in pairs), median(p[1] for p in pairs)
    allowed = script * (1 + SHARE) + SECONDS_A_STEP * len(stages)
    return report(
        [
            Figure(
                f"a month's {len(stages)} steps as assets",
                f"{graph:.2f} s",
                f"{script:.2f} s as a script",
                graph / script,
                f"<= 5 % + 0.05 s a step = {allowed:.2f} s",
                graph <= allowed,
            )
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
