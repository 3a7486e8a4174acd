"""A whole product that fits a test: its sources, its declaration, and a world to run it in."""

import copy
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import yaml

from ai_assets.lifecycle.naming import AssetName
from ai_assets.lifecycle.product import Product, read_product
from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.cores import Cores
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.resources.notify import Notifier
from ai_assets.resources.signer import Signer
from ai_assets.resources.tracking import ExperimentTracker
from ai_assets.stages import stages_of
from ai_assets.stages.binding import DECISION_TAG, Stage, StageRun, Tools, bind

NAME = "late_orders"
MONTHS = ("2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01")
JANUARY, FEBRUARY, MARCH, APRIL = MONTHS
GOOD_ROWS = 600
RAW_ROWS = GOOD_ROWS + 2  # one that breaks the contract, one that is there twice
SHOPS = ("east", "north", "south")
LEARNING = (
    "training_set", "tuning", "model/linear", "model", "compressed_model", "evaluation",
    "model_card", "bundle", "gate",
)  # fmt: skip

FEATURES = """\
SELECT r._row_id, r.shop, r.weight, s.area, v.load
FROM request AS r
LEFT JOIN shops AS s ON s.shop = r.shop
ASOF LEFT JOIN visits AS v ON v.shop = r.shop AND v.known_at <= r.prediction_time
"""
DECLARATION: dict[str, Any] = {
    "description": "Will this order be late?",
    "owners": ["team:orders"],
    "partitions": {"every": "month", "start": "2024-01-01", "end": "2024-05-01"},
    "request": "orders",
    "tables": {
        "orders": {
            "source": {"csv": "orders/{start:%Y-%m}.csv"},
            "key": ["number"],
            "time": "placed",
            "columns": {
                "number": {"type": "int64"},
                "placed": {"type": "datetime"},
                "shop": {"type": "string", "example": "north"},
                "weight": {
                    "type": "float64",
                    "min": 0,
                    "max": 10,
                    "description": "How heavy the parcel is",
                },
                "delay": {"type": "int64", "known_at": "placed + to_minutes(delay + 60)"},
            },
        },
        "visits": {
            "source": {"csv": "visits/*.csv"},
            "key": ["shop", "placed"],
            "time": "placed",
            "columns": {
                "shop": {"type": "string"},
                "placed": {"type": "datetime"},
                "load": {"type": "float64"},
            },
        },
        "shops": {
            "source": {"csv": "shops.csv"},
            "key": ["shop"],
            "columns": {"shop": {"type": "string"}, "area": {"type": "int64"}},
        },
    },
    "horizon": "1 hour",
    "lookback": "2 days",
    "label": {"sql": "delay >= 15", "arrives_after": "1 day", "positive": "late"},
    "training": {
        "window": 2,
        "families": ["linear"],
        "tune": {"trials": 1, "folds": 1},
        "threads": 1,
    },
    "slices": ["shop"],
    "compression": {"methods": ["int8_dynamic"]},
    "gate": {"min": {"roc_auc": 0.6}},
}


def write_product(folder: Path, **changes: Any) -> Path:
    """Write declaration, query and sources; `changes` replace parts, as `label__sql="…"`."""
    declaration = copy.deepcopy(DECLARATION)
    for path, value in changes.items():
        *sections, last = path.split("__")
        part = declaration
        for section in sections:
            part = part[section]
        if value is None:
            del part[last]
        else:
            part[last] = value
    folder.mkdir(parents=True, exist_ok=True)
    content = {"type": "ai_assets.components.TabularProduct", "attributes": declaration}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "defs.yaml").write_text(text, encoding="utf-8")
    (folder / "features.sql").write_text(FEATURES, encoding="utf-8")
    for number, month in enumerate(MONTHS):
        write_month(folder, month, seed=number)
    shops = pl.DataFrame({"shop": SHOPS, "area": [120, 300, 80]})
    shops.write_csv(folder / "shops.csv")
    return folder


def write_month(folder: Path, month: str, seed: int) -> None:
    """Write one month's orders and visits; heavy orders and full shops are late."""
    start = datetime.fromisoformat(month).replace(tzinfo=UTC)
    numbers = np.random.default_rng(seed)
    hours = [start + timedelta(hours=6 * i) for i in range(4 * 28)]
    visits = pl.DataFrame(
        {
            "shop": [shop for _ in hours for shop in SHOPS],
            "placed": [at.isoformat() for at in hours for _ in SHOPS],
            "load": numbers.uniform(0, 1, len(hours) * len(SHOPS)).round(3),
        }
    )
    weight = numbers.uniform(0, 10, GOOD_ROWS).round(2)
    delay = np.round(4 * weight + numbers.normal(0, 8, GOOD_ROWS) - 5).astype(int)
    moments = [start + timedelta(days=28) * i / GOOD_ROWS for i in range(GOOD_ROWS)]
    orders = pl.DataFrame(
        {
            "number": [str(1 + i + seed * 10_000) for i in range(GOOD_ROWS)],
            "placed": [at.isoformat() for at in moments],
            "shop": numbers.choice(SHOPS, GOOD_ROWS),
            "weight": [str(w) for w in weight],
            "delay": [str(d) for d in delay],
        }
    )
    twice = orders.head(1)
    broken = orders.tail(1).with_columns(number=pl.lit("999999"), weight=pl.lit("heavy"))
    for name, rows in {"orders": pl.concat([orders, twice, broken]), "visits": visits}.items():
        (folder / name).mkdir(exist_ok=True)
        rows.write_csv(folder / name / f"{month[:7]}.csv")


