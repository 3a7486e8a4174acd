"""Labels and weights under which a model answers groups of people alike at its threshold.

Agarwal et al. (2018), "A reductions approach to fair classification": errors, plus multipliers
times how far the rate of each group is from that of all, are least for what learns from weighted
rows. A row of weight below 0 teaches the other label. The multipliers grow where groups differ, as
there; but one model answers, and no lot is drawn between several, so the first multipliers under
which the differences hold are taken: larger ones cost more.

Whether they hold is asked of rows that the search held out of its own fits, all of them among the
rows given: what judges the model later has no part in it. The fits are of the linear family, which
takes a moment; what the weights do to the families themselves is measured by the evaluation.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ai_assets.lifecycle.fairness.groups import Protected
from ai_assets.lifecycle.fairness.spec import CRITERIA, EVENTS, Fairness
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.costs import TwoCosts
from ai_assets.lifecycle.training.cross_validation import deal
from ai_assets.lifecycle.training.spec import Training
from ai_assets.lifecycle.training.threshold import choose_threshold

MOST_ROWS = 10_000
"""Of more rows so many, evenly spaced, are searched on; what is found weighs all of them."""
FOLDS = 3
STEPS = 30
"""How often the multipliers grow; where nothing holds after that, the smallest difference wins."""
_STEP, _SALT = 0.5, 11
_SURELY = 1.96
_MOST_KNOWN = 16
_KNOWN: OrderedDict[str, list[np.ndarray]] = OrderedDict()
"""Multipliers by what they were searched for: each trial of each family asks of the same folds."""
_LEAST = 0.25
"""Share of the limit that is close enough, however few rows there are: chance is not chased."""
_NEAR = 1 / 3
"""How far from the share that is answered positive thresholds are looked at, as a share of it."""


@dataclass(frozen=True)
class Part:
    """Rows of which groups of one column must be answered alike.

    Attributes:
        column: Position of the protected column.
        event: Labels of the rows that count: 1.0, 0.0, or None for all.
        values: The groups that are held against each other, int64 [K].
        rows: Which rows count, bool [n].
        members: Which of them are of each group, bool [K, n].
    """

    column: int
    event: float | None
    values: np.ndarray
    rows: np.ndarray
    members: np.ndarray

    @classmethod
    def of(
        cls, column: int, event: float | None, values: np.ndarray, groups: np.ndarray, y: np.ndarray
    ) -> "Part":
        """The part of rows with groups [n, C] and labels [n]."""
        rows = np.ones(len(y), dtype=bool) if event is None else y == event
        members = (groups[:, column] == values[:, None]) & rows
        return cls(column, event, values, rows, members)

    def pull(self, multipliers: np.ndarray) -> np.ndarray:
        """What multipliers [K] take from a row's worth of a positive answer, [n]."""
        each = multipliers / np.maximum(self.members.mean(axis=1), 1 / len(self.rows))
        everyone = multipliers.sum() / max(self.rows.mean(), 1 / len(self.rows))
        pulled: np.ndarray = each @ self.members - everyone * self.rows
        return pulled

    def rates(self, answered: np.ndarray) -> np.ndarray:
        """The share [K] of each group that is answered positive."""
        return np.array([answered[member].mean() for member in self.members])

    def allowed(self, answered: np.ndarray, limit: float) -> float:
        """The largest difference whose 95 % interval over these rows ends within the limit."""
        rates = self.rates(answered)
        ends = (self.members[rates.argmax()], self.members[rates.argmin()])
        error = np.sqrt(sum(answered[member].var() / member.sum() for member in ends))
        return float(max(limit - _SURELY * error, _LEAST * limit))


def compared_parts(protected: Protected, y: np.ndarray) -> Iterator[Part]:
    """What is to be alike: each column's groups with rows enough, for each rate; two at least."""
    spec = protected.spec
    for column in range(protected.groups.shape[1]):
        for rate in CRITERIA[spec.metric]:
            event = EVENTS[rate]
            values = np.unique(protected.groups[:, column])
            part = Part.of(column, event, values, protected.groups, y)
            sizes = part.members.sum(axis=1)
            kept = values[sizes >= spec.min_rows]
            if len(kept) > 1:
                yield Part.of(column, event, kept, protected.groups, y)


