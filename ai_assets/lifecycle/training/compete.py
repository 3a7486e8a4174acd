"""Which family wins, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.evaluation.bootstrap import paired_difference
from ai_assets.lifecycle.learners.base import Task
from ai_assets.lifecycle.training.metrics import fold, metric_value, per_row, sign

RESAMPLES = 200


@dataclass(frozen=True)
class Competition:
    """The families' results on the same validation rows.

    Attributes:
        table: A row a family, best first: `family`, `value` of the metric, `difference` to the
            winner and its 95 % interval `low` to `high`, `clear` (the interval excludes 0; null
            for the winner).
        winner: Name of the best family.
        why: A sentence for people.
    """

    table: pl.DataFrame
    winner: str
    why: str


def compete(
    y: np.ndarray, predicted: dict[str, np.ndarray], *, metric: str, task: Task, seed: int
) -> Competition:
    """Compare families by a metric, each paired with the best by a bootstrap of rows.

    Args:
        y: labels of the validation rows [n].
        predicted: predictions [n, K] of each family; of equal values the first named wins.
        metric: name of the metric.
        task: what is predicted.
        seed: of the resampling.

    Raises:
        DataError: no family was given, or the metric does not exist for these rows.
    """
    if not predicted:
        raise DataError("a competition needs at least one family.")
    values = {name: metric_value(metric, task, y, p) for name, p in predicted.items()}
    ranked = sorted(values, key=lambda name: sign(metric) * values[name])
    winner = ranked[0]
    rows = [{"family": winner, "value": values[winner], "difference": 0.0}]
    for name in ranked[1:]:
        low, high = _interval(y, predicted[name], predicted[winner], metric, task, seed)
        row = {"family": name, "value": values[name], "difference": values[name] - values[winner]}
        rows.append(row | {"low": low, "high": high, "clear": low > 0 or high < 0})
    schema = {"family": pl.String, "value": pl.Float64, "difference": pl.Float64}
    schema |= {"low": pl.Float64, "high": pl.Float64, "clear": pl.Boolean}
    table = pl.DataFrame(rows, schema=schema)
    return Competition(table, winner, _why(table, metric, len(y)))


def _interval(
    y: np.ndarray, one: np.ndarray, best: np.ndarray, metric: str, task: Task, seed: int
) -> tuple[float, float]:
    if task == "binary":
        found = paired_difference(y, one[:, 0], best[:, 0], metric, seed=seed, resamples=RESAMPLES)
        if found.low is None or found.high is None:
            raise DataError(f"the interval of {metric} cannot be had: {found.words}.")
        return found.low, found.high
    parts = [per_row(metric, task, y, predicted) for predicted in (one, best)]
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        rows = random.integers(0, len(y), len(y))
        drawn.append(fold(metric, parts[0][rows].mean()) - fold(metric, parts[1][rows].mean()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _why(table: pl.DataFrame, metric: str, rows: int) -> str:
    first, *others = table.to_dicts()
    start = f"{first['family']} has the best {metric} on {rows} validation rows"
    if not others:
        return f"{start}, {first['value']:.4f}; no other family competed."
    second = others[0]
    how = "clearly better than" if second["clear"] else "not clearly better than"
    return (
        f"{start}, {first['value']:.4f}: {how} {second['family']} with {second['value']:.4f} "
        f"(difference {second['difference']:.4f}, 95 % interval {second['low']:.4f} to "
        f"{second['high']:.4f})."
    )
