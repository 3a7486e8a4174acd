"""A product's past, partition by partition, as its sensors and conditions would have run it.

The driver only delivers raw data, as the world would, and waits. All else is started by the daemon:
conditions carry the data to a verdict, the retraining sensor decides, the gate judges, a release
follows. Afterwards the other policies are replayed and the page is drawn.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import polars as pl
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG

from ai_assets.automation.daemon import Process, failed_runs, unfinished, wait_for
from ai_assets.automation.materialize import Step, materialize
from ai_assets.lifecycle.product import Product
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake

DATA = ("raw", "cleaned", "rejected", "labels", "features")
LEARN = (
    "training_set", "tuning", "model", "compressed_model", "evaluation", "model_card", "bundle",
    "gate", "release",
)  # fmt: skip
WATCH = ("predictions",)
SECONDS_FOR_A_PARTITION = 900


@dataclass
class Clockwork:
    """Where the time of a replay went, in seconds by stage of it."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


@dataclass(frozen=True)
class Replay:
    """One replay: the product, its code location, and which partitions."""

    product: Product
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    first: str
    partitions: list[str]
    clock: Clockwork = field(default_factory=Clockwork)

    def bootstrap(self) -> bool:
        """History up to the first release, which is made by hand, as a product's first one is."""
        started = time.monotonic()
        name, window = self.product.name, self.product.window(self.first) or [self.first]
        assert self.product.partitions is not None
        beginning = self.product.partitions.window(window[0], 1 + self.product.reach)[0]
        steps = (
            Step(f"data up to {self.first}", name, DATA, beginning, self.first),
            Step(f"first release, as of {self.first}", name, LEARN, self.first, self.first),
            Step("scores before the release: none", name, WATCH, self.first, self.first),
        )
        for step in steps:
            print(f"  {step.words}", flush=True)
            if not materialize(self.definitions, self.instance, step):
                return False
        self.clock.add("bootstrap", time.monotonic() - started)
        return True

    def month(self, key: str, daemon: Process, log: Path) -> None:
        """Deliver one partition's raw data, and wait until all that follows has happened."""
        started = time.monotonic()
        step = Step(f"raw data of {key} arrives", self.product.name, ("raw",), key, key)
        if not materialize(self.definitions, self.instance, step):
            self.unread(key, daemon, log)
            self.clock.add("delivery", time.monotonic() - started)
            return
        arrived = time.monotonic()
        self.clock.add("delivery", arrived - started)
        wait_for(
            f"the decision on {key}",
            lambda: self.decided(key) or self.broke_down(key),
            daemon, log, SECONDS_FOR_A_PARTITION,
        )  # fmt: skip
        self.clock.add("monitoring", time.monotonic() - arrived)
        decided = time.monotonic()
        wait_for(
            f"the runs of {key}", lambda: self.settled(key), daemon, log, SECONDS_FOR_A_PARTITION
        )
        self.clock.add("retraining", time.monotonic() - decided)

    def unread(self, key: str, daemon: Process, log: Path) -> None:
        """The partition's source is broken, and people were told: nothing more comes of it.

        Raises:
            RuntimeError: it could not be read for another reason.
        """
        if not self.broken(key):
            raise RuntimeError(f"The raw data of {key} could not be read.")
        wait_for(
            f"the runs of {key}", lambda: self.settled(key), daemon, log, SECONDS_FOR_A_PARTITION
        )

    def broken(self, key: str) -> bool:
        """Whether the last decision on the partition says that its data is broken."""
        return self.decision(key)["cause"].to_list()[-1:] == ["broken_data"]

    def decided(self, key: str) -> bool:
        """Whether the partition's verdict was decided on."""
        return not self.decision(key).is_empty()

    def decision(self, key: str) -> pl.DataFrame:
        """The decisions on the partition, the last in the end."""
        history = DecisionLog(lake=Lake()).history(self.product.name)
        return history.filter(pl.col("partition") == key)

    def broke_down(self, key: str) -> bool:
        """Whether a run of the partition failed for good, so that no verdict will come."""
        failed = failed_runs(self.instance, {"dagster/partition": key})
        given_up = any(AUTO_RETRY_RUN_ID_TAG not in run.tags for run in failed)
        return given_up and unfinished(self.instance) == 0

    def settled(self, key: str) -> bool:
        """Whether what was decided has been carried out and nothing runs any more."""
        rows = self.decision(key)
        for decision in rows.filter(pl.col("action") == "retrain")["decision_id"]:
            ended = dg.RunsFilter(
                statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
                tags={"ai_assets/decision": decision},
            )
            if not self.instance.get_runs_count(ended):
                return False
        return unfinished(self.instance) == 0

    def backtest(self) -> bool:
        """What other policies would have answered, and the page."""
        started = time.monotonic()
        for step in self._backtest_steps(self.readable()):
            print(f"  {step.words}", flush=True)
            if not materialize(self.definitions, self.instance, step):
                return False
        self.clock.add("backtest", time.monotonic() - started)
        return True

    def readable(self) -> list[str]:
        """The partitions that have features: all but those whose source was broken."""
        lake, name = Lake(), self.product.asset("features")
        return [key for key in self.partitions if lake.exists(name, key)]

    def _backtest_steps(self, keys: list[str]) -> Iterator[Step]:
        name = self.product.name
        assert self.product.partitions is not None
        before = [self.product.partitions.shift(key, -1) for key in keys]
        learn = ("training_set", "tuning", "model", "compressed_model")
        for key in before:
            yield Step(f"model as of {key}, released or not", name, learn, key, key)
        for key in keys:
            yield Step(f"other policies in {key}", name, ("backtest",), key, key)
        last = self.partitions[-1]
        yield Step("the page", name, ("operations",), last, last)

    def starts(self) -> tuple[int, float]:
        """How many runs the daemon started, and the seconds from asking until their first step.

        That is queueing, a new process and its imports: what a run costs before it does anything.
        """
        records = [r for r in self.instance.get_run_records() if by_daemon(r)]
        waits = [
            record.start_time - record.create_timestamp.timestamp()
            for record in records
            if record.start_time is not None
        ]
        return len(records), sum(waits)

    def tell(self, key: str) -> None:
        """Say what happened in a partition."""
        for row in self.decision(key).tail(1).iter_rows(named=True):
            print(f"  {key}: {row['action']}. {row['why']}", flush=True)
        if not self.decided(key):
            print(f"  {key}: no verdict; a run failed. The alert says why.", flush=True)


def by_daemon(record: dg.RunRecord) -> bool:
    """Whether a condition or a sensor asked for the run, not the replay's driver."""
    tags = record.dagster_run.tags
    return "dagster/from_automation_condition" in tags or "ai_assets/decision" in tags
