"""Outcomes beside the scores they were predicted with: a label counts once it has arrived."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.stages.binding import StageRun

_SCHEMA: dict[str, Any] = {
    "_row_id": pl.Int64,
    "label": pl.Float64,
    "event_time": pl.Datetime("us", "UTC"),
    "known_at": pl.Datetime("us", "UTC"),
    "probability": pl.Float64,
    "bundle": pl.String,
}


@dataclass(frozen=True)
class Outcomes:
    """Scored rows whose labels are known: labels and scores, float64 [n], and the days."""

    rows: pl.DataFrame

    @property
    def y(self) -> np.ndarray:
        return self.rows["label"].to_numpy().astype(np.float64)

    @property
    def p(self) -> np.ndarray:
        return self.rows["probability"].to_numpy().astype(np.float64)

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


def _scored_labels(run: StageRun, keys: list[str] | None) -> pl.DataFrame:
    """Labels joined with scores; partitions that are missing on either side have none."""
    if keys is not None:
        names = (run.name("labels"), run.name("predictions"))
        there = [set(run.lake.partitions(name)) for name in names]
        keys = [key for key in keys if key in there[0] & there[1]]
        if not keys:
            return pl.DataFrame(schema=_SCHEMA)
    labels = run.lake.scan(run.name("labels"), keys).filter(pl.col("label").is_not_null())
    scores = run.lake.scan(run.name("predictions"), keys).select("_row_id", "probability", "bundle")
    rows = labels.join(scores, on="_row_id", how="inner").sort("_row_id").collect()
    return rows.select(name for name in _SCHEMA if name in rows.columns)
