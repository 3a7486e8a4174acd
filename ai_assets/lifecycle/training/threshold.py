"""From which probability on the answer is yes, chosen on validation rows."""

from dataclasses import dataclass

import numpy as np

from ai_assets.lifecycle.errors import DataError


@dataclass(frozen=True)
class Costs:
    """What a wrong answer costs, in any one unit."""

    false_positive: float
    false_negative: float


@dataclass(frozen=True)
class Threshold:
    """A threshold, what it achieves on the rows it was chosen on, and why it was chosen."""

    value: float
    achieved: float
    why: str


def choose_threshold(y: np.ndarray, p: np.ndarray, costs: Costs | None = None) -> Threshold:
    """The threshold with the largest F1, or with the smallest mean cost where costs are given.

    Args:
        y: 0 and 1, [n].
        p: calibrated P(positive), [n]; a row is positive when p is at least the threshold.
        costs: what wrong answers cost.

    Returns:
        A threshold halfway to the next smaller score, so that rounding in the served model does
        not turn answers around. Of equally good ones the largest.

    Raises:
        DataError: the rows hold no positive or no negative.
    """
    if len(np.unique(y)) < 2:
        raise DataError("choosing a threshold needs both positive and negative rows.")
    scores, inverse = np.unique(p, return_inverse=True)
    positives = np.bincount(inverse, weights=y)[::-1]
    negatives = np.bincount(inverse, weights=1 - y)[::-1]
    true, false = np.cumsum(positives), np.cumsum(negatives)  # at thresholds, descending
    missed = true[-1] - true
    if costs is None:
        gain = 2 * true / (2 * true + false + missed)
    else:
        gain = -(false * costs.false_positive + missed * costs.false_negative) / len(y)
    best = int(gain.argmax())
    descending = scores[::-1]
    below = descending[best + 1] if best + 1 < len(descending) else 0.0
    value = float((descending[best] + below) / 2)
    achieved = float(abs(gain[best]))
    what = "largest F1" if costs is None else "smallest mean cost"
    return Threshold(value, achieved, f"{what} on {len(y)} validation rows: {achieved:.4f}")
