"""What to do with a candidate: wait, widen its share, promote it, or roll back; and why."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from ai_assets.lifecycle.rollout.observed import (
    Arm,
    Observed,
    difference_between,
    share_between,
)
from ai_assets.lifecycle.rollout.spec import Limits, Rollout
from ai_assets.lifecycle.schema.durations import format_duration

Action = Literal["wait", "widen", "promote", "roll_back"]
# So few requests say nothing for sure.
FEWEST = 10
_SLOW_SHARE = 0.01


@dataclass(frozen=True)
class Trial:
    """An entry of the ledger of releases that tries a candidate.

    Attributes:
        release_id: of the entry.
        since: when it was recorded, with a time zone.
    """

    product: str
    release_id: str
    stable: str
    candidate: str
    mode: str
    split: float
    since: datetime


@dataclass(frozen=True)
class Step:
    """What is to be done about a trial.

    Attributes:
        decision_id: made from the trial's entry alone: an entry is decided on once.
        action: `wait`, `widen`, `promote` or `roll_back`.
        split: the candidate's share from now on.
        cause: the rule that ended the trial, or `limits kept`.
        why: the reason in a sentence.
        reasons: each rule that was looked at, with its answer and its numbers.
    """

    decision_id: str
    product: str
    action: Action
    split: float
    cause: str
    why: str
    reasons: list[dict[str, Any]] = field(default_factory=list)
    partition: None = None
    severity: float = 0.0


@dataclass(frozen=True)
class _Finding:
    """One limit against what was observed: whether it is broken, and whether that is sure."""

    rule: str
    broken: bool
    sure: bool
    words: str
    numbers: dict[str, Any]

    def told(self) -> dict[str, Any]:
        return {"rule": self.rule, "allows": not self.broken, "words": self.words, **self.numbers}


def decide(rollout: Rollout, trial: Trial, observed: Observed, now: datetime) -> Step:
    """Decide what to do about a trial.

    A limit that is broken beyond doubt ends the trial at once. One that may be broken by chance is
    judged when the step has lasted and answered long enough.

    Args:
        rollout: the product's declaration.
        trial: what is tried, since when.
        observed: how both answered since then.
        now: the moment of the decision.
    """
    findings = list(_of_counts(rollout.limits, observed))
    if not any(finding.sure for finding in findings):
        findings += _of_losses(rollout.limits, observed)
    reasons = [finding.told() for finding in findings]
    for finding in findings:
        if finding.sure:
            return _step(trial, "roll_back", finding.words, reasons, cause=finding.rule)
    for waits in (_baking(rollout, trial, now), _answering(rollout, observed.candidate)):
        reasons.append(waits)
        if not waits["allows"]:
            return _step(trial, "wait", waits["words"], reasons)
    for finding in findings:
        if finding.broken:
            return _step(trial, "roll_back", finding.words, reasons, cause=finding.rule)
    if trial.mode != "canary":
        words = f"No limit is broken; a person promotes or drops what is tried as {trial.mode}."
        return _step(trial, "wait", words, reasons)
    words = _kept(findings, observed.candidate)
    split = rollout.next_split(trial.split)
    if split is None:
        return _step(trial, "promote", f"{words} It was the last step.", reasons)
    words = f"{words} The next step is {split:.0%} of the traffic."
    return _step(trial, "widen", words, reasons, split)


def decision_id(trial: Trial) -> str:
    """Names the decision on an entry: deciding again on the same entry is the same decision."""
    told = json.dumps(["rollout", trial.product, trial.release_id])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _step(
    trial: Trial,
    action: Action,
    why: str,
    reasons: list[dict[str, Any]],
    split: float | None = None,
    cause: str = "limits kept",
) -> Step:
    ends = action in ("promote", "roll_back")
    share = split if split is not None else 0.0 if ends else trial.split
    return Step(decision_id(trial), trial.product, action, share, cause, why, reasons)


def beyond_doubt(limits: Limits, observed: Observed) -> bool:
    """Whether counts of requests alone end the trial: losses are not looked at then."""
    return any(finding.sure for finding in _of_counts(limits, observed))


def _of_counts(limits: Limits, observed: Observed) -> Iterator[_Finding]:
    """Each declared limit of errors and latency against the numbers."""
    stable, candidate = observed.stable, observed.candidate
    if limits.error_rate is not None:
        yield _errors(limits.error_rate, candidate)
    if limits.error_rate_above_stable is not None:
        yield _more_errors(limits.error_rate_above_stable, stable, candidate)
    if limits.latency_p99_ms is not None:
        yield _latency(limits.latency_p99_ms, candidate)


def _of_losses(limits: Limits, observed: Observed) -> Iterator[_Finding]:
    """Each declared limit of a loss against the numbers."""
    if limits.estimated_loss is not None:
        yield _loss("estimated_loss", limits.estimated_loss, observed)
    if limits.realised_loss is not None:
        yield _loss("realised_loss", limits.realised_loss, observed)


def _errors(most: float, candidate: Arm) -> _Finding:
    low, _ = share_between(candidate.failed, candidate.requests)
    words = f"{candidate.failed} of {candidate.requests} requests to the candidate failed"
    words += f" ({candidate.error_rate:.2%}; at most {most:.2%} may)."
    sure = candidate.requests >= FEWEST and low > most
    numbers = {"value": candidate.error_rate, "limit": most}
    return _Finding("error_rate", candidate.error_rate > most, sure, words, numbers)


def _more_errors(most: float, stable: Arm, candidate: Arm) -> _Finding:
    rule, numbers = "error_rate_above_stable", {"value": None, "limit": most}
    if not stable.requests or not candidate.requests:
        words = "Not both answered, so their error rates cannot be compared."
        return _Finding(rule, False, False, words, numbers)
    gap = candidate.error_rate - stable.error_rate
    low, _ = difference_between(candidate, stable)
    words = f"{candidate.error_rate:.2%} of requests to the candidate failed, "
    words += f"{stable.error_rate:.2%} of those to the stable bundle (at most {most:.2%} more may)."
    sure = min(stable.requests, candidate.requests) >= FEWEST and low > most
    return _Finding(rule, gap > most, sure, words, numbers | {"value": gap})


def _latency(most: float, candidate: Arm) -> _Finding:
    numbers = {"value": candidate.p99_ms, "limit": most}
    if candidate.p99_ms is None:
        words = "The candidate answered nothing that could be slow."
        return _Finding("latency_p99_ms", False, False, words, numbers)
    low, _ = share_between(candidate.slow, candidate.answered)
    words = f"99 of 100 of the candidate's answers took up to {candidate.p99_ms:.3g} ms, where "
    words += f"{most:g} ms are allowed."
    sure = candidate.answered >= FEWEST and low > _SLOW_SHARE
    broken = sure or candidate.p99_ms > most
    return _Finding("latency_p99_ms", broken, sure, words, numbers)


def _loss(rule: str, most: float, observed: Observed) -> _Finding:
    found = observed.estimated if rule == "estimated_loss" else observed.realised
    numbers: dict[str, Any] = {"value": None, "limit": most}
    if found is None or found.value is None or found.low is None:
        words = f"Too few rows tell of the {rule.replace('_', ' ')}."
        return _Finding(rule, False, False, words, numbers)
    words = f"The candidate's {rule.partition('_')[0]} log loss exceeds the stable bundle's by "
    words += f"{found} (at most {most:g} may be sure)."
    broken = found.low > most
    numbers |= {"value": found.value, "low": found.low, "high": found.high}
    return _Finding(rule, broken, broken, words, numbers)


def _baking(rollout: Rollout, trial: Trial, now: datetime) -> dict[str, Any]:
    lasted = max(now - trial.since, timedelta(0))
    words = f"The step has lasted {_minutes(lasted)} of {format_duration(rollout.bake)}."
    return {"rule": "bake", "allows": lasted >= rollout.bake, "words": words}


def _answering(rollout: Rollout, candidate: Arm) -> dict[str, Any]:
    allows = candidate.requests >= rollout.min_answers
    words = f"The candidate had {candidate.requests} of {rollout.min_answers} requests."
    if not candidate.requests:
        words = f"No request has come to the candidate; a step waits for {rollout.min_answers}."
    return {"rule": "min_answers", "allows": allows, "words": words}


def _minutes(lasted: timedelta) -> str:
    seconds = int(lasted.total_seconds())
    return f"{seconds} seconds" if seconds < 120 else f"{seconds // 60} minutes"


def _kept(findings: list[_Finding], candidate: Arm) -> str:
    if not findings:
        return f"{candidate.requests} requests, and no limit is declared."
    return f"{candidate.requests} requests, and all {len(findings)} limits kept."
