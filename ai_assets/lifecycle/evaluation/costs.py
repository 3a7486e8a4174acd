"""What the answers cost, beside what one and the same answer to everything would."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation.binary import Scored
from ai_assets.lifecycle.evaluation.bootstrap import resample_counts
from ai_assets.lifecycle.evaluation.classes import ScoredClasses
from ai_assets.lifecycle.evaluation.counted import Floats, costs_of
from ai_assets.lifecycle.evaluation.values import ScoredValues

COST_SCHEMA = {
    "answered": pl.String,
    "cost": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "dearer_by": pl.Float64,
    "dearer_low": pl.Float64,
    "dearer_high": pl.Float64,
}
AS_SERVED = "as served"


def table_of_costs(
    rows: Scored | ScoredClasses | ScoredValues,
    names: Sequence[str],
    *,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
) -> pl.DataFrame:
    """Mean cost of the answers, and of always giving each answer there is.

    Args:
        rows: Labelled rows.
        names: Of the answers, in the order of their numbers.
        seed: Of the bootstrap.
        resamples: How many times rows are drawn.
        level: Of the intervals.

    Returns:
        A row a way to answer, `as served` first: `answered`, its mean `cost` a row with `low` and
        `high`, and how much dearer it is than what is served, on the same rows (paired), with an
        interval. No rows where no costs are declared.
    """
    if isinstance(rows, ScoredValues) or rows.costs is None:
        return pl.DataFrame(schema=COST_SCHEMA)
    labels = rows.y.astype(np.intp)
    each = [rows.cost]
    each += [costs_of(labels, np.full(len(labels), at), rows.costs) for at in range(len(names))]
    matrix = np.column_stack([*each, *(cost - rows.cost for cost in each[1:])])
    drawn = [
        counts @ matrix / counts.sum(axis=1, keepdims=True)
        for counts in resample_counts(len(labels), resamples, seed, order=rows.order)
    ]
    means, ends = matrix.mean(axis=0), _ends(drawn, matrix.shape[1], level)
    ways = [AS_SERVED, *(f"always {name}" for name in names)]
    found: list[list[object]] = []
    for at, way in enumerate(ways):
        row: list[object] = [way, float(means[at]), *ends[at]]
        further = at + len(names)
        found.append(row + ([float(means[further]), *ends[further]] if at else [None] * 3))
    return pl.DataFrame(found, schema=COST_SCHEMA, orient="row")


def _ends(drawn: Sequence[Floats], columns: int, level: float) -> list[list[float | None]]:
    """Lower and upper end of each column of resampled means, in pieces [b, m]; None without any."""
    if not drawn:
        return [[None, None]] * columns
    low, high = np.quantile(
        np.concatenate(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0
    ).tolist()
    return [[lowest, highest] for lowest, highest in zip(low, high, strict=True)]
