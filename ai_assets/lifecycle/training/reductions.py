"""Labels and weights under which a model answers groups of people alike at its threshold.

Agarwal et al. (2018), "A reductions approach to fair classification": errors, plus multipliers
times how far the rate of each group is from that of all, are least for what learns from weighted
rows. A row of weight below 0 teaches the other label. The multipliers grow where groups differ, as
there; but one model answers, and no lot is drawn between several, so the first multipliers under
which the differences hold are taken: larger ones cost more. Steps are short for that, and as long
in a row's weight for a small group as for a large one.

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
from ai_assets.lifecycle.fairness.parts import Part, compared_parts
from ai_assets.lifecycle.fairness.spec import Fairness
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.costs import TwoCosts
from ai_assets.lifecycle.training.cross_validation import deal
from ai_assets.lifecycle.training.spec import Training
from ai_assets.lifecycle.training.threshold import choose_threshold

MOST_ROWS, ENOUGH = 10_000, 500
"""Of more rows so many are searched on, evenly spread, and besides so many of each label and of
each group that is compared, or all that there are; what is found weighs all rows."""
FOLDS = 3
STEPS = 60
"""How often the multipliers grow; where nothing holds after that, the smallest difference wins."""
_STEP, _LONGER, _SHORTER, _SALT = 0.4, 1.2, 0.5, 11
_MOST_KNOWN = 512
_KNOWN: OrderedDict[str, list[np.ndarray]] = OrderedDict()
"""Multipliers by what they were searched for: each family asks of the same folds. They
are a few numbers each, and a cross-validation has hundreds of folds."""
_NEAR = 1 / 3
"""How far from the share that is answered positive thresholds are looked at, as a share of it."""
_GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, without their whole part, are spread evenly, and so are those below any number."""


def reduced(
    data: Dataset, protected: Protected, training: Training
) -> tuple[np.ndarray, np.ndarray]:
    """The label that each row teaches [n] and its weight [n].

    What it takes is searched for on a sample of the rows, `MOST_ROWS` and some more, and then told
    of all rows. Which groups are compared is asked of all rows. Rows of groups that are too few
    (`fairness.min_rows`) count as they are, and so do all rows where `searched_parts` is empty.

    Args:
        data: rows to learn from; labels are 0 and 1.
        protected: their groups.
        training: the declaration: how scores are calibrated and cut.
    """
    parts = searched_parts(protected, data.y)
    if not parts:
        return data.y, _base(data)
    multipliers = _known(_Sample.of(data, parts), protected.spec, training)
    return _taught(data, _worth(data.y, parts, multipliers))


def searched_parts(protected: Protected, y: np.ndarray) -> list[Part]:
    """What a search brings closer, by labels 0 and 1 [n]: nothing where no two groups of a column
    have rows enough that count, or a label has too few rows for the folds."""
    if np.bincount(y.astype(np.int64), minlength=2).min() < FOLDS:
        return []
    return compared_parts(protected, y)


@dataclass(frozen=True)
class _Sample:
    """The rows that are searched on.

    Attributes:
        data: The rows.
        parts: What is to be alike, as these rows show it.
        weight: How many of all rows each stands for, [n].
    """

    data: Dataset
    parts: list[Part]
    weight: np.ndarray

    @classmethod
    def of(cls, data: Dataset, parts: list[Part]) -> "_Sample":
        """Evenly spread rows, more of them where groups or labels are few (Horvitz and Thompson
        1952: a row that is drawn with chance c stands for 1/c rows)."""
        chance = np.full(len(data), min(1.0, MOST_ROWS / len(data)))
        for members, sizes in _members(data.y, parts):
            few = np.append(np.minimum(1.0, ENOUGH / np.maximum(sizes, 1)), 0.0)
            chance = np.maximum(chance, few[members])
        chosen = np.flatnonzero(np.arange(len(data)) * _GOLDEN % 1 < chance)
        return cls(data.take(chosen), [part.take(chosen) for part in parts], 1 / chance[chosen])

    def digest(self, spec: Fairness, training: Training) -> str:
        """What the search depends on."""
        digest, data = hashlib.sha256(), self.data
        for told in (data.encoding.to_json(), spec.model_dump_json(), training.model_dump_json()):
            digest.update(told.encode())
        of_parts = (a for p in self.parts for a in (p.values, p.place, p.shares))
        for values in (data.x, data.y, _base(data), self.weight, *of_parts):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()


