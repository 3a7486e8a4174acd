"""From which probability on the answer is yes, chosen on validation rows."""

from dataclasses import dataclass

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.decision import CostMatrix
from ai_assets.lifecycle.training.costs import best_threshold

SURELY = 3.0
"""Another threshold than that of the costs alone is taken where rows are cheaper with it by so many
standard errors: scores are no probabilities then. The best of many looks good by luck too."""


@dataclass(frozen=True)
class Threshold:
    """A threshold, what it achieves on the rows it was chosen on, and why it was chosen."""

    value: float
    achieved: float
    why: str


def choose_threshold(
    y: np.ndarray,
    p: np.ndarray,
    costs: CostMatrix | None = None,
    weight: np.ndarray | None = None,
) -> Threshold:
    """The threshold with the largest F1, or where costs are given that of the least expected cost.

    Args:
        y: 0 and 1, [n].
        p: calibrated P(positive), [n]; a row is positive when p is at least the threshold.
        costs: what answers cost, by label and answer.
        weight: how many rows each stands for, [n]; default: one.

    Returns:
        Of the largest F1: halfway to the next smaller score, so that rounding in the served model
        does not turn answers around; of equally good ones the largest. Of costs: what follows from
        them for probabilities, unless the rows contradict it beyond doubt.

    Raises:
        DataError: the rows hold no positive or no negative.
    """
    if len(np.unique(y)) < 2:
        raise DataError("choosing a threshold needs both positive and negative rows.")
    weight = np.ones(len(y)) if weight is None else weight
    if costs is not None:
        return _of_costs(y, p, costs, weight)
    values, true, false = _steps(y, p, weight)
    gain = 2 * true / (2 * true + false + true[-1] - true)
    best = int(gain.argmax())
    achieved = float(gain[best])
    why = f"largest F1 on {len(y)} validation rows: {achieved:.4f}"
    return Threshold(float(values[best]), achieved, why)


def _of_costs(y: np.ndarray, p: np.ndarray, costs: CostMatrix, weight: np.ndarray) -> Threshold:
    (right, alarm), (missed, hit) = costs
    values, true, false = _steps(y, p, weight)
    total = false * alarm + (false[-1] - false) * right + true * hit + (true[-1] - true) * missed
    expected, observed = best_threshold(costs), float(values[total.argmin()])
    of_expected, of_observed = (_cost_of_rows(y, p >= at, costs) for at in (expected, observed))
    saved = of_expected - of_observed
    mean = np.average(saved, weights=weight)
    surely = mean > SURELY * np.sqrt(weight**2 @ (saved - mean) ** 2) / weight.sum()
    value, each = (observed, of_observed) if surely else (expected, of_expected)
    achieved, surmised = (float(np.average(c, weights=weight)) for c in (each, of_expected))
    why = (
        f"least mean cost on {len(y)} validation rows: {achieved:.4g}; scores are no probabilities "
        f"there, of which {expected:.4g} would be the best and costs {surmised:.4g}"
        if surely
        else f"least expected cost; on {len(y)} validation rows {achieved:.4g} a row"
    )
    return Threshold(value, achieved, why)


def _cost_of_rows(y: np.ndarray, positive: np.ndarray, costs: CostMatrix) -> np.ndarray:
    """What each answer costs, [n]."""
    found: np.ndarray = np.array(costs)[y.astype(np.intp), positive.astype(np.intp)]
    return found


def _steps(
    y: np.ndarray, p: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds [g] below each distinct score, descending, and the positives and negatives [g]
    that are answered positive at each."""
    scores, inverse = np.unique(p, return_inverse=True)
    positives = np.bincount(inverse, weights=weight * y)[::-1]
    negatives = np.bincount(inverse, weights=weight * (1 - y))[::-1]
    descending = scores[::-1]
    values = (descending + np.append(descending[1:], 0.0)) / 2
    return values, np.cumsum(positives), np.cumsum(negatives)
