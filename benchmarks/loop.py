"""How long the retraining sensor's tick takes when ten thousand verdicts lie behind it.

An instance on `ai_assets/history.py` with a materialized verdict for each of 10,000 hours, and a
decision on each in the lake; one verdict in a hundred asked for a retraining. A tick is the whole
of what the daemon calls: reading verdicts, decisions and costs, deciding, writing down. Medians.

The history is laid down in bulk: rows of Dagster's table like the first one, which Dagster wrote,
and commits of a thousand decisions, each under its id as `AppendOnly` writes them, with the last
hundred one by one.
"""

import json
import logging
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import dagster as dg
import polars as pl
from deltalake import CommitProperties, Transaction, write_deltalake
from figures import Figure, report
from flights import product

from ai_assets.automation.retraining import MOST_NEW, evidence_of, tick
from ai_assets.automation.sensors import learning_keys
from ai_assets.lifecycle.naming import AssetName
from ai_assets.lifecycle.partitions import Partitions
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.retraining.decide import decide
from ai_assets.lifecycle.retraining.spec import Retrain
from ai_assets.lifecycle.verdict.evidence import Evidence, Verdict
from ai_assets.resources.append_only import AppendOnly
from ai_assets.resources.decisions import COLUMNS, DecisionLog
from ai_assets.resources.lake import Lake
from ai_assets.resources.notify import Notifier
from ai_assets.stages import stages_of
from ai_assets.stages.binding import bind

VERDICTS, ONE_BY_ONE, TICKS, GOAL = 10_000, 100, 9, 1.0
START = datetime(2013, 1, 1, tzinfo=UTC)


def hourly() -> Product:
    """flight_delay, cut into hours."""
    flights = product()
    hours = Partitions(every="hour", start=date(2013, 1, 1))
    declared = flights.declaration.model_copy(
        update={"partitions": hours, "retrain": Retrain(causes={"covariate_drift": 0.5})}
    )
    return replace(flights, declaration=declared)


def hour(number: int) -> str:
    return (START + timedelta(hours=number)).strftime("%Y-%m-%d-%H:%M")


def verdict(name: str, number: int) -> Verdict:
    """A verdict with as much evidence as one on flights has; one in a hundred retrains."""
    severity = 0.9 if number % 100 == 0 else 0.2
    words = "the distribution of distance moved: PSI 0.31, limit 0.20"
    found = [
        Evidence("covariate_drift", "feature", f"feature_{i}", 0.31, 0.2, words, severity)
        for i in range(8)
    ]
    bundle = f"{name}:2013-01-01-00-00-0123456789ab"
    return Verdict(
        name, hour(number), bundle, "covariate_drift", severity, "distance moved", found, True
    )


@contextmanager
def world() -> Iterator[tuple[dg.DagsterInstance, DecisionLog, Notifier]]:
    """An instance, a lake and an outbox in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        storage = {"module": "ai_assets.history", "class": "History"}
        given = {"storage": {"custom": storage | {"config": {"base_dir": folder}}}}
        (home / "dagster.yaml").write_text(json.dumps(given), encoding="utf-8")
        notifier = Notifier(console=False, outbox_path=str(home / "outbox.db"))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance, DecisionLog(lake=Lake(root=str(home / "lake"))), notifier


def conclude(instance: dg.DagsterInstance, name: str, number: int) -> None:
    """One verdict, by Dagster's own way."""
    concluded = verdict(name, number)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            [name, "verdict"],
            partition=concluded.partition,
            metadata={"verdict": dg.JsonMetadataValue(json.loads(concluded.to_json()))},
        )
    )


def lay_down_verdicts(instance: dg.DagsterInstance, name: str) -> None:
    """The first by Dagster, the others like it."""
    conclude(instance, name, 1)
    (index,) = Path(instance.root_directory).rglob("index.db")
    with closing(sqlite3.connect(index)) as database, database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(event_logs)")][1:]
        (first,) = database.execute(f"SELECT {', '.join(columns)} FROM event_logs")
        row = dict(zip(columns, first, strict=True))
        rows = [tuple(_like(row, name, number).values()) for number in range(2, VERDICTS + 1)]
        marks = ", ".join("?" * len(columns))
        database.executemany(
            f"INSERT INTO event_logs ({', '.join(columns)}) VALUES ({marks})", rows
        )


