"""Which family wins, and how sure that is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.learners.base import Task
from ai_assets.lifecycle.learners.blend import FAMILY as BLEND
from ai_assets.lifecycle.schema.calibration import Method
from ai_assets.lifecycle.training.blending import blend_weights, pool_of
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.differences import difference_interval
from ai_assets.lifecycle.training.metrics import metric_value, sign


@dataclass(frozen=True)
class Competition:
    """The families' results on the same held-out rows.

    Attributes:
        table: A row a contestant, best first: `family`, `value` of the metric, `difference` to the
            winner and its 95 % interval `low` to `high`, `clear` (the interval excludes 0; null
            for the winner).
        winner: Name of the best family, or `blend`.
        weights: What each family has to say in the winner; they sum to 1.
        why: A sentence for people.
    """

    table: pl.DataFrame
    winner: str
    weights: dict[str, float]
    why: str


def compete(
    y: np.ndarray,
    predicted: dict[str, np.ndarray],
    *,
    metric: str,
    task: Task,
    seed: int,
    calibration: Method = "none",
    blend: bool = False,
    blocks: np.ndarray | None = None,
) -> Competition:
    """Compare families by a metric, each paired with the winner by a bootstrap of rows.

    All are calibrated first, as they would be served. A blend of them costs the server more than
    one family, so it wins only where it is clearly better than the best of them.

    Args:
        y: labels [n] of rows that none learned from.
        predicted: predictions [n, K] of each family; of equal values the first named wins.
        metric: name of the metric.
        task: what is predicted.
        seed: of the resampling.
        calibration: how the winner will be calibrated.
        blend: whether a blend takes part.
        blocks: the block of each row [n], of which whole ones are drawn: of rows that were judged
            several times, the row.

    Raises:
        DataError: no family was given, or the metric does not exist for these rows.
    """
    if not predicted:
        raise DataError("a competition needs at least one family.")

    def calibrated(p: np.ndarray) -> np.ndarray:
        return fit_calibration(calibration, p, y).apply(p)

    def loss(p: np.ndarray) -> float:
        return sign(metric) * metric_value(metric, task, y, calibrated(p))

    weights = {name: {name: 1.0} for name in predicted}
    if blend and len(predicted) > 1:
        found = blend_weights(predicted, task=task, loss=loss)
        weights |= {BLEND: found} if len(found) > 1 else {}
    answers = {name: calibrated(pool_of(predicted, w, task)) for name, w in weights.items()}
    values = {name: metric_value(metric, task, y, p) for name, p in answers.items()}
    ranked = sorted(values, key=lambda name: sign(metric) * values[name])

    def against(name: str, best: str) -> dict[str, Any]:
        low, high = difference_interval(y, answers[name], answers[best], metric, seed, blocks)
        row = {"family": name, "value": values[name], "difference": values[name] - values[best]}
        return row | {"low": low, "high": high, "clear": low > 0 or high < 0}

    winner = ranked[0]
    if winner == BLEND and not against(ranked[1], BLEND)["clear"]:
        winner = ranked[1]
    rows = [
        {"family": name, "value": values[name], "difference": 0.0}
        if name == winner
        else against(name, winner)
        for name in ranked
    ]
    schema = {"family": pl.String, "value": pl.Float64, "difference": pl.Float64}
    schema |= {"low": pl.Float64, "high": pl.Float64, "clear": pl.Boolean}
    table = pl.DataFrame(rows, schema=schema)
    rows_held_out = len(y) if blocks is None else len(np.unique(blocks))
    return Competition(table, winner, weights[winner], _why(table, metric, winner, rows_held_out))


def _why(table: pl.DataFrame, metric: str, winner: str, rows: int) -> str:
    first = table.row(by_predicate=pl.col("family") == winner, named=True)
    others = table.filter(pl.col("family") != winner).to_dicts()
    start = f"{winner} has {metric} {first['value']:.4f} on {rows} held-out rows"
    if not others:
        return f"{start}; no other family competed."
    second = others[0]
    interval = f"difference {second['difference']:.4f}, 95 % interval {second['low']:.4f} to "
    interval += f"{second['high']:.4f}"
    if second["family"] == BLEND and table["family"][0] == BLEND:
        return (
            f"{start}; a blend with {second['value']:.4f} is not clearly better and would cost "
            f"more ({interval})."
        )
    how = "clearly better than" if second["clear"] else "not clearly better than"
    return f"{start}: {how} {second['family']} with {second['value']:.4f} ({interval})."
