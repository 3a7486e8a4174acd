"""How a stable bundle and its candidate have answered since a trial's step began, from the log."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.rollout.decide import Trial, beyond_doubt
from ai_assets.lifecycle.rollout.losses import Rows, estimated_loss, realised_loss
from ai_assets.lifecycle.rollout.observed import Arm, Observed
from ai_assets.lifecycle.rollout.spec import Limits
from ai_assets.serving.record.answers import Answered, Counted, Described, Told
from ai_assets.serving.record.counts import added, quantile, slower
from ai_assets.serving.record.decode import keys_of_rows
from ai_assets.serving.record.feedback import micros
from ai_assets.serving.record.store import Store

# Enough to tell losses apart; more would make a tick long, which is cut off after a minute. Those
# that came last, of answers of each bundle as of outcomes; a request may have a thousand rows.
MOST_ROWS = 20_000
MOST_OUTCOMES = 50_000
# Of ready vectors, as the log has it.
_NO_KEY = "{}"


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
    counted = Observed(stable, candidate)
    declared = limits.estimated_loss is not None or limits.realised_loss is not None
    # A candidate that fails must not wait for rows to be read.
    if not declared or beyond_doubt(limits, counted):
        return counted
    described = store.descriptions()
    newest = ((trial.candidate, role), (trial.stable, "stable"))
    ours, theirs = (
        _newest(store.newest_answers(since, *which, MOST_ROWS), MOST_ROWS) for which in newest
    )
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
    found: dict[str, float] = {}
    for one in told:  # the newest first
        label = product.declaration.number_of(one.outcome)
        if label is None:
            continue
        if one.prediction_id is not None:
            found.setdefault(one.prediction_id, label)
        if one.entity != _NO_KEY:
            found.setdefault(one.entity, label)
    return found


def _newest(entries: Iterable[Answered], most: int) -> list[Answered]:
    """The first entries that have so many rows together, or all; no more are read."""
    found: list[Answered] = []
    rows = 0
    for entry in entries:
        found.append(entry)
        rows += entry.rows
        if rows >= most:
            break
    return found


def _rows(
    entries: list[Answered], described: Mapping[str, Described], outcomes: Mapping[str, float]
) -> Rows:
    """Scores, labels and units [n] of what one of the two answered."""
    scores: list[Any] = []
    labels, units = [], []
    known: dict[str | int, int] = {}
    for entry in entries:
        scores += entry.by_class() or entry.probabilities()
        keys = keys_of_rows(entry, described[entry.bundle].table)
        for name, key in zip(entry.prediction_ids(), keys, strict=True):
            of_key = None if key == _NO_KEY else outcomes.get(key)
            labels.append(outcomes.get(name, np.nan if of_key is None else of_key))
            unit = entry.request_id if key == _NO_KEY else key
            units.append(known.setdefault(unit, len(known)))
    return Rows(np.array(scores), np.array(labels), np.array(units, dtype=np.int64))
