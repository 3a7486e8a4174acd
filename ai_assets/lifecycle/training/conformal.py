"""Intervals around predicted values whose coverage holds whatever the model: split conformal.

Vovk et al. (2005), "Algorithmic learning in a random world"; Lei et al. (2018), "Distribution-free
predictive inference for regression", algorithm 2. It promises coverage over rows like those that it
was measured on, in any order; where the world moves on, what was promised must be watched.
"""

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.interval import ROOT, Interval, rank_of, spread

BY_CHANCE = 0.01
"""Coverage is too small where chance alone would give so little less often than this."""


def fit_interval(
    y: np.ndarray,
    predicted: np.ndarray,
    coverage: float,
    *,
    counts: bool = False,
) -> Interval:
    """The interval from absolute errors of rows that the model did not learn from.

    Args:
        y: outcomes [n].
        predicted: predictions [n] of them, in the same unit.
        coverage: the share of outcomes that it is to hold.
        counts: whether outcomes are counts: never below 0, and spread with the root of their mean.

    Raises:
        DataError: there are too few rows to bound such a share.
    """
    rank = rank_of(coverage, len(y))
    if rank > len(y):
        least = next(rows for rows in range(len(y), 10**9) if rank_of(coverage, rows) <= rows)
        raise DataError(
            f"an interval that holds {coverage:g} of the outcomes needs at least {least} "
            f"validation rows, but got {len(y)}. Declare a smaller label.interval."
        )
    floor, scale = (0.0, ROOT) if counts else (None, None)
    errors = np.sort(np.abs(y - predicted) / spread(predicted, scale))
    return Interval(coverage, float(errors[rank - 1]), len(y), floor, scale)


def chance_of_coverage(inside: int, rows: int, interval: Interval) -> float:
    """How likely so few of new rows, or fewer, lie within an interval that keeps its promise.

    With the interval given, its true coverage is Beta(k, n + 1 - k), so the number of new rows
    inside is beta-binomial (Vovk 2012, "Conditional validity of inductive conformal predictors").
    Rows that are alike, as those of a day, make so few likelier than it says.

    Args:
        inside: new rows whose outcome lies within.
        rows: new rows.
        interval: the interval, of k = `interval.rank` and n = `interval.rows`.
    """
    from scipy.stats import betabinom

    found = betabinom.cdf(inside, rows, interval.rank, interval.rows + 1 - interval.rank)
    return float(found)


def expected_coverage(rows: int, interval: Interval, level: float = 0.95) -> tuple[float, float]:
    """Between which shares of new rows inside the interval the middle `level` of chance lies."""
    from scipy.stats import betabinom

    shape = (rows, interval.rank, interval.rows + 1 - interval.rank)
    low, high = betabinom.ppf([(1 - level) / 2, (1 + level) / 2], *shape) / rows
    return float(low), float(high)


def coverage_words(inside: int, rows: int, interval: Interval) -> tuple[bool, str]:
    """Whether new rows bear out the interval's coverage, and that in words."""
    chance = chance_of_coverage(inside, rows, interval)
    holds = chance >= BY_CHANCE
    rest = "" if holds else f"; chance alone gives so few with a probability of {chance:.1g}"
    return holds, (
        f"{inside / rows:.1%} of {rows:,} outcomes lie in their interval, declared are "
        f"{interval.coverage:.1%}{rest}."
    )
