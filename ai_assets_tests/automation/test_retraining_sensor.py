"""The sensor that reads verdicts: one decision and one run key each, whatever is lost between."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from retraining_loops import BROKEN, CALM, DRIFT, Loop, keys, skipped
from small_product import APRIL, MARCH, World

from ai_assets.automation import retraining
from ai_assets.automation.sensors import LEARNING, retraining_sensor
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.notify import Notifier


@pytest.fixture
def loop(small_folder: Path, tmp_path: Path) -> Loop:
    return Loop(World.of(small_folder, tmp_path / "home"), tmp_path)


def test_the_sensor_runs_by_itself_and_asks_for_what_it_uses(loop: Loop) -> None:
    sensor = retraining_sensor(loop.world.product, loop.world.assets)

    assert sensor.name == "late_orders_retraining"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.required_resource_keys == {"decisions", "notifier"}


def test_without_a_verdict_there_is_nothing_to_do(loop: Loop) -> None:
    result = loop.tick()

    assert (keys(result), skipped(result)) == ([], "No new verdict.")
    assert loop.decided() == []


def test_drift_starts_one_run_that_trains_judges_and_releases(loop: Loop) -> None:
    loop.conclude(DRIFT)

    (request,) = loop.tick().run_requests or []

    row = loop.decisions.history("late_orders").row(0, named=True)
    assert (row["partition"], row["action"], row["cause"], row["who"]) == (
        MARCH,
        "retrain",
        "covariate_drift",
        "retraining sensor",
    )
    why = "covariate_drift with severity 0.70 (from 0.5 on). weight has moved."
    assert row["why"] == why
    assert request.run_key == row["decision_id"]
    assert request.partition_key == MARCH
    assert request.run_config == {
        "ops": {
            "late_orders__release": {
                "config": {"who": "retraining sensor", "why": why, "decision": row["decision_id"]}
            }
        }
    }
    assert request.tags == {
        "ai_assets/decision": row["decision_id"],
        "ai_assets/does": "retrain",
        "ai_assets/cause": "covariate_drift",
        "dagster/max_retries": "1",
    }
    stages = loop.world.stages
    learning = {name for name, stage in stages.items() if stage.stage in LEARNING}
    assert {key.to_user_string() for key in request.asset_selection or []} == {
        f"late_orders/{name}" for name in learning
    }
    assert {"training_set", "model/linear", "gate", "release"} <= learning
    assert not {"predictions", "verdict", "features", "backtest"} & learning


def test_the_evidence_holds_the_verdict_and_where_it_came_from(loop: Loop) -> None:
    loop.conclude(DRIFT)
    loop.tick()

    row = loop.decisions.history("late_orders").row(0, named=True)
    evidence = json.loads(row["evidence"])

    assert evidence["verdict"] == json.loads(DRIFT.to_json())
    assert evidence["decided_on_partition"] == MARCH
    assert [rule["rule"] for rule in evidence["reasons"]] == [
        "cause",
        "cooldown",
        "budget",
        "cost",
    ]
    (record,) = loop.world.instance.fetch_materializations(loop.world.key("verdict"), 1).records
    assert evidence["materialization"] == record.storage_id


def test_calm_waits_and_says_so_to_nobody(loop: Loop) -> None:
    loop.conclude(CALM)

    result = loop.tick()

    assert (keys(result), loop.decided()) == ([], [(MARCH, "wait", "none")])
    assert skipped(result) == f"{MARCH}: wait. Nothing has changed."
    assert loop.alerts() == []


def test_broken_data_alerts_and_starts_nothing(loop: Loop) -> None:
    loop.conclude(BROKEN)

    result = loop.tick()

    assert (keys(result), loop.decided()) == ([], [(MARCH, "alert", "broken_data")])
    (alert,) = loop.alerts()
    assert (alert.kind, alert.severity, alert.partition) == ("broken_data", "error", MARCH)
    assert alert.title == "late_orders: data is broken"
    assert alert.words == "Broken data is not learned from: weight is missing."
    assert alert.evidence["cause"] == "broken_data"


def test_a_retraining_is_news(loop: Loop) -> None:
    loop.conclude(DRIFT)
    loop.tick()

    (alert,) = loop.alerts()
    assert (alert.kind, alert.severity) == ("retraining", "info")
    assert alert.title == "late_orders: retraining starts"


def test_a_verdict_is_acted_on_once(loop: Loop) -> None:
    loop.conclude(DRIFT)
    first = loop.tick()

    second = loop.tick()

    assert (len(keys(first)), keys(second)) == (1, [])
    assert skipped(second) == "No new verdict."


def test_after_a_lost_cursor_the_same_run_key_is_asked_for_and_nothing_is_decided(
    loop: Loop,
) -> None:
    loop.conclude(CALM)
    loop.conclude(replace(DRIFT, partition=APRIL))
    first = loop.tick()
    before = loop.decisions.history("late_orders")
    loop.cursor = None

    again = loop.tick()

    assert keys(again) == keys(first)
    assert [r.run_config for r in again.run_requests or []] == [
        r.run_config for r in first.run_requests or []
    ]
    assert loop.decisions.history("late_orders").equals(before)
    assert len(loop.alerts()) == 1


def test_the_daemon_dies_after_recording_and_before_its_cursor_is_kept(loop: Loop) -> None:
    loop.conclude(DRIFT)

    results = [loop.tick(keep_cursor=False) for _ in range(3)]

    assert len({key for result in results for key in keys(result)}) == 1
    assert len(loop.decided()) == 1
    assert len(loop.alerts()) == 1


def test_the_daemon_dies_before_recording_and_people_hear_of_it_once(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.conclude(BROKEN)

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DecisionLog, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            loop.tick()
    assert (loop.decided(), loop.alerts()) == ([], [])

    loop.tick()

    assert loop.decided() == [(MARCH, "alert", "broken_data")]
    assert len(loop.alerts()) == 1


def test_the_daemon_dies_after_recording_and_people_hear_of_it_once(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.conclude(BROKEN)

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Notifier, "notify", dies)
        with pytest.raises(KeyboardInterrupt):
            loop.tick()
    assert (len(loop.decided()), loop.alerts()) == (1, [])

    loop.tick(keep_cursor=False)
    loop.tick()

    assert len(loop.alerts()) == 1


def test_the_same_verdict_made_anew_is_no_second_decision(loop: Loop) -> None:
    loop.conclude(DRIFT)
    first = loop.tick()
    loop.conclude(DRIFT)

    again = loop.tick()

    # The run key has been asked for before, so Dagster starts no run for it.
    assert keys(again) == keys(first)
    assert len(loop.decided()) == 1
    assert len(loop.alerts()) == 1

    loop.conclude(replace(CALM, partition=APRIL))
    loop.tick()
    loop.conclude(replace(CALM, partition=APRIL))
    assert skipped(loop.tick()) == "1 verdicts had been decided on before."


def test_the_same_verdict_twice_in_one_tick_asks_for_one_run(loop: Loop) -> None:
    loop.conclude(DRIFT)
    loop.conclude(DRIFT)

    assert len(keys(loop.tick())) == 1


def test_another_verdict_on_the_same_partition_is_a_new_decision(
    declared: Callable[..., Loop],
) -> None:
    loop = declared(retrain={"cooldown": 0})
    loop.conclude(DRIFT)
    first = loop.tick()
    loop.conclude(replace(DRIFT, severity=0.9))

    second = loop.tick()

    assert len({*keys(first), *keys(second)}) == 2
    assert len(loop.decided()) == 2


@pytest.mark.parametrize("bundle", ["", None])
def test_a_verdict_on_nothing_is_not_decided_on(loop: Loop, bundle: str | None) -> None:
    loop.conclude(None if bundle is None else replace(CALM, bundle=bundle))

    result = loop.tick()

    assert (keys(result), loop.decided()) == ([], [])
    assert skipped(result) == "No verdict on a release."
    assert skipped(loop.tick()) == "No new verdict."


def test_a_tick_decides_on_so_many_new_verdicts_and_the_next_goes_on(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "MOST_NEW", 3)
    for number in range(5):
        loop.conclude(replace(CALM, words=f"Nothing, {number}."))

    loop.tick()
    assert len(loop.decided()) == 3
    loop.tick()

    assert len(loop.decided()) == 5
    assert skipped(loop.tick()) == "No new verdict."
