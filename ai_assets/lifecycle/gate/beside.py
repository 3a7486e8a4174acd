"""Two versions beside each other: every metric of both on the same rows, with the difference."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation.metrics import get_metric
from ai_assets.lifecycle.evaluation.names import OF_COSTS
from ai_assets.lifecycle.gate.pair import Pair

SHOWN: dict[str, tuple[str, ...]] = {
    "binary": ("log_loss", "brier", "roc_auc", "pr_auc", "calibration_error"),
    "multiclass": ("log_loss", "accuracy", "macro_f1"),
    "regression": ("rmse", "mae", "r2"),
}
"""By task, besides what answers cost where that is declared."""

_SCHEMA = {
    "metric": pl.String,
    "in_production": pl.Float64,
    "this": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "says": pl.String,
}


def nothing_beside() -> pl.DataFrame:
    """There is nobody to stand beside."""
    return pl.DataFrame(schema=_SCHEMA)


def metrics_beside(pair: Pair, *, blocks: np.ndarray | None, seed: int) -> pl.DataFrame:
    """The metrics of the task, of both versions on the same rows.

    Args:
        pair: what is in production, and what would replace it.
        blocks: the block (day) of each row [n]; rows of a day are alike.
        seed: of the bootstrap.

    Returns:
        `metric`, `in_production`, `this`, `difference` (this minus that), its 95 % interval `low`
        to `high`, and what that `says`.
    """
    rows = []
    for name in (*(OF_COSTS if pair.costs else ()), *SHOWN[pair.challenger.decision.task]):
        champion, challenger, found = pair.compared(name, blocks=blocks, seed=seed)
        says = _said(name, found.low, found.high)
        rows.append([name, champion, challenger, found.value, found.low, found.high, says])
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _said(metric: str, low: float | None, high: float | None) -> str:
    """Whether the interval lies on one side of no difference, and what that means."""
    if low is None or high is None:
        return "cannot be told"
    if low <= 0 <= high:
        return "as good"
    return "better" if (low > 0) == get_metric(metric).higher_is_better else "worse"
