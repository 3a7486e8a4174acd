"""The same metrics for parts of the rows: where the model is worse than it is on the whole."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be
from ai_assets.lifecycle.evaluation.binary import Scored
from ai_assets.lifecycle.evaluation.metrics import AnyScored, get_metric, scored, values_of
from ai_assets.lifecycle.schema.decision import CostMatrix
from ai_assets.lifecycle.schema.interval import Interval

MAIN_METRICS = ("roc_auc", "pr_auc", "log_loss", "brier", "calibration_error")
CLASS_METRICS = ("accuracy", "macro_f1", "log_loss", "brier", "calibration_error")
VALUE_METRICS = ("rmse", "mae", "mape", "r2")
MISSING = "(missing)"
REST = "(rest)"

# A number with more values than this is cut into fifths: a slice a value would hold no rows.
_MOST_NUMBERS = 20
_FIFTHS = 5


def evaluate_slices(
    frame: pl.DataFrame,
    y: ArrayLike,
    p: ArrayLike,
    threshold: float,
    columns: Sequence[str],
    min_rows: int = 100,
    metrics: tuple[str, ...] | None = None,
    *,
    values: bool = False,
    interval: Interval | None = None,
    costs: CostMatrix | None = None,
) -> pl.DataFrame:
    """Judge each value of each slice column by itself.

    Args:
        frame: The slice columns, a row for each of y and p.
        y: Labels, 0 or 1, the numbers of classes, or the values of a regression, shape [n].
        p: Scores, P(positive) [n], of several classes [n, K], or predicted values [n].
        threshold: A row is predicted positive when its score is at least this.
        columns: Slice columns. Text and few-valued columns give a slice a value; numbers with
            more than 20 values are cut into fifths; missing values are a slice of their own.
        min_rows: Values with fewer rows are judged together, as `(rest)`; where even these are
            fewer, the rows are listed without metrics, so that rows always add up.
        metrics: Names of the metrics; by default the main ones of such scores.
        values: Whether labels and scores are the values of a regression.
        interval: Of a regression: the interval around each value.
        costs: Of classes: what answers cost.

    Returns:
        `slice`, `value`, `rows`, `positives`, then per metric its value and
        `<metric>_difference`, the value minus that of all rows. Null where undefined, as is
        `positives` of what is not binary.

    Raises:
        DeclarationError: A slice column is not in the frame, or a metric is unknown.
    """
    for name in columns:
        if name not in frame.columns:
            raise DeclarationError(must_be("a slice", frame.columns, name))
    labels, scores = np.asarray(y, dtype=np.float64).ravel(), np.asarray(p, dtype=np.float64)
    if metrics is None:
        metrics = _main_metrics(scores, values, interval)
        metrics += ("cost",) if costs is not None else ()
    for name in metrics:
        get_metric(name)
    if len(labels) != frame.height:
        raise DataError(must_be("y", f"as long as the frame ({frame.height} rows)", len(labels)))
    schema = _schema(metrics)
    if not columns:
        return pl.DataFrame(schema=schema)
    judge = partial(scored, threshold=threshold, values=values, interval=interval, costs=costs)
    whole = values_of(judge(labels, scores), metrics)
    rows = [
        _row(name, value, judge(labels[where], scores[where]), whole, min_rows)
        for name in columns
        for value, where in _parts(frame[name], min_rows)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def worst_slices(slices: pl.DataFrame, metric: str, count: int = 5) -> pl.DataFrame:
    """The `count` slices that are worst by the metric, worst first."""
    known = slices.filter(pl.col(metric).is_not_null())
    return known.sort(
        metric, "slice", "value", descending=[not get_metric(metric).higher_is_better, False, False]
    ).head(count)


def _schema(metrics: tuple[str, ...]) -> dict[str, type[pl.DataType]]:
    numbers = [name for metric in metrics for name in (metric, f"{metric}_difference")]
    return {
        "slice": pl.String,
        "value": pl.String,
        "rows": pl.Int64,
        "positives": pl.Int64,
        **dict.fromkeys(numbers, pl.Float64),
    }


def _parts(column: pl.Series, min_rows: int) -> list[tuple[str, np.ndarray]]:
    """Each value as text with the positions of its rows; the rare values together at the end."""
    words = _as_words(column)
    places = (
        pl.DataFrame({"value": words})
        .with_row_index("place")
        .group_by("value")
        .agg("place")
        .sort("value")
    )
    common = places.filter(pl.col("place").list.len() >= min_rows)
    rare = places.filter(pl.col("place").list.len() < min_rows)
    parts = [
        (value, place.to_numpy())
        for value, place in zip(common["value"], common["place"], strict=True)
    ]
    if rare.height:
        parts.append((REST, np.sort(rare["place"].explode().to_numpy())))
    return parts


def _as_words(column: pl.Series) -> pl.Series:
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype.is_numeric() and column.n_unique() > _MOST_NUMBERS:
        column = _fifths(column)
    return column.cast(pl.String).fill_null(MISSING)


def _fifths(column: pl.Series) -> pl.Series:
    inner = [column.quantile(part / _FIFTHS, "nearest") for part in range(1, _FIFTHS)]
    edges = sorted({float(edge) for edge in inner if edge is not None})
    marks = [f"{edge:.6g}" for edge in edges]
    labels = [f"up to {marks[0]}"]
    labels += [f"{low} to {high}" for low, high in pairwise(marks)]
    labels.append(f"above {marks[-1]}")
    known = column.is_not_null().to_numpy()
    place = np.searchsorted(edges, column.cast(pl.Float64).fill_null(0).to_numpy(), side="left")
    return pl.Series([labels[i] if k else None for i, k in zip(place, known, strict=True)])


def _main_metrics(scores: np.ndarray, values: bool, interval: Interval | None) -> tuple[str, ...]:
    if values:
        return VALUE_METRICS + (("coverage",) if interval is not None else ())
    return MAIN_METRICS if scores.ndim == 1 else CLASS_METRICS


def _row(
    name: str, value: str, part: AnyScored, whole: dict[str, float | None], min_rows: int
) -> list[object]:
    positives = int(part.y.sum()) if isinstance(part, Scored) else None
    row: list[object] = [name, value, len(part.y), positives]
    values = values_of(part, tuple(whole)) if len(part.y) >= min_rows else {}
    for metric, of_all in whole.items():
        found = values.get(metric)
        row += [found, None if found is None or of_all is None else found - of_all]
    return row