def _members(y: np.ndarray, parts: list[Part]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What there are to be rows enough of: the number of each row's group [n], or one more than
    there are groups, and the sizes of the groups."""
    labels = y.astype(np.int8)
    yield labels, np.bincount(labels, minlength=2)
    for part in parts:
        yield part.place, part.shares * len(y)


def _known(sample: _Sample, spec: Fairness, training: Training) -> list[np.ndarray]:
    """Multipliers [K] of each part, searched for where they are not known."""
    asked = sample.digest(spec, training)
    found = _KNOWN.pop(asked, None)
    if found is None:
        found = _searched(sample, spec, training)
    _KNOWN[asked] = found
    while len(_KNOWN) > _MOST_KNOWN:
        _KNOWN.popitem(last=False)
    return found


@dataclass(frozen=True)
class _Climb:
    """How far the search is for one part.

    Attributes:
        multipliers: What is tried, [K].
        step: How much of the difference that it saw last it takes from each row.
        high: By how much the rate of each group was above that of all then, [K].
    """

    multipliers: np.ndarray
    step: float
    high: np.ndarray

    @classmethod
    def begun(cls, part: Part) -> "_Climb":
        return cls(np.zeros(len(part.values)), _STEP, np.zeros(len(part.values)))

    def on(self, part: Part, high: np.ndarray) -> "_Climb":
        """A step further: longer than the last, or half of it where the difference turned.

        Riedmiller and Braun (1993), "Rprop". What a multiplier takes from a row is divided by its
        group's share, so it grows by that share: rows of small groups move no further.
        """
        step = self.step * (_SHORTER if high @ self.high < 0 else _LONGER)
        return _Climb(self.multipliers + step * part.shares * high, step, high)


def _searched(sample: _Sample, spec: Fairness, training: Training) -> list[np.ndarray]:
    """Multipliers [K] of each part: the first that hold, else those of the least difference."""
    data, parts, weight = sample.data, sample.parts, sample.weight
    fold = deal(np.arange(len(data)), data.y, FOLDS, salt=_SALT)
    climbs = [_Climb.begun(part) for part in parts]
    best, least = [climb.multipliers for climb in climbs], float("inf")
    for _ in range(STEPS):
        multipliers = [climb.multipliers for climb in climbs]
        scores = _held_out(sample, _worth(data.y, parts, multipliers), fold)
        answered = _answered(data.y, scores, weight, training)
        rates = [part.rates(answered, weight) for part in parts]
        beyond = [
            np.ptp(found) - part.allowed(found, answered, weight, spec.max_difference)
            for part, found in zip(parts, rates, strict=True)
        ]
        if max(beyond) < least:
            best, least = multipliers, float(max(beyond))
        if least <= 0:
            break
        climbs = [
            climb.on(part, found - _mean(answered, weight * part.rows)) if over > 0 else climb
            for climb, part, found, over in zip(climbs, parts, rates, beyond, strict=True)
        ]
    return best


def _mean(answered: np.ndarray, weight: np.ndarray) -> float:
    return float(answered @ weight / weight.sum())


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


def _held_out(sample: _Sample, worth: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Scores [n] of each row by what learned from the other folds."""
    family, data = get_family("linear"), sample.data
    labels, weights = _taught(data, worth)
    taught = replace(data, y=labels, weight=weights * sample.weight)
    scores = np.empty(len(data))
    for number in range(FOLDS):
        learned = taught.take(fold != number)
        model = family.fit(learned, None, family.defaults(), task="binary", seed=0, threads=1)
        scores[fold == number] = model.predict(data.x[fold == number])[:, 0]
    return scores


def _answered(
    y: np.ndarray, scores: np.ndarray, weight: np.ndarray, training: Training
) -> np.ndarray:
    """At how many of the thresholds near the one that would be used each row is positive, [n].

    The threshold moves with the rows that it is chosen on; at one alone rates are mostly chance.
    """
    costs = training.costs.matrix() if isinstance(training.costs, TwoCosts) else None
    p = fit_calibration(training.calibration, scores, y, weight).apply(scores)
    share = _mean(p >= choose_threshold(y, p, costs, weight).value, weight)
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(y))
    rank[order] = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()
    few, many = share * (1 - _NEAR), share * (1 + _NEAR)
    return np.clip((many - rank) / max(many - few, 1 / len(y)), 0.0, 1.0)
