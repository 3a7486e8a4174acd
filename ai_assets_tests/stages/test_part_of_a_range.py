"""A range of partitions whose last cannot be made: the others are, and Dagster knows."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from small_product import FEBRUARY, JANUARY, MARCH, World, failure, write_product

from ai_assets.stages import labels

TABLES = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The small product with the tables of January and February."""
    made = World.of(write_product(tmp_path / "late_orders"), tmp_path / "home")
    made.run("raw/shops", "cleaned/shops")
    made.run(*TABLES, partition=JANUARY, last=FEBRUARY)
    return made


def status(world: World, partition: str) -> StaleStatus:
    graph = dg.Definitions(assets=world.assets, resources=vars(world.tools)).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(
        world.instance, graph, LoadingContextForTest(world.instance)
    )
    return resolver.get_status(world.key("features"), partition)


def made(world: World) -> set[str]:
    return set(world.instance.get_materialized_partitions(world.key("features")))


def version(world: World, partition: str) -> str:
    found = world.latest("features", partition).asset_materialization
    assert found is not None and found.tags is not None
    return found.tags["dagster/data_version"]


def passed(world: World, run_id: str, partition: str) -> set[str]:
    """The checks of the partition that the run passed."""
    evaluated = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    found = [
        entry.get_dagster_event().asset_check_evaluation_data
        for entry in world.instance.all_logs(run_id, of_type=evaluated)
    ]
    return {check.check_name for check in found if check.passed and check.partition == partition}


def test_the_partitions_before_are_made_and_told(world: World) -> None:
    """A backfill of two months by clicking asks for the features of the next, which look back."""
    result = world.run("features", partition=JANUARY, last=MARCH, raises=False)

    assert "late_orders/cleaned/orders are missing: 2024-03-01" in failure(result)
    assert made(world) == {JANUARY, FEBRUARY}
    assert world.rows("features", FEBRUARY).height == 600
    told = [version(world, month) for month in (JANUARY, FEBRUARY)]
    assert len(set(told)) == 2
    for month in (JANUARY, FEBRUARY):
        assert status(world, month) == StaleStatus.FRESH
        assert passed(world, result.run_id, month) == {
            "no_late_column_of_the_request",
            "nothing_known_too_early",
        }

    world.run("features", partition=JANUARY, last=FEBRUARY)
    assert [version(world, month) for month in (JANUARY, FEBRUARY)] == told


def test_where_the_first_cannot_be_made_none_is(world: World) -> None:
    result = world.run("features", partition=MARCH, last="2024-04-01", raises=False)

    assert "2024-03-01" in failure(result)
    assert made(world) == set()


def test_what_a_stage_did_partition_by_partition_is_told_up_to_the_one_that_failed(
    world: World,
) -> None:
    result = world.run("labels", partition=JANUARY, last=MARCH, raises=False)

    assert "2024-03-01" in failure(result)
    told = world.instance.get_materialized_partitions(world.key("labels"))
    assert set(told) == {JANUARY, FEBRUARY}


def test_without_a_version_of_its_own_a_partition_has_dagsters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of its code and inputs, as where the whole range is made."""
    compute = labels.compute_labels
    monkeypatch.setattr(
        labels, "compute_labels", lambda run: replace(compute(run), data_version=None)
    )

    def tags() -> dict[str, str]:
        found = world.latest("labels", FEBRUARY).asset_materialization
        assert found is not None and found.tags is not None
        return {name: value for name, value in found.tags.items() if "version" in name}

    assert not world.run("labels", partition=JANUARY, last=MARCH, raises=False).success
    part = tags()
    assert world.run("labels", partition=JANUARY, last=FEBRUARY).success

    assert len(part["dagster/data_version"]) == 64
    assert part == tags()
