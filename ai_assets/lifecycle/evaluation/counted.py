"""What metrics of counted rows share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.lifecycle.schema.decision import CostMatrix

Floats = NDArray[np.float64]

LOG_LOSS_EPSILON = 1e-15
CALIBRATION_BINS = 10


def ratio(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, NaN where nothing is counted."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def equal_mass_bins(sorted_scores: Floats) -> NDArray[np.intp]:
    """Where each calibration bin starts: equal mass, equal scores never torn apart."""
    rows = len(sorted_scores)
    wanted = np.arange(CALIBRATION_BINS) * rows // CALIBRATION_BINS
    starts = ties_of(sorted_scores)
    return np.unique(starts[np.searchsorted(starts, wanted, side="right") - 1])


def ties_of(sorted_scores: Floats) -> NDArray[np.intp]:
    """Where each run of equal scores starts, shape [g]."""
    return np.flatnonzero(np.r_[True, sorted_scores[1:] != sorted_scores[:-1]])


def costs_of(
    labels: NDArray[Any], answers: NDArray[Any], costs: CostMatrix | None
) -> NDArray[np.float64]:
    """What each answer costs [n], of numbers of labels and answers [n]; NaN without costs."""
    if costs is None:
        return np.full(len(labels), np.nan)
    found: Floats = np.array(costs, np.float64)[labels.astype(np.intp), answers.astype(np.intp)]
    return found