def _like(row: dict[str, object], name: str, number: int) -> dict[str, object]:
    """Dagster's row of the first verdict, turned into that of another."""
    event = str(row["event"]).replace(hour(1), hour(number))
    if number % 100 == 0:
        event = event.replace('"severity": 0.2', '"severity": 0.9')
    return {**row, "partition": hour(number), "event": event}


def lay_down_decisions(instance: dg.DagsterInstance, log: DecisionLog, flights: Product) -> None:
    """A decision on each verdict, as the sensor records them."""
    name = flights.name
    records = AppendOnly(log.lake, AssetName(name, "decisions"), COLUMNS, "decision_id")
    (one,) = instance.fetch_materializations(dg.AssetKey([name, "verdict"]), limit=1).records
    rows = []
    for number in range(1, VERDICTS + 1):
        concluded = verdict(name, number)
        decision = decide(concluded, flights.declaration.retrain)
        told = {"reasons": decision.reasons, **evidence_of(concluded, one)}
        moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        rows.append(
            [decision.decision_id, name, decision.partition, moment, decision.action,
             decision.cause, decision.severity, "benchmark", decision.why, json.dumps(told)]
        )  # fmt: skip
    frame = pl.DataFrame(rows, schema=records.schema, orient="row")
    for piece in frame.head(VERDICTS - ONE_BY_ONE).iter_slices(1000):
        ids = [Transaction(key, 1) for key in piece["decision_id"]]
        write_deltalake(
            records._open() or records._create(),
            piece,
            mode="append",
            commit_properties=CommitProperties(app_transactions=ids),
        )
    for row in frame.tail(ONE_BY_ONE).iter_rows(named=True):
        records.append(row)


Graph = tuple[Product, list[dg.AssetKey]]


def timed_tick(
    instance: dg.DagsterInstance,
    log: DecisionLog,
    notifier: Notifier,
    graph: Graph,
    cursor: str | None,
) -> tuple[float, dg.SensorResult]:
    resources = {"decisions": log, "notifier": notifier}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        started = time.perf_counter()
        result = tick(context, *graph)
        return time.perf_counter() - started, result


def main() -> int:
    warnings.filterwarnings("ignore")
    logging.disable(logging.INFO)
    flights = hourly()
    graph = flights, learning_keys([bind(flights, stage) for stage in stages_of(flights)])
    with world() as (instance, log, notifier):
        lay_down_verdicts(instance, flights.name)
        lay_down_decisions(instance, log, flights)
        seconds: dict[str, list[float]] = {"reset": [], "new": [], "idle": []}
        cursor: str | None = None
        while True:  # from a lost cursor through the whole history
            spent, result = timed_tick(instance, log, notifier, graph, cursor)
            if result.cursor is None:
                break
            cursor = result.cursor
            seconds["reset"].append(spent)
        decided = log.history(flights.name).height
        assert decided == VERDICTS, f"{decided} decisions on {VERDICTS} verdicts"
        for number in range(TICKS):
            conclude(instance, flights.name, VERDICTS + 1 + number)
            spent, result = timed_tick(instance, log, notifier, graph, cursor)
            cursor = result.cursor
            seconds["new"].append(spent)
            spent, _ = timed_tick(instance, log, notifier, graph, cursor)
            seconds["idle"].append(spent)
        for number in range(TICKS, TICKS + MOST_NEW):
            conclude(instance, flights.name, VERDICTS + 1 + number)
        full, _ = timed_tick(instance, log, notifier, graph, cursor)
        assert log.history(flights.name).height == VERDICTS + TICKS + MOST_NEW
    slowest = max(seconds["reset"])
    return report(
        [
            _figure("with one new verdict", median(seconds["new"])),
            _figure(f"with {MOST_NEW} new verdicts, the most that it takes", full),
            _figure("with nothing new", median(seconds["idle"])),
            _figure(
                f"after its cursor is lost, {len(seconds['reset'])} ticks, the slowest", slowest
            ),
        ]
    )


def _figure(words: str, seconds: float) -> Figure:
    name = f"sensor tick with {VERDICTS:,} verdicts in history, {words}"
    return Figure(name, f"{seconds:.3f} s", "", None, f"< {GOAL:g} s", seconds < GOAL)


if __name__ == "__main__":
    sys.exit(main())
