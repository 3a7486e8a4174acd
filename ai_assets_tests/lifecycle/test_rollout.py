"""A candidate beside the stable bundle: each way that a step can end, and what decides it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.rollout.decide import Step, Trial, decide, decision_id
from ai_assets.lifecycle.rollout.observed import (
    Arm,
    Observed,
    difference_between,
    share_between,
)
from ai_assets.lifecycle.rollout.spec import Limits, Rollout

BEGAN = datetime(2024, 5, 1, 12, tzinfo=UTC)
BAKED = BEGAN + timedelta(minutes=30)
TRIAL = Trial("late_orders", "r1", "p:a", "p:b", "canary", 0.05, BEGAN)
GOOD = Arm(answered=1000, failed=0, slow=0, p99_ms=8.0)
CANARY = Rollout(
    mode="canary",
    limits=Limits(latency_p99_ms=20, estimated_loss=0.05, realised_loss=0.05),
)


def judged(candidate: Arm = GOOD, stable: Arm = GOOD, now: datetime = BAKED, **rest) -> Step:
    return decide(CANARY, TRIAL, Observed(stable, candidate, **rest), now)


def answers(step: Step) -> dict[str, bool]:
    return {reason["rule"]: reason["allows"] for reason in step.reasons}


def test_a_step_that_kept_all_limits_widens_and_puts_every_rule_on_record() -> None:
    step = judged()

    assert (step.action, step.split) == ("widen", 0.25)
    assert step.why == (
        "1000 requests, and all 5 limits kept. The next step is 25% of the traffic."
    )
    assert answers(step) == dict.fromkeys(
        [
            "error_rate", "error_rate_above_stable", "latency_p99_ms", "estimated_loss",
            "realised_loss", "bake", "min_answers",
        ],
        True,
    )  # fmt: skip


def test_the_steps_follow_each_other_and_the_last_one_promotes() -> None:
    found = [
        decide(CANARY, replace(TRIAL, split=split), Observed(GOOD, GOOD), BAKED)
        for split in (0.05, 0.1, 0.25, 0.5, 0.9)
    ]

    assert [(step.action, step.split) for step in found] == [
        ("widen", 0.25), ("widen", 0.25), ("widen", 0.5), ("promote", 0.0), ("promote", 0.0),
    ]  # fmt: skip
    assert found[-1].why.endswith("It was the last step.")


def test_a_step_lasts_its_time_to_the_second() -> None:
    early = judged(now=BAKED - timedelta(seconds=1))

    assert (early.action, early.split) == ("wait", 0.05)
    assert early.why == "The step has lasted 29 minutes of 30 minutes."
    assert judged(now=BEGAN - timedelta(hours=1)).action == "wait"
    assert judged(now=BAKED).action == "widen"


def test_a_step_waits_for_requests_to_the_candidate_whatever_the_stable_one_gets() -> None:
    few = judged(Arm(answered=198, failed=1, p99_ms=8.0))
    none = judged(Arm(), now=BAKED + timedelta(days=9))

    assert (few.action, few.why) == ("wait", "The candidate had 199 of 200 requests.")
    assert (none.action, none.why) == (
        "wait",
        "No request has come to the candidate; a step waits for 200.",
    )
    assert judged(Arm(answered=199, failed=1, p99_ms=8.0)).action == "widen"


def test_errors_beyond_doubt_roll_back_at_once() -> None:
    soon = BEGAN + timedelta(seconds=20)

    step = judged(Arm(answered=30, failed=10, p99_ms=8.0), now=soon)

    assert (step.action, step.split) == ("roll_back", 0.0)
    assert step.why == "10 of 40 requests to the candidate failed (25.00%; at most 1.00% may)."
    assert step.reasons[0]["value"] == 0.25 and step.reasons[0]["limit"] == 0.01
    # A few errors may be chance, and nine requests say nothing at all.
    assert judged(Arm(answered=98, failed=2, p99_ms=8.0), now=soon).action == "wait"
    assert judged(Arm(answered=0, failed=9), now=soon).action == "wait"
    assert judged(Arm(answered=0, failed=10), now=soon).action == "roll_back"


def test_an_error_rate_at_its_limit_is_kept_and_above_it_is_not() -> None:
    same = Arm(answered=990, failed=10, p99_ms=8.0)

    assert judged(same, stable=same).action == "widen"
    step = judged(Arm(answered=989, failed=11, p99_ms=8.0), stable=same)
    assert step.action == "roll_back"
    assert "1.10%; at most 1.00%" in step.why


def test_errors_count_against_those_of_the_stable_bundle() -> None:
    step = judged(Arm(answered=992, failed=8, p99_ms=8.0))

    assert step.action == "roll_back"
    assert step.why == (
        "0.80% of requests to the candidate failed, 0.00% of those to the stable bundle "
        "(at most 0.50% more may)."
    )
    assert judged(Arm(answered=995, failed=5, p99_ms=8.0)).action == "widen"
    alone = judged(Arm(answered=992, failed=8, p99_ms=8.0), stable=Arm())
    assert alone.action == "widen"
    assert alone.reasons[1]["words"].startswith("Not both answered")


def test_what_is_slow_beyond_doubt_rolls_back_at_once_and_the_p99_at_the_end() -> None:
    soon = BEGAN + timedelta(seconds=20)

    slow = judged(Arm(answered=100, slow=40, p99_ms=90.0), now=soon)
    perhaps = Arm(answered=300, slow=4, p99_ms=20.1)

    assert slow.action == "roll_back"
    assert slow.why == (
        "99 of 100 of the candidate's answers took up to 90 ms, where 20 ms are allowed."
    )
    assert judged(perhaps, now=soon).action == "wait"
    assert judged(perhaps).action == "roll_back"
    assert judged(replace(perhaps, slow=3, p99_ms=20.0)).action == "widen"


@pytest.mark.parametrize("rule", ["estimated", "realised"])
def test_a_loss_that_is_surely_larger_rolls_back_at_once(rule: str) -> None:
    soon = BEGAN + timedelta(seconds=20)

    worse = judged(now=soon, **{rule: Estimate(0.2, 0.051, 0.35)})

    assert worse.action == "roll_back"
    assert worse.why == (
        f"The candidate's {rule} log loss exceeds the stable bundle's by 0.2000 "
        "(0.0510 to 0.3500) (at most 0.05 may be sure)."
    )
    assert judged(**{rule: Estimate(0.2, 0.05, 0.35)}).action == "widen"
    assert judged(**{rule: Estimate(-0.2, -0.3, -0.1)}).action == "widen"


@pytest.mark.parametrize("mode", ["ab", "shadow", "bandit"])
def test_other_modes_are_only_taken_back(mode: str) -> None:
    trial = replace(TRIAL, mode=mode, split=0.0 if mode == "shadow" else 0.1)

    kept = decide(CANARY, trial, Observed(GOOD, GOOD), BAKED)
    broken = decide(CANARY, trial, Observed(GOOD, Arm(answered=30, failed=10)), BEGAN)

    assert (kept.action, kept.split) == ("wait", trial.split)
    assert kept.why == f"No limit is broken; a person promotes or drops what is tried as {mode}."
    assert broken.action == "roll_back"


def test_limits_that_are_not_declared_are_not_looked_at() -> None:
    none = Rollout(mode="canary", limits=Limits(error_rate=None, error_rate_above_stable=None))

    step = decide(none, TRIAL, Observed(GOOD, Arm(failed=900)), BAKED)

    assert step.action == "widen"
    assert step.why.startswith("900 requests, and no limit is declared.")


def test_an_entry_is_decided_on_once() -> None:
    assert judged().decision_id == judged(Arm(failed=99)).decision_id == decision_id(TRIAL)
    assert decision_id(replace(TRIAL, release_id="r2")) != decision_id(TRIAL)


def test_intervals_of_shares_and_of_their_difference() -> None:
    # Wilson's interval of 10 of 100 at 95 %, and Newcombe's of 56/70 less 48/80 (his example a).
    assert share_between(10, 100, 1.96) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert share_between(0, 0) == (0.0, 1.0)
    found = difference_between(Arm(answered=14, failed=56), Arm(answered=32, failed=48), 1.96)
    assert found == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_the_declaration_reads_as_people_write_it() -> None:
    rollout = Rollout(mode="canary", steps=[0.1, 1], bake="90 minutes", min_answers=50)

    assert rollout.bake == timedelta(minutes=90)
    assert [rollout.next_split(split) for split in (0.0, 0.1, 1.0)] == [0.1, 1.0, None]
    assert (rollout.first_split("canary"), rollout.first_split("shadow")) == (0.1, 0.0)
    assert Rollout().mode == "direct"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "canry"}, "'direct', 'canary', 'shadow', 'ab' or 'bandit'"),
        ({"steps": []}, "at least 1 item"),
        ({"steps": [0.0, 0.5]}, "greater than 0"),
        ({"steps": [5, 25]}, "less than or equal to 1"),
        ({"steps": [0.5, 0.5]}, "steps must be each larger than the one before"),
        ({"bake": "30 mins"}, "a duration must be a number and one of second"),
        ({"min_answers": 0}, "greater than or equal to 1"),
        ({"limits": {"error_rates": 0.1}}, "'error_rates' is not a field here. Did you mean"),
        ({"limits": {"error_rate": 2}}, "less than or equal to 1"),
    ],
)
def test_a_mistake_in_the_declaration_is_told(given: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Rollout(**given)
