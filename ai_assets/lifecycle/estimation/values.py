"""Performance of a regression: errors by the labels that arrived; of intervals, what they promise.

How far off a value is stands in no score, so errors are not estimated before labels arrive.
"""

import numpy as np
from numpy.typing import ArrayLike

from ai_assets.lifecycle.evaluation.bootstrap import Estimate, bootstrap
from ai_assets.lifecycle.evaluation.values import scored_values
from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.lifecycle.training.conformal import coverage_words, expected_coverage

JUDGED = ("rmse", "mae")
COVERAGE = "coverage"
NOT_ESTIMATED = Estimate(None, words="not estimated: a value does not tell how far off it is")


def estimated_values(rows: int, interval: Interval | None) -> dict[str, Estimate]:
    """What is known of so many rows before their labels: the coverage that intervals promise."""
    found = dict.fromkeys(JUDGED, NOT_ESTIMATED)
    if interval is None:
        return found
    return found | {COVERAGE: Estimate(interval.coverage, *expected_coverage(rows, interval))}


def realised_values(
    y: ArrayLike,
    p: ArrayLike,
    interval: Interval | None,
    *,
    seed: int,
    blocks: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """Metrics of outcomes [n] and predictions [n], with intervals from resampling whole blocks."""
    rows = scored_values(y, p, interval)
    names = JUDGED if interval is None else (*JUDGED, COVERAGE)
    return bootstrap(rows, names, seed=seed, blocks=blocks)


def as_promised(
    y: np.ndarray,
    p: np.ndarray,
    interval: Interval | None,
    found: Estimate,
    promised: float | None,
) -> tuple[bool, str]:
    """Whether labels bear out what the bundle's test rows had, and that in words.

    Args:
        y: outcomes [n].
        p: predictions [n].
        interval: the bundle's interval, if it has one.
        found: RMSE of these rows with its interval.
        promised: RMSE of the bundle's test rows; None where it did not keep it.
    """
    passed, words = True, f"RMSE is {found}"
    if promised is not None:
        above = found.low is not None and found.low > promised
        words += f", on the bundle's test rows {promised:.4f}"
        words += ": the interval lies above" if above else ""
        passed = not above
    if interval is None:
        return passed, f"{words}."
    inside = int(scored_values(y, p, interval).inside.sum())
    holds, said = coverage_words(inside, len(y), interval)
    return passed and holds, f"{words}. {said}"
