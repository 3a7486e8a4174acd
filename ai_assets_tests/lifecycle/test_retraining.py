"""From a verdict to one decision: each rule of the policy both ways, and what names a decision."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.retraining.decide import Costs, Decision, Past, decide, verdict_id
from ai_assets.lifecycle.retraining.spec import Retrain
from ai_assets.lifecycle.verdict.evidence import Evidence, Verdict

MARCH = "2024-03-01"
EVIDENCE = Evidence("covariate_drift", "psi", "weight", 0.4, 0.2, "weight has moved.", 0.67)
DRIFTED = Verdict(
    product="late_orders",
    partition=MARCH,
    bundle="late_orders:2024-02-01-0123456789ab",
    cause="covariate_drift",
    severity=0.5,
    words="Inputs have moved: weight.",
    evidence=[EVIDENCE],
    labelled=True,
)
CALM = replace(DRIFTED, cause="none", severity=0.0, words="Nothing has changed.", evidence=[])


def answers(decision: Decision) -> dict[str, bool]:
    return {rule["rule"]: rule["allows"] for rule in decision.reasons}


def test_a_cause_at_its_limit_retrains_and_every_rule_is_on_record() -> None:
    decision = decide(DRIFTED, Retrain(causes={"covariate_drift": 0.5}))

    assert (decision.action, decision.acts) == ("retrain", True)
    assert (decision.product, decision.partition) == ("late_orders", MARCH)
    assert (decision.cause, decision.severity) == ("covariate_drift", 0.5)
    assert decision.why == (
        "covariate_drift with severity 0.50 (from 0.5 on). Inputs have moved: weight."
    )
    assert answers(decision) == {"cause": True, "cooldown": True, "budget": True, "cost": True}


def test_a_cause_below_its_limit_waits() -> None:
    decision = decide(DRIFTED, Retrain(causes={"covariate_drift": 0.51}))

    assert (decision.action, decision.acts) == ("wait", False)
    assert decision.why == "covariate_drift with severity 0.50 is below 0.51."
    assert answers(decision) == {"cause": False}


def test_a_cause_that_is_not_listed_waits_however_severe() -> None:
    decision = decide(replace(DRIFTED, severity=1.0), Retrain(causes={"concept_drift": 0.1}))

    assert (decision.action, decision.cause) == ("wait", "covariate_drift")
    assert decision.why == "covariate_drift is not among the causes that retrain."


def test_nothing_wrong_waits_in_the_verdicts_own_words() -> None:
    decision = decide(CALM, Retrain())

    assert (decision.action, decision.cause, decision.why) == (
        "wait",
        "none",
        "Nothing has changed.",
    )


@pytest.mark.parametrize(
    "policy",
    [Retrain(), Retrain(every=1), Retrain(causes={"covariate_drift": 0.0}, cooldown=0)],
)
def test_broken_data_alerts_and_never_retrains(policy: Retrain) -> None:
    broken = replace(DRIFTED, cause="broken_data", severity=1.0, words="weight is missing.")

    decision = decide(broken, policy, since_trained=99)

    assert (decision.action, decision.acts, decision.cause) == ("alert", False, "broken_data")
    assert decision.why == "Broken data is not learned from: weight is missing."
    assert decision.reasons == []


@pytest.mark.parametrize(("age", "action"), [(2, "wait"), (3, "retrain"), (4, "retrain")])
def test_the_calendar_asks_once_the_model_is_old_enough(age: int, action: str) -> None:
    decision = decide(CALM, Retrain(every=3), since_trained=age)

    assert decision.action == action
    assert decision.cause == ("schedule" if action == "retrain" else "none")
    if action == "retrain":
        assert decision.why == (
            f"The model is {age} partitions old; the product retrains every 3 partitions."
        )
        assert list(answers(decision)) == ["schedule", "cooldown", "budget", "cost"]


def test_the_calendar_asks_nothing_of_a_model_of_unknown_age_or_where_none_is_declared() -> None:
    assert decide(CALM, Retrain(every=1), since_trained=None).action == "wait"
    assert decide(CALM, Retrain(), since_trained=99).action == "wait"


def test_the_calendar_also_asks_where_a_cause_is_too_weak() -> None:
    weak = replace(DRIFTED, severity=0.1)

    assert decide(weak, Retrain(every=2), since_trained=2).cause == "schedule"
    assert decide(weak, Retrain(every=2), since_trained=1).cause == "covariate_drift"


@pytest.mark.parametrize(
    ("cooldown", "ago", "action"),
    [(0, 0, "retrain"), (1, 0, "wait"), (1, 1, "retrain"), (3, 2, "wait"), (3, 3, "retrain")],
)
def test_a_retraining_cools_down(cooldown: int, ago: int, action: str) -> None:
    past = [Past(ago + 5), Past(ago)]

    decision = decide(DRIFTED, Retrain(cooldown=cooldown), retrainings=past)

    assert decision.action == action
    rule = decision.reasons[1]
    assert (rule["rule"], rule["allows"]) == ("cooldown", action == "retrain")
    assert rule["words"] == (
        f"The last retraining was {ago} partitions ago; cooldown is {cooldown}."
    )
    if action == "wait":
        assert decision.why == rule["words"]


@pytest.mark.parametrize(
    ("ago", "action"),
    [([1, 11], "wait"), ([1, 12], "retrain"), ([1], "retrain"), ([1, 3, 5], "wait")],
)
def test_no_more_than_most_retrainings_within_so_many_partitions(
    ago: list[int], action: str
) -> None:
    decision = decide(
        DRIFTED, Retrain(most=2, within=12), retrainings=[Past(number) for number in ago]
    )

    recent = sum(number < 12 for number in ago)
    assert decision.action == action
    rule = decision.reasons[2]
    assert rule["words"] == f"{recent} of at most 2 retrainings within 12 partitions."
    assert rule["allows"] == (action == "retrain")


COST = {"per_nat": 0.5, "per_hour": 10.0}


@pytest.mark.parametrize(("seconds", "action"), [(3599.0, "retrain"), (3600.0, "wait")])
def test_with_an_exchange_rate_waiting_must_cost_more_than_training(
    seconds: float, action: str
) -> None:
    # 0.02 nats a row, 1,000 rows, 0.5 a nat: waiting costs 10. An hour of training does too.
    costs = Costs(loss=0.02, rows=1000, seconds=seconds)

    decision = decide(DRIFTED, Retrain.model_validate({"cost": COST}), costs=costs)

    assert decision.action == action
    rule = decision.reasons[-1]
    assert rule["rule"] == "cost"
    assert rule["waiting"] == pytest.approx(10.0)
    assert rule["training"] == pytest.approx(seconds / 360)
    assert (rule["expected_loss"], rule["rows"], rule["training_seconds"]) == (0.02, 1000, seconds)
    if action == "wait":
        assert decision.why == "Waiting another partition would cost 10.00, training 10.00."


def test_a_model_that_does_better_than_usual_costs_nothing_to_keep() -> None:
    costs = Costs(loss=-0.1, rows=1000, seconds=1.0)

    decision = decide(DRIFTED, Retrain.model_validate({"cost": COST}), costs=costs)

    assert (decision.action, decision.reasons[-1]["waiting"]) == ("wait", 0.0)


@pytest.mark.parametrize(
    "costs", [Costs(None, 1000, 60.0), Costs(0.02, 1000, None)], ids=["loss", "seconds"]
)
def test_a_side_of_the_bargain_that_is_unknown_decides_nothing(costs: Costs) -> None:
    decision = decide(DRIFTED, Retrain.model_validate({"cost": COST}), costs=costs)

    assert decision.action == "retrain"
    assert decision.reasons[-1]["words"] == "One side of the bargain is not known yet."


def test_without_an_exchange_rate_costs_decide_nothing_but_are_on_record() -> None:
    decision = decide(DRIFTED, Retrain(), costs=Costs(loss=0.0, rows=5, seconds=1e9))

    assert decision.action == "retrain"
    assert decision.reasons[-1] == {
        "rule": "cost",
        "allows": True,
        "words": "No exchange rate is declared.",
        "expected_loss": 0.0,
        "rows": 5,
        "training_seconds": 1e9,
    }


def test_the_first_rule_that_forbids_is_the_reason_and_the_last_that_is_asked() -> None:
    policy = Retrain(cooldown=2, most=1, cost={"per_nat": 1e-9, "per_hour": 1e9})  # type: ignore[arg-type]

    decision = decide(DRIFTED, policy, retrainings=[Past(1)], costs=Costs(0.1, 1, 3600.0))

    assert answers(decision) == {"cause": True, "cooldown": False}


def test_the_same_verdict_has_the_same_decision_id_whatever_is_decided() -> None:
    again = Verdict.from_json(DRIFTED.to_json())

    first = decide(DRIFTED, Retrain())
    second = decide(again, Retrain(cooldown=9), retrainings=[Past(0)])

    assert (first.action, second.action) == ("retrain", "wait")
    assert first.decision_id == second.decision_id
    assert len(first.decision_id) == 16
    assert verdict_id(again) == verdict_id(DRIFTED)


@pytest.mark.parametrize(
    "change",
    [
        {"product": "early_orders"},
        {"partition": "2024-04-01"},
        {"partition": None},
        {"bundle": "late_orders:2024-02-01-ba9876543210"},
        {"cause": "concept_drift"},
        {"severity": 0.51},
        {"words": "Inputs have moved: area."},
        {"evidence": []},
        {"labelled": False},
    ],
    ids=lambda change: ",".join(change),
)
def test_a_verdict_of_other_content_has_another_decision_id(change: dict[str, Any]) -> None:
    other = replace(DRIFTED, **change)

    assert decide(other, Retrain()).decision_id != decide(DRIFTED, Retrain()).decision_id


def test_by_default_every_retrainable_cause_does_from_its_limit_on() -> None:
    assert Retrain().causes == {"changed_code": 0.5, "covariate_drift": 0.5, "concept_drift": 0.5}
    assert (Retrain().every, Retrain().cooldown, Retrain().approval) == (None, 1, "automatic")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"causes": {"broken_data": 0.5}}, "a cause of retraining must be one of 'changed_code', "),
        ({"causes": {"concept_drif": 0.5}}, "Did you mean 'concept_drift'?"),
        (
            {"causes": {"concept_drift": 1.5}},
            "severity of concept_drift must be between 0 and 1, but got 1.5",
        ),
        ({"causes": {"concept_drift": -0.1}}, "must be between 0 and 1, but got -0.1"),
        ({"every": 0}, "greater than or equal to 1"),
        ({"cooldown": -1}, "greater than or equal to 0"),
        ({"most": 0}, "greater than or equal to 1"),
        ({"retries": 11}, "less than or equal to 10"),
        ({"approval": "never"}, "'automatic' or 'manual'"),
        ({"cost": {"per_nat": 0, "per_hour": 1}}, "greater than 0"),
        ({"cooldwn": 1}, "Did you mean 'cooldown'?"),
    ],
    ids=lambda given: str(given)[:40],
)
def test_a_policy_that_cannot_be_meant_is_refused_in_words(
    given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        Retrain.model_validate(given)

    assert words in str(refused.value)
