"""Metrics of predicted numbers, for many weightings of the same rows at once.

As in `metrics.py`, every metric is a function of rows and `counts` [B, n].
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.evaluation.counted import Floats, ratio
from ai_assets.lifecycle.learners.base import poisson_deviances
from ai_assets.lifecycle.schema.interval import Interval


@dataclass(frozen=True)
class ScoredValues:
    """Rows with their outcome and what was predicted, in the unit of the target.

    Attributes:
        y: Outcomes, shape [n].
        p: Predictions, shape [n].
        interval: The interval around each prediction; None where none is declared.
    """

    y: Floats
    p: Floats
    interval: Interval | None = None

    @property
    def order(self) -> NDArray[np.intp]:
        """Positions of the rows in the arrays that were given, shape [n]: they stay in order."""
        return np.arange(len(self.y))

    @cached_property
    def error(self) -> Floats:
        """Absolute errors, shape [n]."""
        return np.abs(self.p - self.y)

    @cached_property
    def inside(self) -> Floats:
        """1.0 where the outcome lies within the interval, its ends included, shape [n]."""
        if self.interval is None:
            return np.full(len(self.y), np.nan)
        low, high = self.interval.ends(self.p)
        return ((self.y >= low) & (self.y <= high)).astype(np.float64)


def scored_values(y: ArrayLike, p: ArrayLike, interval: Interval | None = None) -> ScoredValues:
    """Check outcomes [n] and predictions [n] or [n, 1].

    Raises:
        DataError: Lengths differ, there are no rows, or a number is not finite.
    """
    outcomes = np.asarray(y, dtype=np.float64).ravel()
    predicted = np.asarray(p, dtype=np.float64).ravel()
    if len(outcomes) != len(predicted):
        raise DataError(must_be("y and p", "of one length", (len(outcomes), len(predicted))))
    if not len(outcomes):
        raise DataError("An evaluation needs at least one labelled row, but got none.")
    for name, numbers in (("a label", outcomes), ("a prediction", predicted)):
        if wrong := numbers[~np.isfinite(numbers)][:1].tolist():
            raise DataError(must_be(name, "a finite number", wrong[0]))
    return ScoredValues(outcomes, predicted, interval)


def constant_errors(y: ArrayLike, *, counts: bool = False) -> dict[str, float]:
    """The errors of outcomes [n] under the best constant answer, by metric.

    It is the mean for the RMSE (so that R² is 0) and of counts for the Poisson deviance, the median
    for the MAE.
    """
    outcomes = np.asarray(y, dtype=np.float64)
    far = np.abs(outcomes - np.median(outcomes))
    found = {"rmse": float(outcomes.std()), "mae": float(far.mean())}
    if counts:
        always = np.full(len(outcomes), outcomes.mean())
        found["poisson_deviance"] = float(deviances(outcomes, always).mean())
    return found


def deviances(y: Floats, p: Floats) -> Floats:
    """The Poisson deviance [n] of counts under expected ones, both [n]; NaN where they are none."""
    known = (y >= 0) & (p > 0)
    return np.where(known, poisson_deviances(np.where(known, y, 1), np.where(known, p, 1)), np.nan)


def poisson_deviance(rows: ScoredValues, counts: Floats) -> Floats:
    return ratio(counts @ deviances(rows.y, rows.p), counts.sum(axis=1))


def rmse(rows: ScoredValues, counts: Floats) -> Floats:
    return np.sqrt(ratio(counts @ rows.error**2, counts.sum(axis=1)))


def mae(rows: ScoredValues, counts: Floats) -> Floats:
    return ratio(counts @ rows.error, counts.sum(axis=1))


def mape(rows: ScoredValues, counts: Floats) -> Floats:
    """Over rows whose outcome is not 0: of others no share can be told."""
    some = rows.y != 0
    shares = np.divide(rows.error, np.abs(rows.y), out=np.zeros_like(rows.error), where=some)
    return ratio(counts @ shares, counts @ some.astype(np.float64))


def r2(rows: ScoredValues, counts: Floats) -> Floats:
    # About the mean of all rows first: squares of large outcomes would swallow their differences.
    y = rows.y - rows.y.mean()
    total = counts.sum(axis=1)
    spread = counts @ y**2 - (counts @ y) ** 2 / np.maximum(total, 1)
    # A resample of one row again and again has no spread, up to rounding.
    spread = np.where(spread > 1e-12 * (counts @ y**2), spread, 0.0)
    return 1 - ratio(counts @ rows.error**2, spread)


def coverage(rows: ScoredValues, counts: Floats) -> Floats:
    return ratio(counts @ rows.inside, counts.sum(axis=1))


def interval_width(rows: ScoredValues, counts: Floats) -> Floats:
    if rows.interval is None:
        return np.full(len(counts), np.nan)
    low, high = rows.interval.ends(rows.p)
    return ratio(counts @ (high - low), counts.sum(axis=1))


def pinball_loss(rows: ScoredValues, counts: Floats) -> Floats:
    """Mean of both ends, each as a quantile (Koenker and Bassett 1978): (1 - coverage) / 2 of the
    outcomes are to lie below the lower one, as many above the upper one."""
    if rows.interval is None:
        return np.full(len(counts), np.nan)
    below = (1 - rows.interval.coverage) / 2
    low, high = rows.interval.ends(rows.p)
    parts = [
        np.maximum(share * (rows.y - end), (share - 1) * (rows.y - end))
        for share, end in ((below, low), (1 - below, high))
    ]
    return ratio(counts @ (parts[0] + parts[1]) / 2, counts.sum(axis=1))
