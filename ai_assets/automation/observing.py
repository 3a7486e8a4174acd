"""How a stable bundle and its candidate have answered since a trial's step began, from the log."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.rollout.decide import Trial
from ai_assets.lifecycle.rollout.losses import Rows, estimated_loss, realised_loss
from ai_assets.lifecycle.rollout.observed import Arm, Observed
from ai_assets.lifecycle.rollout.spec import Limits
from ai_assets.serving.record.answers import Answered, Counted, Described, Told
from ai_assets.serving.record.counts import added, quantile, slower
from ai_assets.serving.record.decode import rows_of
from ai_assets.serving.record.feedback import entity, micros
from ai_assets.serving.record.store import Store

# Enough to tell losses apart; more would make a tick long. Of outcomes, those sent last.
MOST_REQUESTS = 5_000
MOST_OUTCOMES = 50_000


def observe(store: Store | None, product: Product, trial: Trial) -> Observed:
    """What the log tells of both bundles since the step began; nothing where there is no log.

    Args:
        store: the product's log.
        product: declares the limits and the positive outcome.
        trial: the step.
    """
    if store is None:
        return Observed(Arm(), Arm())
    limits, since = product.declaration.rollout.limits, micros(trial.since)
    found = added(store.counts((since, None)))
    role = "shadow" if trial.mode == "shadow" else "candidate"
    stable = _arm(found.get((trial.stable, "stable")), limits)
    candidate = _arm(found.get((trial.candidate, role)), limits)
    if limits.estimated_loss is None and limits.realised_loss is None:
        return Observed(stable, candidate)
    described = store.descriptions()
    ours = list(store.newest_answers(since, trial.candidate, role, MOST_REQUESTS))
    theirs = list(store.newest_answers(since, trial.stable, "stable", MOST_REQUESTS))
    outcomes = _outcomes(store.newest_outcomes(since, MOST_OUTCOMES), product)
    both = _rows(ours, described, outcomes), _rows(theirs, described, outcomes)
    return Observed(stable, candidate, estimated_loss(*both), realised_loss(*both))


def told(observed: Observed) -> dict[str, Any]:
    """The numbers as JSON holds them."""
    return {
        name: {
            "requests": arm.requests,
            "failed": arm.failed,
            "error_rate": arm.error_rate,
            "p99_ms": arm.p99_ms,
        }
        for name, arm in (("stable", observed.stable), ("candidate", observed.candidate))
    } | {
        name: {"value": found.value, "low": found.low, "high": found.high}
        for name, found in (("estimated", observed.estimated), ("realised", observed.realised))
        if found is not None
    }


def trial_of(entry: Mapping[str, Any]) -> Trial | None:
    """The trial that an entry of the ledger says is running; None where no candidate is tried."""
    if entry["candidate"] is None:
        return None
    since: datetime = entry["recorded_at"]
    return Trial(
        product=entry["product"],
        release_id=entry["release_id"],
        stable=entry["stable"],
        candidate=entry["candidate"],
        mode=entry["mode"] or "ab",
        split=entry["split"] or 0.0,
        since=since,
    )


def _arm(counts: Counted | None, limits: Limits) -> Arm:
    if counts is None:
        return Arm()
    most = limits.latency_p99_ms
    slow = slower(counts.latency, most) if most is not None else 0
    return Arm(counts.answered, counts.failed, slow, quantile(counts.latency, 0.99))


def _outcomes(told: Iterable[Told], product: Product) -> dict[str, float]:
    """Labels by prediction id and by row key; of one told several times the last counts."""
    positive = product.declaration.label.positive
    found: dict[str, float] = {}
    for one in told:  # the newest first
        label = float(one.outcome == positive)
        if one.prediction_id is not None:
            found.setdefault(one.prediction_id, label)
        if one.entity != "{}":
            found.setdefault(one.entity, label)
    return found


def _rows(
    entries: list[Answered], described: Mapping[str, Described], outcomes: Mapping[str, float]
) -> Rows:
    """Scores, labels and units [n] of what one of the two answered."""
    scores, labels, units = [], [], []
    known: dict[Any, int] = {}
    for row in rows_of(entries, described):
        key = entity(row.key, described[row.entry.bundle].table) if row.key else ""
        label = outcomes.get(row.prediction_id, outcomes.get(key) if key else None)
        scores.append(row.probability)
        labels.append(np.nan if label is None else label)
        units.append(known.setdefault(key or row.entry.request_id, len(known)))
    return Rows(np.array(scores), np.array(labels), np.array(units, dtype=np.int64))
