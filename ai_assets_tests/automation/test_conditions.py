"""What each tick of the automation asks for, on the small product's graph."""

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from small_product import APRIL, FEBRUARY, JANUARY, MARCH, World

from ai_assets.automation import condition
from ai_assets.stages.binding import bind

RAW = ("raw/orders", "raw/visits")
LOG = ("served", "feedback")
CARRIED = {
    "cleaned/orders",
    "cleaned/visits",
    "rejected/orders",
    "rejected/visits",
    "labels",
    "features",
    "predictions",
    "drift",
    "drift_report",
    "performance",
    "verdict",
}
STATIC = ("raw/shops", "cleaned/shops", "rejected/shops")
ONLINE = ("online/orders", "online/visits")
LEARNED = (
    "training_set", "tuning", "model/linear", "model", "compressed_model", "evaluation",
    "model_card", "bundle", "gate",
)  # fmt: skip


class Graph:
    """The small product's assets under their conditions, and an instance that is told of events."""

    def __init__(self, world: World) -> None:
        self.world, self.instance, self.cursor = world, world.instance, None
        assets = [
            bind(world.product, stage, condition(world.product, stage))
            for stage in world.stages.values()
        ]
        self.defs = dg.Definitions(assets=assets, resources=vars(world.tools))

    def made(self, asset: str, partition: str | None = None, fails: str | None = None) -> None:
        """Tell of a materialization and its checks, of which one may fail."""
        stage = self.world.stages[asset]
        partition = partition if stage.partitioned else None
        key = self.world.key(asset)
        run_id = str(uuid.uuid4())
        made = dg.AssetMaterialization(key, partition=partition)
        self._tell(run_id, DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(made))
        (record,) = self.instance.fetch_materializations(key, limit=1).records
        target = AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=run_id, timestamp=record.timestamp
        )
        for guard in stage.guards:
            found = dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=guard.name,
                passed=guard.name != fails,
                metadata={},
                blocking=guard.blocking,
                partition=partition,
                target_materialization_data=target,
            )
            self._tell(run_id, DagsterEventType.ASSET_CHECK_EVALUATION, found)

    def asked_and_settled(self, at: str) -> None:
        """Two ticks: what is asked for in one counts as handled until the next is over."""
        self.tick(at=at)
        self.tick(at=at)

    def _tell(self, run_id: str, kind: DagsterEventType, what: Any) -> None:
        event = DagsterEvent(kind.value, job_name="told", event_specific_data=what)
        self.instance.report_dagster_event(event, run_id=run_id)

    def tick(self, at: str | None = None) -> dict[str, set[str | None]]:
        """What is asked for: partitions by asset."""
        result = dg.evaluate_automation_conditions(
            self.defs,
            instance=self.instance,
            cursor=self.cursor,
            evaluation_time=datetime.fromisoformat(at) if at else None,
        )
        self.cursor = result.cursor
        asked: dict[str, set[str | None]] = {}
        for asset in self.world.stages:
            stage = self.world.stages[asset]
            if stage.partitioned and self.world.product.partitions:
                found = result.get_requested_partitions(self.world.key(asset))
            else:
                found = {None} if result.get_num_requested(self.world.key(asset)) else set()
            if found:
                asked[asset] = set(found)
        return asked


def with_history(world: World, months: tuple[str, ...] = (JANUARY, FEBRUARY, MARCH)) -> Graph:
    """Everything is made for these months; the model as of February, released."""
    graph = Graph(world)
    for asset in STATIC:
        graph.made(asset)
    for month in months:
        for asset in (*RAW, *(name for name in world.stages if name in CARRIED)):
            graph.made(asset, month)
    for asset in LEARNED:
        graph.made(asset, FEBRUARY)
    for asset in (*ONLINE, "release"):
        graph.made(asset)
    return graph


@pytest.fixture
def graph(small_folder: Path, tmp_path: Path) -> Graph:
    return with_history(World.of(small_folder, tmp_path / "home"))


@pytest.fixture
def started(graph: Graph) -> Graph:
    """The automation has looked at the history once."""
    graph.tick(at="2024-04-10T00:00:00+00:00")
    return graph


# April has not ended, so no new partition is due; later it has.
NOW, LATER = "2024-04-10T00:10:00+00:00", "2024-05-10T00:00:00+00:00"


def test_nothing_is_asked_for_when_a_whole_history_is_first_seen(graph: Graph) -> None:
    assert graph.tick(at="2024-04-10T00:00:00+00:00") == {}
    assert graph.tick(at="2024-04-10T00:01:00+00:00") == {}


def test_only_what_follows_data_has_a_condition(graph: Graph) -> None:
    found = {
        name
        for name, stage in graph.world.stages.items()
        if condition(graph.world.product, stage) is not None
    }

    log = {*LOG, "served_drift"}
    watched = {"rejected/shops", "cleaned/shops", *CARRIED, *RAW, *log, *ONLINE}
    assert found - {"operations"} == watched
    assert not {*LEARNED, "release", "raw/shops", "backtest"} & found


def test_a_partition_that_has_just_ended_is_read_from_the_source(started: Graph) -> None:
    assert started.tick(at="2024-04-30T23:59:00+00:00") == {}

    asked = started.tick(at="2024-05-01T00:01:00+00:00")

    assert asked["raw/orders"] == asked["raw/visits"] == {APRIL}
    assert asked["served"] == asked["feedback"] == {APRIL}


