"""A release that names a partition: which bundle it finds, and what it says where there is none."""

from datetime import UTC, datetime
from typing import Any

import pytest
from challengers import STEEP, UNDER, of_release, release, tag
from small_product import APRIL, FEATURES, FEBRUARY, LEARNING, MARCH, World, failure

from ai_assets.lifecycle.errors import DataError
from ai_assets.stages.releasable import scored_until
from ai_assets.stages.release_config import ReleaseConfig


def refused(world: World, **config: Any) -> str:
    return failure(world.run("release", config=of_release(config), raises=False))


def test_a_month_names_its_bundle_back_and_forward(challenged: World) -> None:
    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)
    release(challenged, **UNDER)

    back = release(challenged, None, partition="2024-02", who="ada", why="too slow")
    assert (back["stable"], back["outcome"]) == (old, f"{old} is in production.")
    # March was released before; that its gate is of the same bundle makes no difference.
    forward = release(challenged, None, partition=MARCH, who="ada", why="quick now")
    assert forward["stable"] == new
    assert release(challenged, None, partition=MARCH)["releases"] == 4

    history = challenged.tools.ledger.history("late_orders")
    assert history["stable"].to_list() == [old, new, old, new]
    assert history["why"].to_list()[2:] == ["too slow", "quick now"]


def test_a_month_without_a_bundle_is_refused_with_those_that_have_one(challenged: World) -> None:
    for asked in ("2024-01", "2024-04-01", "February"):
        words = refused(challenged, partition=asked)
        assert f"partition must be one of '{FEBRUARY}', '{MARCH}', but got '{asked}'." in words
    assert "Did you mean '2024-03-01'?" in refused(challenged, partition="2024-03-0")
    assert challenged.tools.ledger.history("late_orders").height == 1


def test_of_a_month_what_did_not_pass_is_left_out_unless_overridden(challenged: World) -> None:
    world = challenged.declared(gate__champion=STEEP)
    world.run("gate", partition=MARCH)

    words = refused(world, partition="2024-03")
    assert f"partition must be one of '{FEBRUARY}', but got '2024-03'." in words
    assert "Its bundle did not pass its gate; override_gate releases it." in words

    told = release(world, None, partition="2024-03", override_gate=True, who="ada", why="so")
    assert told["stable"] == tag(world, MARCH)


def test_of_a_months_bundles_the_newest_that_passed_is_taken(challenged: World) -> None:
    passed = tag(challenged, MARCH)
    release(challenged, **UNDER)
    (challenged.product.folder / "features.sql").write_text(
        FEATURES.replace("v.load\n", "v.load * 2 AS load\n"), encoding="utf-8"
    )
    strict = {"roc_auc": 0.99}
    world = World.of(challenged.product.folder, challenged.home).declared(gate__min=strict)
    world.run("features", partition=FEBRUARY, last=MARCH)
    assert "within_limits" in failure(world.run(*LEARNING, partition=MARCH, raises=False))
    newer = tag(world, MARCH)
    release(world, None, partition=FEBRUARY)

    assert newer != passed
    assert release(world, None, partition=MARCH)["stable"] == passed
    assert release(world, None, partition=MARCH, override_gate=True)["stable"] == newer


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"bundle": "p:1"}, "partition must be left out where bundle is set, but got '2024-02'"),
        ({"split": 0.1}, "partition releases at once, so it must stand without split"),
    ],
)
def test_a_partition_stands_alone(config: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        ReleaseConfig(partition="2024-02", **config).of_a_trial()


def test_what_is_named_is_told_apart_from_what_is_not() -> None:
    assert not ReleaseConfig().names_one()
    assert ReleaseConfig(partition="2024-02").names_one()
    assert ReleaseConfig(bundle="p:1").names_one()
    assert ReleaseConfig(partition="2024-02").of_a_trial() is False


def test_a_partition_without_a_scored_row_does_not_delay_a_release(challenged: World) -> None:
    name, lake = challenged.product.asset("predictions"), challenged.tools.lake
    run = challenged.step("release")
    before = scored_until(run)
    rows = lake.scan(name, [MARCH]).collect()
    assert rows.height and before == datetime(2024, 4, 1, tzinfo=UTC)

    lake.replace(name, rows.clear(), APRIL)
    assert scored_until(run) == before
    lake.replace(name, rows.head(1), APRIL)
    assert scored_until(run) == datetime(2024, 5, 1, tzinfo=UTC)
    for month in lake.partitions(name):
        lake.replace(name, rows.clear(), month)
    assert scored_until(run) == datetime(1970, 1, 1, tzinfo=UTC)
