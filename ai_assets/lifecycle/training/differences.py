"""How sure it is that one set of predictions is better than another."""

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.evaluation.bootstrap import paired_difference

RESAMPLES = 200
LEAST_DAYS = 10
"""With fewer days an interval of drawn days says little; rows are drawn then."""


def difference_interval(
    y: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metric: str,
    seed: int,
    blocks: np.ndarray | None = None,
) -> tuple[float, float]:
    """The 95 % interval of the metric of `first` minus that of `second`, by a paired bootstrap.

    Args:
        y: labels [n].
        first: predictions [n, K] of these rows.
        second: other predictions [n, K] of them.
        metric: name of the metric.
        seed: of the resampling.
        blocks: the block of each row [n], of which whole ones are drawn; default: rows are.

    Raises:
        DataError: most resamples have no value of the metric.
    """
    found = paired_difference(
        y, first, second, metric, seed=seed, resamples=RESAMPLES, blocks=blocks
    )
    if found.low is None or found.high is None:
        raise DataError(f"the interval of {metric} cannot be had: {found.words}.")
    return found.low, found.high


def days_of(times: np.ndarray | None) -> np.ndarray | None:
    """The day (UTC) of each row [n], to be drawn as one; None where times tell too few days."""
    if times is None or not np.issubdtype(times.dtype, np.datetime64):
        return None
    days = times.astype("datetime64[D]")
    return days if len(np.unique(days)) >= LEAST_DAYS else None