def test_a_new_raw_partition_is_carried_on_to_the_verdict_in_one_tick(started: Graph) -> None:
    for asset in RAW:
        started.made(asset, APRIL)

    asked = started.tick(at=LATER)

    assert {asset: asked.get(asset) for asset in CARRIED} == {asset: {APRIL} for asset in CARRIED}
    assert not set(asked) & {*LEARNED, "release", *RAW}
    assert started.tick(at=LATER) == {}


def test_half_of_the_new_data_is_not_carried_past_what_needs_the_other_half(
    started: Graph,
) -> None:
    started.asked_and_settled(LATER)
    started.made("raw/orders", APRIL)

    asked = started.tick(at=LATER)

    assert asked["cleaned/orders"] == asked["labels"] == {APRIL}
    assert not {"features", "predictions", "verdict", "cleaned/visits"} & set(asked)


def test_a_month_made_anew_is_followed_whatever_month_it_is(started: Graph) -> None:
    started.made("raw/orders", FEBRUARY)

    asked = started.tick(at=NOW)

    assert asked["cleaned/orders"] == {FEBRUARY}
    assert FEBRUARY in asked["verdict"]
    assert JANUARY not in asked["verdict"]


def test_a_blocking_check_that_failed_stops_what_follows_in_the_next_tick(
    started: Graph,
) -> None:
    started.asked_and_settled(LATER)
    for asset in (*RAW, "cleaned/visits", "rejected/visits"):
        started.made(asset, APRIL)
    started.made("cleaned/orders", APRIL, fails="every_row_accounted_for")

    asked = started.tick(at=LATER)

    assert not {"labels", "features", "predictions", "verdict", "online/orders"} & set(asked)
    assert asked["online/visits"] == {None}

    started.made("cleaned/orders", APRIL)
    asked = started.tick(at=LATER)
    assert asked["labels"] == asked["features"] == asked["verdict"] == {APRIL}
    assert asked["online/orders"] == {None}


def test_a_check_that_does_not_block_stops_nothing(started: Graph) -> None:
    started.made("drift", MARCH, fails="inputs_as_learned")

    assert started.tick(at=NOW)["verdict"] == {MARCH}


def test_a_release_does_not_ask_for_predictions_anew(started: Graph) -> None:
    started.made("release")

    assert started.tick(at=NOW) == {}


def test_what_a_server_was_asked_is_measured_and_nothing_else_waits_for_it(
    started: Graph,
) -> None:
    started.made("served", MARCH)

    assert started.tick(at=NOW) == {"served_drift": {MARCH}}
    assert started.tick(at=NOW) == {}


def test_outcomes_that_callers_told_start_nothing_and_nothing_waits_for_them(
    started: Graph,
) -> None:
    started.made("feedback", MARCH)
    assert started.tick(at=NOW) == {}

    # A person takes them into the labels; what is judged by labels follows.
    started.made("labels", MARCH)
    assert started.tick(at=NOW) == {"performance": {MARCH}, "verdict": {MARCH}}


def test_without_answers_in_the_lake_their_drift_is_not_asked_for(started: Graph) -> None:
    for asset in (*RAW, "feedback"):
        started.made(asset, MARCH)

    assert "served_drift" not in started.tick(at=NOW)


def test_a_challenger_asks_for_nothing(started: Graph) -> None:
    for asset in LEARNED:
        started.made(asset, MARCH)

    assert started.tick(at=NOW) == {}


def test_before_the_first_release_data_is_carried_on_all_the_same(
    small_folder: Path, tmp_path: Path
) -> None:
    graph = Graph(World.of(small_folder, tmp_path / "home"))
    for asset in STATIC:
        graph.made(asset)
    graph.tick(at="2024-01-10T00:00:00+00:00")
    for asset in RAW:
        graph.made(asset, JANUARY)

    asked = graph.tick(at="2024-02-02T00:00:00+00:00")

    assert asked["predictions"] == asked["verdict"] == {JANUARY}


def test_online_tables_follow_new_rows_though_earlier_months_are_missing(
    small_folder: Path, tmp_path: Path
) -> None:
    graph = with_history(World.of(small_folder, tmp_path / "home"), (MARCH,))
    graph.tick(at="2024-04-10T00:00:00+00:00")
    graph.made("cleaned/visits", APRIL)

    asked = graph.tick(at=LATER)

    assert asked["online/visits"] == {None}
    assert "online/orders" not in asked
    graph.made("online/visits")
    assert "online/visits" not in graph.tick(at=LATER)


def test_online_tables_do_not_take_rows_whose_check_failed(started: Graph) -> None:
    started.made("cleaned/visits", APRIL, fails="every_row_accounted_for")
    assert "online/visits" not in started.tick(at=LATER)
    assert "online/visits" not in started.tick(at=LATER)

    # A month before it is made anew; the table would take the broken rows all the same.
    started.made("cleaned/visits", MARCH)
    assert "online/visits" not in started.tick(at=LATER)

    started.made("cleaned/visits", APRIL)
    assert started.tick(at=LATER)["online/visits"] == {None}
    assert "online/visits" not in started.tick(at=LATER)


def test_an_old_failure_does_not_keep_newer_rows_from_the_server(started: Graph) -> None:
    started.made("cleaned/visits", JANUARY, fails="every_row_accounted_for")
    started.asked_and_settled(LATER)
    started.made("online/visits")
    started.asked_and_settled(LATER)
    started.made("cleaned/visits", APRIL)

    assert started.tick(at=LATER)["online/visits"] == {None}
