"""Outcomes beside the scores they were predicted with: a label counts once it has arrived."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.labels import completed
from ai_assets.lifecycle.schema.scores import SCORE, SCORES, score_column, scores_in
from ai_assets.stages.binding import StageRun
from ai_assets.stages.learnable import not_learned
from ai_assets.stages.served import last_of_each_row

_SCHEMA: dict[str, Any] = {
    "_row_id": pl.Int64,
    "label": pl.Float64,
    "event_time": pl.Datetime("us", "UTC"),
    "known_at": pl.Datetime("us", "UTC"),
    SCORE: pl.Float64,
    SCORES: pl.List(pl.Float64),
    "bundle": pl.String,
}


@dataclass(frozen=True)
class Outcomes:
    """Scored rows whose labels are known: labels [n], scores and the days."""

    rows: pl.DataFrame

    @property
    def y(self) -> np.ndarray:
        return self.rows["label"].to_numpy().astype(np.float64)

    @property
    def p(self) -> np.ndarray:
        """P(positive) [n], or of several classes their probabilities [n, K]."""
        return scores_in(self.rows[score_column(self.rows.columns)])

    @property
    def days(self) -> np.ndarray | None:
        """The day of each row, numbered: rows of a day share weather and luck. None without one."""
        return days_of(self.rows)

    def of(self, bundle: str) -> "Outcomes":
        """Only what that bundle scored."""
        return Outcomes(self.rows.filter(pl.col("bundle") == bundle))


def days_of(rows: pl.DataFrame) -> np.ndarray | None:
    """The day of each row by its event time, in UTC; None without event times."""
    if "event_time" not in rows.columns:
        return None
    return rows["event_time"].dt.epoch("d").to_numpy()


def arrived_outcomes(run: StageRun, back: int = 0) -> Outcomes:
    """Rows whose labels arrived during the partition, or during the one `back` partitions before.

    Without partitions: all rows that have a label.
    """
    partitions = run.product.partitions
    if partitions is None or run.partition is None:
        return Outcomes(_scored_labels(run, None))
    key = partitions.shift(run.partition, -back)
    span = partitions.span(key)
    rows = _scored_labels(run, partitions.window(key, 1 + run.product.delay))
    arrived = pl.col("known_at").is_between(span.start, span.end, closed="right")
    return Outcomes(rows.filter(arrived))


def known_outcomes(run: StageRun, back: int) -> Outcomes:
    """Rows of the partition `back` before the run's whose labels were known when the run's began.

    By the rows' own time: those whose labels arrive with the next partition's are no fair sample of
    their own (of flights they are those of the last night).
    """
    partitions = run.product.partitions
    assert partitions is not None and run.partition is not None
    rows = _scored_labels(run, partitions.window(partitions.shift(run.partition, -back), 1))
    return Outcomes(rows.filter(pl.col("known_at") <= partitions.span(run.partition).start))


def judged_outcomes(run: StageRun, bundle: str) -> Outcomes:
    """`arrived_outcomes` of rows that the bundle scored and had not learned from."""
    own = arrived_outcomes(run).of(bundle)
    return Outcomes(not_learned(run, bundle, own.rows))


def _scored_labels(run: StageRun, keys: list[str] | None) -> pl.DataFrame:
    """Outcomes joined with scores; partitions that are missing on either side have none.

    A row that batch and server scored with the same bundle counts once.
    """
    several = bool(run.product.declaration.classes)
    columns = ["_row_id", SCORE, *([SCORES] if several else []), "bundle"]
    batch = _there(run, "predictions", keys, columns)
    online = _there(run, "served", keys, columns)
    once = ["_row_id", "bundle"]
    online = online.unique(once, keep="last", maintain_order=True)
    scores = pl.concat([batch, online.join(batch, on=once, how="anti")])
    if several:
        scores = scores.drop_nulls(SCORES)
    rows = _outcomes(run, keys).join(scores, on="_row_id", how="inner").sort("_row_id")
    return rows.select(name for name in _SCHEMA if name in rows.columns)


def _outcomes(run: StageRun, keys: list[str] | None) -> pl.DataFrame:
    """Rows with a label: the table's own, and where it has none what callers told.

    Of rows that the table has, what `labels` takes for told of them; of others, which the source
    may bring later or never, all that was told.
    """
    columns = ["_row_id", "label", "event_time", "known_at"]
    labels = _there(run, "labels", keys, columns)
    told = last_of_each_row(_there(run, "feedback", keys, columns))
    own = completed(labels, told).rows.filter(pl.col("label").is_not_null())
    more = told.join(labels, on="_row_id", how="anti").select(labels.columns)
    return pl.concat([own, more.filter(pl.col("label").is_not_null())])


def _there(run: StageRun, asset: str, keys: list[str] | None, columns: list[str]) -> pl.DataFrame:
    """These columns of an asset's partitions that there are; no rows where there are none."""
    name = run.name(asset)
    if keys is not None:
        keys = [key for key in keys if key in set(run.lake.partitions(name))]
    if keys == [] or not run.lake.exists(name):
        return pl.DataFrame(schema={column: _SCHEMA[column] for column in columns})
    rows = run.lake.scan(name, keys)
    known = rows.collect_schema().names()
    return rows.select(column for column in columns if column in known).collect()
