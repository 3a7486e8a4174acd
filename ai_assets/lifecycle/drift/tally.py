"""Counts of all rows in the reference's bins, chunk by chunk: one pass and no copy of the frame."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift.columns import (
    CategoryProfile,
    ColumnProfile,
    Floats,
    NumberProfile,
    chunks,
    codes,
    floats,
)


@dataclass(frozen=True)
class Tally:
    """What one column of the rows is like, in the terms of its reference.

    Attributes:
        counts: Rows in each of the reference's bins; missing ones are the last.
        rows: Rows, missing ones included.
        wasserstein: In standard deviations of the reference; None for text and without values.
        new_share: Share of rows of unnamed categories beyond the reference's; None for numbers.
    """

    counts: Floats
    rows: int
    wasserstein: float | None = None
    new_share: float | None = None

    @property
    def null_share(self) -> float:
        """Share of rows without a value."""
        return float(self.counts[-1]) / self.rows


def tallied(columns: Mapping[str, ColumnProfile], rows: pl.DataFrame) -> dict[str, Tally]:
    """The tally of each of the columns over all rows."""
    counters = {name: _counter(column) for name, column in columns.items()}
    for part in chunks(rows.select(list(counters))):
        for name, counter in counters.items():
            counter.add(part[name])
    return {name: counter.tally(rows.height) for name, counter in counters.items()}


def _counter(column: ColumnProfile) -> "_Categories | _Numbers":
    return _Categories(column) if isinstance(column, CategoryProfile) else _Numbers(column)


class _Categories:
    def __init__(self, column: CategoryProfile) -> None:
        self.column = column
        self.counts = np.zeros(len(column.counts) + 2)

    def add(self, values: pl.Series) -> None:
        self.counts += np.bincount(codes(values, self.column), minlength=len(self.counts))

    def tally(self, rows: int) -> Tally:
        before = self.column.other / self.column.rows
        share = max(0.0, float(self.counts[-2]) / rows - before) if rows else None
        return Tally(self.counts, rows, new_share=share)


class _Numbers:
    """Counts values up to each edge, and sums how far values lie outside the reference's range.

    Comparing a chunk with one edge after another is ten times as quick as a search: the chunk
    stays in the cache and nothing branches.
    """

    def __init__(self, column: NumberProfile) -> None:
        self.column = column
        ends = [] if column.low is None or column.high is None else [column.low, column.high]
        self.edges = [*column.edges, *ends]
        self.below = np.zeros(len(self.edges), dtype=np.int64)
        self.known = 0
        self.outside = 0.0

    def add(self, values: pl.Series) -> None:
        found = floats(values)
        missing = np.isnan(found)
        if missing.any():
            found = found[~missing]
        self.known += len(found)
        for place, edge in enumerate(self.edges):
            self.below[place] += np.count_nonzero(found <= edge)
        low, high = self.column.low, self.column.high
        if low is not None and high is not None:
            self.outside += np.maximum(low - found, 0).sum() + np.maximum(found - high, 0).sum()

    def tally(self, rows: int) -> Tally:
        inner = self.below[: len(self.column.edges)]
        counts = np.diff(np.r_[0, inner, self.known])
        counted = np.r_[counts, rows - self.known].astype(float)
        return Tally(counted, rows, wasserstein=self._wasserstein())

    def _wasserstein(self) -> float | None:
        """None without values on either side, or when the reference does not vary."""
        column = self.column
        if not self.known or column.low is None or column.high is None or not column.std:
            return None
        inside = [at for at, edge in enumerate(column.edges) if column.low < edge < column.high]
        places = [column.low, *(column.edges[at] for at in inside), column.high]
        reference = np.cumsum(column.counts)[:-1] / sum(column.counts)
        before = np.r_[0.0, reference[inside], 1.0]
        now = self.below[[-2, *inside, -1]] / self.known
        area = float(np.trapezoid(np.abs(before - now), places))
        return (area + self.outside / self.known) / column.std