def reduced(data: Dataset, training: Training) -> tuple[np.ndarray, np.ndarray]:
    """The label that each row teaches [n] and its weight [n].

    Rows of groups that are too few to be compared count as they are, and so do all rows where no
    two groups can be compared.

    Args:
        data: rows to learn from, with their protected groups; labels are 0 and 1.
        training: the declaration: how scores are calibrated and cut.
    """
    protected = data.protected
    assert protected is not None, "only of rows with groups"
    chosen = np.linspace(0, len(data) - 1, min(len(data), MOST_ROWS)).round().astype(np.int64)
    sample = data.take(chosen)
    assert sample.protected is not None
    parts = list(compared_parts(sample.protected, sample.y))
    if not parts or min(np.bincount(sample.y.astype(np.int64), minlength=2)) < FOLDS:
        return data.y, _base(data)
    multipliers = _known(sample, parts, protected.spec, training)
    whole = [Part.of(p.column, p.event, p.values, protected.groups, data.y) for p in parts]
    return _taught(data, _worth(data.y, whole, multipliers))


def _known(
    data: Dataset, parts: list[Part], spec: Fairness, training: Training
) -> list[np.ndarray]:
    """Multipliers [K] of each part, searched for where they are not known."""
    asked = _digest(data, spec, training)
    found = _KNOWN.pop(asked, None)
    if found is None:
        found = _searched(data, parts, spec, training)
    _KNOWN[asked] = found
    while len(_KNOWN) > _MOST_KNOWN:
        _KNOWN.popitem(last=False)
    return found


def _digest(data: Dataset, spec: Fairness, training: Training) -> str:
    assert data.protected is not None
    digest = hashlib.sha256()
    for told in (data.encoding.to_json(), spec.model_dump_json(), training.model_dump_json()):
        digest.update(told.encode())
    for values in (data.x, data.y, _base(data), data.protected.groups):
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _searched(
    data: Dataset, parts: list[Part], spec: Fairness, training: Training
) -> list[np.ndarray]:
    """Multipliers [K] of each part: the first that hold, else those of the least difference."""
    fold = deal(np.arange(len(data)), data.y, FOLDS, salt=_SALT)
    multipliers = [np.zeros(len(part.values)) for part in parts]
    best, least = multipliers, float("inf")
    for _ in range(STEPS):
        scores = _held_out(data, _worth(data.y, parts, multipliers), fold)
        answered = _answered(data.y, scores, training)
        rates = [part.rates(answered) for part in parts]
        beyond = [
            np.ptp(found) - part.allowed(answered, spec.max_difference)
            for part, found in zip(parts, rates, strict=True)
        ]
        if max(beyond) < least:
            best, least = multipliers, float(max(beyond))
        if least <= 0:
            break
        multipliers = [
            m + _STEP * (found - answered[part.rows].mean()) if over > 0 else m
            for m, part, found, over in zip(multipliers, parts, rates, beyond, strict=True)
        ]
    return best


def _worth(y: np.ndarray, parts: list[Part], multipliers: list[np.ndarray]) -> np.ndarray:
    """What a positive answer to each row is worth [n]: 1 or -1 by its label, less the pulls."""
    worth = np.where(y == 1, 1.0, -1.0)
    for part, own in zip(parts, multipliers, strict=True):
        worth = worth - part.pull(own)
    return worth


def _taught(data: Dataset, worth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (worth > 0).astype(np.float64), np.abs(worth) * _base(data)


def _base(data: Dataset) -> np.ndarray:
    return np.ones(len(data)) if data.weight is None else data.weight


def _held_out(data: Dataset, worth: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Scores [n] of each row by what learned from the other folds."""
    family = get_family("linear")
    labels, weights = _taught(data, worth)
    taught = replace(data, y=labels, weight=weights)
    scores = np.empty(len(data))
    for number in range(FOLDS):
        learned = taught.take(fold != number)
        model = family.fit(learned, None, family.defaults(), task="binary", seed=0, threads=1)
        scores[fold == number] = model.predict(data.x[fold == number])[:, 0]
    return scores


def _answered(y: np.ndarray, scores: np.ndarray, training: Training) -> np.ndarray:
    """At how many of the thresholds near the one that would be used each row is positive, [n].

    The threshold moves with the rows that it is chosen on; at one alone rates are mostly chance.
    """
    costs = training.costs.matrix() if isinstance(training.costs, TwoCosts) else None
    p = fit_calibration(training.calibration, scores, y).apply(scores)
    share = float((p >= choose_threshold(y, p, costs).value).mean())
    rank = np.empty(len(y))
    rank[np.argsort(-scores, kind="stable")] = (np.arange(len(y)) + 0.5) / len(y)
    few, many = share * (1 - _NEAR), share * (1 + _NEAR)
    return np.clip((many - rank) / max(many - few, 1 / len(y)), 0.0, 1.0)
