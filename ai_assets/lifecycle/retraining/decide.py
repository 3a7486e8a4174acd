"""From a verdict and the product's policy to one decision, with every reason on record."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ai_assets.lifecycle.retraining.spec import Retrain
from ai_assets.lifecycle.verdict.evidence import Verdict

Action = Literal["retrain", "wait", "alert"]
ACTIONS: tuple[Action, ...] = ("retrain", "wait", "alert")


@dataclass(frozen=True)
class Costs:
    """What is known of both sides of the bargain.

    Attributes:
        loss: Expected excess log loss a row of going on as before, in nats; None if unknown.
        rows: Rows that a partition scores.
        seconds: What the last training took; None before the first.
    """

    loss: float | None
    rows: int
    seconds: float | None

    def waiting(self, per_nat: float) -> float | None:
        """Price of another partition without retraining."""
        return None if self.loss is None else max(0.0, self.loss) * self.rows * per_nat

    def training(self, per_hour: float) -> float | None:
        """Price of a retraining."""
        return None if self.seconds is None else self.seconds / 3600 * per_hour


@dataclass(frozen=True)
class Past:
    """An earlier retraining: how many partitions ago."""

    partitions_ago: int


@dataclass(frozen=True)
class Decision:
    """What was decided about one verdict. Recorded whether it acts or not.

    Attributes:
        decision_id: Made from the verdict alone, so that deciding again is the same decision.
        action: `retrain`, `wait` or `alert` (broken data).
        cause: The verdict's cause, or `schedule`.
        why: The reason in a sentence.
        reasons: Each rule of the policy that was looked at, with its answer.
    """

    decision_id: str
    product: str
    partition: str | None
    action: Action
    cause: str
    severity: float
    why: str
    reasons: list[dict[str, Any]] = field(default_factory=list)

    @property
    def acts(self) -> bool:
        return self.action == "retrain"


def decide(
    verdict: Verdict,
    policy: Retrain,
    *,
    retrainings: Sequence[Past] = (),
    since_trained: int | None = None,
    costs: Costs | None = None,
) -> Decision:
    """Decide what to do about a verdict.

    Args:
        verdict: what monitoring concluded.
        policy: the product's declaration.
        retrainings: those that were decided before, newest first.
        since_trained: partitions since the newest one that the released model learned from.
        costs: expected loss of waiting and price of training.
    """
    if verdict.cause == "broken_data":
        why = f"Broken data is not learned from: {verdict.words}"
        return _decision(verdict, "alert", verdict.cause, why, [])
    asked, cause, reason = _asked(verdict, policy, since_trained)
    reasons = [reason]
    if not asked:
        return _decision(verdict, "wait", cause, reason["words"], reasons)
    for rule in (
        _cooldown(policy, retrainings),
        _budget(policy, retrainings),
        _worth(policy, costs),
    ):
        reasons.append(rule)
        if not rule["allows"]:
            return _decision(verdict, "wait", cause, rule["words"], reasons)
    return _decision(verdict, "retrain", cause, reason["words"], reasons)


def verdict_id(verdict: Verdict) -> str:
    """Digest of a verdict: the same content is the same verdict, whenever it was made."""
    return hashlib.sha256(verdict.to_json().encode()).hexdigest()[:16]


def decision_id(verdict: Verdict) -> str:
    """Names the decision on a verdict: deciding again on the same verdict is the same decision."""
    told = json.dumps([verdict.product, verdict.partition, verdict_id(verdict)])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _decision(
    verdict: Verdict, action: Action, cause: str, why: str, reasons: list[dict[str, Any]]
) -> Decision:
    return Decision(
        decision_id=decision_id(verdict),
        product=verdict.product,
        partition=verdict.partition,
        action=action,
        cause=cause,
        severity=verdict.severity,
        why=why,
        reasons=reasons,
    )


def _asked(
    verdict: Verdict, policy: Retrain, since: int | None
) -> tuple[bool, str, dict[str, Any]]:
    """Whether the verdict or the calendar asks for a retraining."""
    limit = policy.causes.get(verdict.cause)
    if limit is not None and verdict.severity >= limit:
        words = f"{verdict.cause} with severity {verdict.severity:.2f} (from {limit:g} on)."
        return True, verdict.cause, _rule("cause", True, f"{words} {verdict.words}")
    if policy.every is not None and since is not None and since >= policy.every:
        words = f"The model is {_count(since)} old; the product retrains every "
        words += "partition." if policy.every == 1 else f"{_count(policy.every)}."
        return True, "schedule", _rule("schedule", True, words)
    if verdict.cause == "none":
        words = verdict.words
    elif limit is None:
        words = f"{verdict.cause} is not among the causes that retrain."
    else:
        words = f"{verdict.cause} with severity {verdict.severity:.2f} is below {limit:g}."
    return False, verdict.cause, _rule("cause", False, words)


def _count(partitions: int) -> str:
    return f"{partitions} partition{'' if partitions == 1 else 's'}"


def _cooldown(policy: Retrain, past: Sequence[Past]) -> dict[str, Any]:
    newest = min((p.partitions_ago for p in past), default=None)
    if newest is None:
        return _rule("cooldown", True, "There was no retraining before.")
    words = f"The last retraining was {newest} partitions ago; cooldown is {policy.cooldown}."
    return _rule("cooldown", newest >= policy.cooldown, words)


def _budget(policy: Retrain, past: Sequence[Past]) -> dict[str, Any]:
    if policy.most is None:
        return _rule("budget", True, "No limit on retrainings is declared.")
    recent = sum(p.partitions_ago < policy.within for p in past)
    words = f"{recent} of at most {policy.most} retrainings within {policy.within} partitions."
    return _rule("budget", recent < policy.most, words)


def _worth(policy: Retrain, costs: Costs | None) -> dict[str, Any]:
    """Whether waiting costs more than training, where an exchange rate is declared."""
    told: dict[str, Any] = {}
    if costs is not None:
        told = {"expected_loss": costs.loss, "rows": costs.rows, "training_seconds": costs.seconds}
    if policy.cost is None or costs is None:
        return _rule("cost", True, "No exchange rate is declared.", **told)
    waiting = costs.waiting(policy.cost.per_nat)
    training = costs.training(policy.cost.per_hour)
    if waiting is None or training is None:
        return _rule("cost", True, "One side of the bargain is not known yet.", **told)
    words = f"Waiting another partition would cost {waiting:.2f}, training {training:.2f}."
    return _rule("cost", waiting > training, words, waiting=waiting, training=training, **told)


def _rule(name: str, allows: bool, words: str, **told: Any) -> dict[str, Any]:
    return {"rule": name, "allows": allows, "words": words, **told}
