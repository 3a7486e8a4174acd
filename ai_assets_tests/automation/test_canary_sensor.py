"""The sensor that lets a candidate go by itself, on a ledger and a log written by the recorder."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from canary_trials import A, B, Trial, skipped

from ai_assets.automation.canary import WHO
from ai_assets.automation.sensors import canary_sensor
from ai_assets.lifecycle.rollout.decide import decision_id
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.notify import Notifier
from ai_assets.serving.record.answers import LogError
from ai_assets.serving.record.sqlite import SqliteStore


def test_the_sensor_runs_by_itself_where_a_rollout_is_declared(made: Callable[..., Trial]) -> None:
    sensor = canary_sensor(made().world.product)
    direct = canary_sensor(made(mode="direct").world.product)

    assert sensor.name == "late_orders_canary"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert direct.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.required_resource_keys == {"decisions", "ledger", "notifier"}


def test_without_a_log_or_requests_it_waits_and_records_nothing(trial: Trial) -> None:
    words = "No request has come to the candidate; a step waits for 20."

    assert skipped(trial.tick()) == words
    trial.answer(500, bundle=A, role="stable")
    assert skipped(trial.tick(trial.baked + timedelta(days=1))) == words
    assert trial.decisions() == []


def test_it_waits_until_the_step_is_over_and_then_widens(trial: Trial) -> None:
    trial.answer(40)
    trial.answer(400, bundle=A, role="stable")

    early = trial.tick(trial.baked - timedelta(minutes=1))
    assert skipped(early) == "The step has lasted 9 minutes of 10 minutes."
    assert trial.decisions() == []
    asked = trial.asked()

    assert (asked["split"], asked["who"], asked["expects"]) == (0.5, WHO, trial.entry.release_id)
    assert asked["why"].startswith("40 requests, and all 4 limits kept.")
    assert trial.decisions() == [("widen", "limits kept")]
    found = trial.world.tools.decisions.find("late_orders", asked["decision"])
    assert found["evidence"]["observed"]["candidate"]["requests"] == 40
    assert found["evidence"]["trial"]["release_id"] == trial.entry.release_id
    assert trial.alerts() == []


def test_the_last_step_promotes_and_people_hear_of_it(trial: Trial) -> None:
    trial.release(split=0.5, decision_id="d2", recorded_at=trial.began + timedelta(microseconds=9))
    trial.answer(40)

    asked = trial.asked()

    assert asked["end"] == "promote" and "split" not in asked
    (alert,) = trial.alerts()
    assert (alert.kind, alert.severity) == ("rollout", "info")
    assert alert.title == f"late_orders: {B} is to be promoted"


def test_errors_take_the_candidate_back_at_once_and_people_are_told(trial: Trial) -> None:
    trial.answer(20)
    trial.answer(10, status=500)
    trial.answer(400, bundle=A, role="stable")

    asked = trial.asked(trial.began + timedelta(seconds=9))

    assert asked["end"] == "drop"
    assert asked["why"].startswith("10 of 30 requests to the candidate failed (33.33%")
    assert trial.decisions() == [("roll_back", "error_rate")]
    (alert,) = trial.alerts()
    assert (alert.kind, alert.severity) == ("rollback", "error")
    assert alert.words.endswith("may).") and "10% of the traffic (canary)" in alert.words


def test_slow_answers_take_the_candidate_back(trial: Trial) -> None:
    trial.answer(30, seconds=0.2)

    assert trial.asked(trial.began)["end"] == "drop"
    assert trial.decisions() == [("roll_back", "latency_p99_ms")]


def test_a_candidate_that_fails_is_taken_back_before_any_row_is_read(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise LogError("The log cannot be read now.")

    monkeypatch.setattr(SqliteStore, "newest_answers", broken)
    trial.answer(10)
    with pytest.raises(LogError):
        trial.tick(trial.began)
    assert trial.decisions() == [] and trial.alerts() == []

    trial.answer(20, status=500)
    assert trial.asked(trial.began)["end"] == "drop"
    found = trial.world.tools.decisions.find("late_orders", decision_id(trial.step()))
    assert [reason["rule"] for reason in found["evidence"]["reasons"]] == [
        "error_rate", "error_rate_above_stable", "latency_p99_ms",
    ]  # fmt: skip


def test_what_was_counted_before_the_step_says_nothing_of_it(trial: Trial) -> None:
    trial.answer(100, status=500)
    later = datetime.now(UTC)
    trial.release(split=0.5, decision_id="d2", recorded_at=later)

    assert skipped(trial.tick(later + timedelta(minutes=10))).startswith("No request has come")


def test_an_entry_is_decided_on_once_whatever_is_lost_in_between(trial: Trial) -> None:
    trial.answer(40)
    first = trial.tick().run_requests[0]
    trial.answer(40, status=500)

    again = trial.tick().run_requests[0]

    assert (again.run_key, again.run_config) == (first.run_key, first.run_config)
    assert trial.decisions() == [("widen", "limits kept")]
    trial.world.instance.wipe()
    assert trial.tick().run_requests[0].run_key == first.run_key


def test_a_run_that_failed_is_started_again_a_few_times(trial: Trial) -> None:
    trial.answer(40)
    request = trial.tick().run_requests[0]

    def ended(status: dg.DagsterRunStatus) -> None:
        run = dg.DagsterRun("release", str(uuid4()), tags=request.tags, status=status)
        trial.world.instance.add_run(run)

    ended(dg.DagsterRunStatus.FAILURE)
    assert trial.tick().run_requests[0].run_key == f"{request.run_key}/1"
    ended(dg.DagsterRunStatus.STARTED)
    assert skipped(trial.tick()).startswith("A run carries out: 40 requests")


def test_what_three_runs_have_not_carried_out_is_for_people_who_are_told_once(
    trial: Trial,
) -> None:
    trial.answer(20)
    trial.answer(10, status=500)
    request = trial.tick(trial.began).run_requests[0]
    for count in range(3):
        assert (
            trial.tick(trial.began).run_requests[0].run_key.endswith(f"/{count}" if count else "")
        )
        run = dg.DagsterRun(
            "release", str(uuid4()), tags=request.tags, status=dg.DagsterRunStatus.FAILURE
        )
        trial.world.instance.add_run(run)

    for _ in range(2):
        words = skipped(trial.tick(trial.began))
        assert words is not None
        assert words.startswith("3 runs have not carried it out, a person must: 10 of 30 requests")

    back, stuck = trial.alerts()
    assert (back.title, back.kind) == (f"late_orders: {B} is to be taken back", "rollback")
    assert (stuck.title, stuck.severity) == (
        "late_orders: roll back is not carried out",
        "error",
    )
    assert stuck.words.endswith(f"{B} still gets 10% of the traffic (canary).")


def test_people_hear_of_the_decision_that_is_recorded_and_of_no_other(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.release(split=0.5, decision_id="d2", recorded_at=trial.began + timedelta(microseconds=9))
    trial.answer(12, status=500)

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DecisionLog, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            trial.tick(trial.began)
    assert (trial.decisions(), trial.alerts()) == ([], [])
    trial.answer(2000)

    with monkeypatch.context() as patched:
        patched.setattr(Notifier, "notify", dies)
        with pytest.raises(KeyboardInterrupt):
            trial.tick()
    assert trial.decisions() == [("promote", "limits kept")]
    assert trial.asked()["end"] == "promote"
    assert [alert.title for alert in trial.alerts()] == [f"late_orders: {B} is to be promoted"]


@pytest.mark.parametrize("mode", ["shadow", "ab", "bandit"])
def test_other_modes_wait_for_a_person_but_are_taken_back(
    made: Callable[..., Trial], mode: str
) -> None:
    trial = made()
    role = "shadow" if mode == "shadow" else "candidate"
    trial.release(
        mode=mode,
        split=0.0 if mode == "shadow" else 0.1,
        decision_id="d2",
        recorded_at=trial.began + timedelta(microseconds=9),
    )
    trial.answer(40, role=role)

    kept = skipped(trial.tick())
    assert kept == f"No limit is broken; a person promotes or drops what is tried as {mode}."
    trial.answer(40, role=role, status=500)
    assert trial.asked()["end"] == "drop"


def test_without_a_candidate_there_is_nothing_to_do(trial: Trial) -> None:
    ended = {"candidate": None, "mode": "", "split": 0.0}
    trial.release(**ended, decision_id="d2", recorded_at=trial.began + timedelta(seconds=1))

    assert skipped(trial.tick()) == "No candidate is tried."
