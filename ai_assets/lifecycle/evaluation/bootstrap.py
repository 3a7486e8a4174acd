"""Intervals by resampling rows: how far the values could be off by chance alone.

Bootstrap of Efron (1979), "Bootstrap methods: another look at the jackknife". Resamples are centred
on the value, because some metrics (the calibration error above all) are larger in every resample
than in the sample: without centring the interval would lie beside its own value.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.evaluation.counted import Floats
from ai_assets.lifecycle.evaluation.metrics import (
    AnyScored,
    Metric,
    get_metric,
    metrics_of,
    scored_for,
    values_of,
)

# Bounds the memory of one piece of counts: 2M doubles are 16 MB, and fit no worse than more would.
_PIECE = 2_000_000


@dataclass(frozen=True)
class Estimate:
    """A value and the interval that resampling gives it.

    Attributes:
        value: The value over all rows; None if undefined.
        low: Lower end of the interval; None if it cannot be had.
        high: Upper end of the interval; None if it cannot be had.
        words: Why there is no value; empty if there is one.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    words: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return self.words
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def resample_counts(
    rows: int,
    resamples: int,
    seed: int,
    blocks: ArrayLike | None = None,
    order: NDArray[np.intp] | None = None,
) -> Iterator[Floats]:
    """How often each row is drawn, in pieces [b, rows] that together have `resamples` rows.

    Equal arguments draw the same rows for another model of the same rows: differences between
    models are paired.

    Args:
        rows: How many rows there are.
        resamples: How many times they are drawn.
        seed: Of the draws.
        blocks: The block of each row [rows], for example its day: whole blocks are drawn, because
            rows of a day share its weather and say less than as many rows of their own would
            (Davison and Hinkley 1997, "Bootstrap methods and their application", section 3.8).
        order: Positions of the rows, in whose order the counts are to be, [rows]; default: as the
            rows were given. It changes nothing about what is drawn.
    """
    generator = np.random.default_rng(seed)
    unit, units = order, rows
    if blocks is not None:
        names, unit = np.unique(np.asarray(blocks), return_inverse=True)
        units, unit = len(names), unit if order is None else unit[order]
    piece = max(1, _PIECE // rows)
    for start in range(0, resamples, piece):
        size = min(piece, resamples - start)
        draws = (generator.integers(0, units, units) for _ in range(size))
        counts = np.array([np.bincount(drawn, minlength=units) for drawn in draws], np.float64)
        yield counts if unit is None else counts[:, unit]


def bootstrap(
    rows: AnyScored,
    names: tuple[str, ...] | None = None,
    *,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
    blocks: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """The named metrics (default: all), each with its interval at `level` (a share of resamples).

    With `blocks` [n], in the order in which the rows were given, whole blocks are drawn.
    """
    check_resampling(resamples, level)
    names = metrics_of(rows) if names is None else names
    values = values_of(rows, names)
    drawn = resampled(rows, names, seed, resamples, blocks)
    return {name: estimate_of(get_metric(name), values[name], drawn[name], level) for name in names}


def paired_difference(
    y: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    metric: str,
    threshold: float = 0.5,
    *,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
    blocks: ArrayLike | None = None,
) -> Estimate:
    """Metric of `first` minus metric of `second`, two scores of the same rows, paired.

    Scores are [n], or of classes [n, K].

    With `blocks` [n], for example days, whole blocks are drawn.
    """
    one, other = (scored_for(metric, y, scores, threshold) for scores in (first, second))
    return side_by_side(
        one, other, metric, seed=seed, resamples=resamples, level=level, blocks=blocks
    )[2]


def side_by_side(
    first: AnyScored,
    second: AnyScored,
    metric: str,
    *,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
    blocks: ArrayLike | None = None,
) -> tuple[float | None, float | None, Estimate]:
    """The metric of the same rows as two models scored and answered them, of each and paired.

    Returns:
        Its value of the first and of the second, None where undefined, and the first's minus the
        second's.
    """
    check_resampling(resamples, level)
    pair = (first, second)
    one, other = (values_of(rows, (metric,))[metric] for rows in pair)
    if one is None or other is None:
        return one, other, Estimate(None, words=get_metric(metric).undefined)
    drawn = [resampled(rows, (metric,), seed, resamples, blocks)[metric] for rows in pair]
    low, high = interval(one - other, drawn[0] - drawn[1], level)
    return one, other, Estimate(one - other, low, high)


def check_resampling(resamples: int, level: float) -> None:
    """Raises DeclarationError where no interval can be had of so many resamples at the level."""
    if resamples < 0:
        raise DeclarationError(must_be("resamples", "0 or more", resamples))
    if not 0 < level < 1:
        raise DeclarationError(must_be("level", "between 0 and 1", level))


def resampled(
    rows: AnyScored,
    names: tuple[str, ...],
    seed: int,
    resamples: int,
    blocks: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Values [resamples] of each metric."""
    found: dict[str, list[Floats]] = {name: [] for name in names}
    for counts in resample_counts(len(rows.p), resamples, seed, blocks, rows.order):
        for name in names:
            found[name].append(get_metric(name).compute(rows, counts))
    return {name: np.concatenate([np.empty(0), *parts]) for name, parts in found.items()}


def estimate_of(metric: Metric, value: float | None, drawn: Floats, level: float) -> Estimate:
    """The value of a metric with the interval that its values under resampling [B] give."""
    if value is None:
        return Estimate(None, words=metric.undefined)
    low, high = interval(value, drawn, level)
    if low is None or high is None:
        return Estimate(value)
    return Estimate(value, max(metric.floor, low), min(metric.ceiling, high))


def interval(value: float, drawn: Floats, level: float) -> tuple[float | None, float | None]:
    """The centred interval; None when most resamples have no value."""
    known = drawn[~np.isnan(drawn)]
    if len(known) < 2 or len(known) < len(drawn) / 2:
        return None, None
    centred = known - known.mean() + value
    low, high = np.quantile(centred, [(1 - level) / 2, (1 + level) / 2])
    return float(min(low, value)), float(max(high, value))
