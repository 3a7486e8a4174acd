"""Log losses of a candidate less those of the stable bundle, looked at again and again.

A sensor looks every few seconds, and one look can end a trial. An interval that holds at one look
fails at some look of many, so this one holds at all looks of a step together: a difference of two
running means moves, over the inverse of its variance as time, as a Brownian motion over that time
does, and the normal mixture bounds the whole path (Robbins 1970, "Statistical methods related to
the law of the iterated logarithm"; for means of any distribution Waudby-Smith et al. 2021,
"Time-uniform central limit theory").

Rows of one key came out together, however often they were asked: they count as one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.estimation.confidence import FEWEST_LABELS
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.counted import LOG_LOSS_EPSILON

Floats = NDArray[np.float64]
FEWEST = 30
# All looks together: the interval misses the truth at any of them in one of so many steps.
ERROR = 0.01
# The interval is narrowest, beside one of a single look, where a standard error is so many nats.
_SHARPEST = 0.02
_LEVEL = -2 * np.log(ERROR)
_RHO = (_LEVEL + np.log(_LEVEL) + 1) * _SHARPEST**2


@dataclass(frozen=True)
class Rows:
    """What one of the two answered.

    Attributes:
        scores: [n], or of several classes [n, K].
        labels: [n]; NaN where the outcome is not known.
        units: [n]; which rows came out together, as whole numbers from 0 on.
    """

    scores: Floats
    labels: Floats
    units: NDArray[np.int64]


@dataclass(frozen=True)
class _Mean:
    """A mean and the variance of it."""

    value: float
    variance: float


def row_losses(p: ArrayLike, q: ArrayLike) -> Floats:
    """Log loss of each row [n], in nats.

    Args:
        p: scores [n], or of several classes [n, K].
        q: labels [n], or for rows without one the belief [n] that they are positives, of several
            classes [n, K] that they are of each.
    """
    if np.ndim(p) == 2:
        logs = -np.log(np.clip(np.asarray(p, dtype=np.float64), LOG_LOSS_EPSILON, None))
        beliefs = np.asarray(q, dtype=np.float64)
        if beliefs.ndim == 2:
            return (beliefs * logs).sum(axis=1)
        return logs[np.arange(len(logs)), beliefs.astype(np.int64)]
    scores = np.clip(np.asarray(p, dtype=np.float64), LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    positive = np.asarray(q, dtype=np.float64)
    return -(positive * np.log(scores) + (1 - positive) * np.log1p(-scores))


def realised_loss(candidate: Rows, stable: Rows) -> Estimate | None:
    """Mean loss over the candidate's rows with an outcome less that over the stable one's.

    Returns:
        The difference with its interval; None where either has fewer than 30 such keys.
    """
    return _difference(_realised(candidate), _realised(stable))


def estimated_loss(candidate: Rows, stable: Rows) -> Estimate | None:
    """The same over all rows, those without an outcome as the scores promise.

    What scores promise of themselves is only how sure they are, and who is too sure promises much.
    So it counts as far as outcomes bear it out: what the rows with an outcome lost beyond what
    their scores promised is added (Angelopoulos et al. 2023, "Prediction-powered inference").

    Returns:
        The difference with its interval; None where either has fewer than 200 keys with outcomes.
    """
    return _difference(_estimated(candidate), _estimated(stable))


def reach_of_all_looks(variance: float) -> float:
    """How far a difference strays from the truth at any look of a step, in 99 of 100 steps.

    Args:
        variance: of the difference at this look.
    """
    if variance <= 0:
        return 0.0
    grown = np.log(np.sqrt(1 + _RHO / variance) / ERROR)
    return float(np.sqrt(2 * variance * (1 + variance / _RHO) * grown))


def _difference(one: _Mean | None, two: _Mean | None) -> Estimate | None:
    if one is None or two is None:
        return None
    value, reach = one.value - two.value, reach_of_all_looks(one.variance + two.variance)
    return Estimate(value, value - reach, value + reach)


def _realised(rows: Rows) -> _Mean | None:
    known = ~np.isnan(rows.labels)
    losses = row_losses(rows.scores[known], rows.labels[known])
    return _mean(losses, rows.units[known], FEWEST)


def _estimated(rows: Rows) -> _Mean | None:
    promised = row_losses(rows.scores, rows.scores)
    known = ~np.isnan(rows.labels)
    beyond = row_losses(rows.scores[known], rows.labels[known]) - promised[known]
    every, more = (
        _mean(promised, rows.units, FEWEST),
        _mean(beyond, rows.units[known], FEWEST_LABELS),
    )
    if every is None or more is None:
        return None
    return _Mean(every.value + more.value, every.variance + more.variance)


def _mean(values: Floats, units: NDArray[np.int64], fewest: int) -> _Mean | None:
    """The mean over units of the means of their values [n]; None of fewer than so many units."""
    if not len(units):
        return None
    counts = np.bincount(units)
    there = counts > 0
    if np.count_nonzero(there) < fewest:
        return None
    means = np.bincount(units, weights=values)[there] / counts[there]
    return _Mean(float(means.mean()), float(means.var(ddof=1) / len(means)))
