"""Rules of the retraining sensor: how often, how many, how old, at what cost."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from retraining_loops import CALM, DRIFT, Loop
from small_product import APRIL, FEBRUARY, JANUARY, MARCH

from ai_assets.automation import retraining
from ai_assets.lifecycle.rollout.decide import Step


def test_the_cooldown_counts_partitions_since_the_last_retraining(
    declared: Callable[..., Loop],
) -> None:
    loop = declared(retrain={"cooldown": 2})
    for partition in (FEBRUARY, MARCH, APRIL):
        loop.conclude(replace(DRIFT, partition=partition))

    loop.tick()

    assert [action for _, action, _ in loop.decided()] == ["retrain", "wait", "retrain"]


def test_no_more_than_most_retrainings(declared: Callable[..., Loop]) -> None:
    loop = declared(retrain={"most": 1, "within": 3, "cooldown": 0})
    for partition in (JANUARY, FEBRUARY, MARCH, APRIL):
        loop.conclude(replace(DRIFT, partition=partition))

    loop.tick()

    assert [action for _, action, _ in loop.decided()] == ["retrain", "wait", "wait", "retrain"]


def test_the_calendar_retrains_a_bundle_that_has_grown_old(declared: Callable[..., Loop]) -> None:
    loop = declared(retrain={"every": 2})
    for partition in (MARCH, APRIL):
        loop.conclude(replace(CALM, partition=partition))

    loop.tick()

    assert loop.decided() == [(MARCH, "wait", "none"), (APRIL, "retrain", "schedule")]


def test_costs_come_from_what_the_graph_reported(declared: Callable[..., Loop]) -> None:
    loop = declared(retrain={"cost": {"per_nat": 1.0, "per_hour": 1.0}})
    loop.materialize("performance", MARCH, **{"estimated/log_loss": 0.4, "realised/log_loss": 0.5})
    loop.materialize("evaluation", FEBRUARY, log_loss=0.3)
    loop.materialize("predictions", MARCH, **{"dagster/row_count": 600})
    loop.conclude(DRIFT)

    loop.tick()

    row = loop.decisions.history("late_orders").row(0, named=True)
    cost = json.loads(row["evidence"])["reasons"][-1]
    assert cost["expected_loss"] == pytest.approx(0.2)
    assert (cost["rows"], cost["training_seconds"]) == (600, None)
    assert cost["words"] == "One side of the bargain is not known yet."


def test_without_partitions_each_verdict_counts_as_one(declared: Callable[..., Loop]) -> None:
    loop = declared(partitions=None, retrain={"cooldown": 2})
    for number in range(4):
        loop.conclude(replace(DRIFT, partition=None, severity=0.6 + number / 100))

    loop.tick()

    assert [action for _, action, _ in loop.decided()] == ["retrain", "wait", "retrain", "wait"]


def test_what_a_canary_decided_is_no_verdict_that_cools_down(declared: Callable[..., Loop]) -> None:
    loop = declared(partitions=None, retrain={"cooldown": 2})
    loop.conclude(replace(DRIFT, partition=None))
    loop.tick()
    for name in ("c1", "c2"):
        step = Step(name, "late_orders", "widen", 0.5, "limits kept", "All limits kept.")
        loop.decisions.record(step, {}, who="canary sensor", recorded_at=datetime.now(UTC))
    loop.conclude(replace(DRIFT, partition=None, severity=0.9))

    loop.tick()

    assert [action for _, action, _ in loop.decided()] == ["retrain", "widen", "widen", "wait"]


def test_a_bundle_older_than_is_looked_back_is_old(
    declared: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "MOST_BACK", 1)
    loop = declared(retrain={"every": 1})
    loop.conclude(replace(CALM, partition=APRIL))  # two months after the bundle's own

    loop.tick()

    assert loop.decided() == [(APRIL, "retrain", "schedule")]