@dataclass
class World:
    """A product with a lake, a tracker, a bundle store and a Dagster instance of its own."""

    product: Product
    home: Path
    instance: dg.DagsterInstance
    runs: dict[str, dg.ExecuteInProcessResult] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, home: Path) -> "World":
        return cls(read_product(folder), home, dg.DagsterInstance.ephemeral())

    def declared(self, **changes: Any) -> "World":
        """The same world under another declaration, `changes` as in `write_product`."""
        return World(
            read_product(write_product(self.product.folder, **changes)), self.home, self.instance
        )

    @cached_property
    def tools(self) -> Tools:
        lake = Lake(root=str(self.home / "lake"))
        return Tools(
            lake,
            ExperimentTracker(
                tracking_uri=f"sqlite:///{self.home / 'mlflow.db'}",
                artifact_root=str(self.home / "mlflow"),
            ),
            BundleStore(home=str(self.home / "bundles")),
            Signer(key_path=str(self.home / "keys" / "key.pem")),
            ReleaseLedger(lake=lake),
            DecisionLog(lake=lake),
            Notifier(
                console=False,
                file=str(self.home / "alerts.jsonl"),
                outbox_path=str(self.home / "outbox.db"),
            ),
            Cores(folder=str(self.home / "cores")),
        )

    @cached_property
    def stages(self) -> dict[str, Stage]:
        return {stage.asset: stage for stage in stages_of(self.product)}

    @cached_property
    def assets(self) -> list[dg.AssetsDefinition]:
        return [bind(self.product, stage) for stage in self.stages.values()]

    def key(self, asset: str) -> dg.AssetKey:
        return dg.AssetKey(self.product.asset(asset).key)

    def run(
        self,
        *assets: str,
        partition: str | None = None,
        last: str | None = None,
        config: dict[str, Any] | None = None,
        raises: bool = True,
        decision: str = "",
    ) -> dg.ExecuteInProcessResult:
        """Materialize assets by name (all without names), for a partition or a range of them.

        Under a `decision` the run bears its id, as those do that the sensor starts.
        """
        span = {
            "dagster/asset_partition_range_start": partition,
            "dagster/asset_partition_range_end": last,
        }
        tags = (span if last else {}) | ({DECISION_TAG: decision} if decision else {})
        return dg.materialize(
            self.assets,
            selection=[self.key(asset) for asset in assets or self.stages],
            instance=self.instance,
            resources=vars(self.tools),
            partition_key=None if last else partition,
            tags=tags or None,
            run_config={"ops": config} if config else None,
            raise_on_error=raises,
        )

    def step(self, asset: str, partition: str | None = None) -> StageRun:
        """What a stage's function gets, to call it without Dagster."""
        return StageRun(self.product, partition, self.tools)

    def rows(self, asset: str, *partitions: str) -> pl.DataFrame:
        name = AssetName(self.product.name, asset)
        return self.tools.lake.scan(name, list(partitions) or None).collect()

    def latest(self, asset: str, partition: str | None = None) -> dg.EventLogEntry:
        """The last materialization of an asset, of a partition."""
        found = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(self.key(asset), asset_partitions=[partition])
            if partition
            else self.key(asset),
            limit=1,
        )
        return found.records[0].event_log_entry

    def metadata(self, asset: str, partition: str | None = None) -> dict[str, Any]:
        event = self.latest(asset, partition).asset_materialization
        assert event is not None
        return {name: value.value for name, value in event.metadata.items()}

    def version(self, asset: str, partition: str | None = None) -> str:
        """The data version that an asset's last materialization reported."""
        event = self.latest(asset, partition).asset_materialization
        assert event is not None and event.tags is not None
        return event.tags["dagster/data_version"]


def findings(
    result: dg.ExecuteInProcessResult, name: str
) -> list[tuple[str | None, bool, str | None]]:
    """`(partition, passed, words)` of each evaluation of a check in a run, as they came."""
    events = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return [(e.partition, e.passed, e.description) for e in events if e.check_name == name]


def finding(result: dg.ExecuteInProcessResult, name: str) -> tuple[bool, str | None]:
    """Whether a check passed in a run, and its words."""
    (one,) = findings(result, name)
    return one[1:]


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The message of the step that failed in a run."""
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    error = failed.step_failure_data.error
    assert error is not None
    while error.cause is not None:
        error = error.cause
    return error.message.strip().partition(": ")[2]


def lived(folder: Path, home: Path, learning: tuple[str, ...] = LEARNING) -> World:
    """The small product from raw data to a release as of February, and the drift of March."""
    world = World.of(folder, home)
    data = ["raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders"]
    watch = ("predictions", "drift", "drift_report", "performance", "verdict")
    world.run("raw/shops", "cleaned/shops", "rejected/shops")
    world.runs["range"] = world.run(*data, "labels", "features", partition=JANUARY, last=MARCH)
    world.run("online/orders", "online/visits")
    world.runs["model"] = world.run(*learning, "release", partition=FEBRUARY)
    world.runs["watch"] = world.run(*watch, partition=MARCH)
    return world


def copy_of(world: World, folder: Path) -> World:
    """A materialized product of a test's own, sources included; its Dagster history is empty."""
    shutil.copytree(world.home, folder / "home")
    shutil.copytree(world.product.folder, folder / NAME)
    return World.of(folder / NAME, folder / "home")
