"""Two ways to a month of many rows: a chunk at a time, and two sources of them as one.

A month of a server's answers does not fit into memory, so nothing here holds it.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import polars as pl

# Rows that are Python objects at once: some 100 MB of a product with many columns.
ROWS_AT_ONCE = 50_000


def in_chunks(
    rows: Iterable[Any], frame: Callable[[list[Any]], pl.DataFrame], at_once: int = ROWS_AT_ONCE
) -> Iterator[pl.DataFrame]:
    """Frames of so many rows each; at least one, which tells the columns."""
    rest = iter(rows)
    yield frame(list(islice(rest, at_once)))
    while chunk := list(islice(rest, at_once)):
        yield frame(chunk)


def merged(
    new: Iterable[pl.DataFrame], old: Iterable[pl.DataFrame], by: str
) -> Iterator[pl.DataFrame]:
    """The rows of both in the order of a column, without those old ones that are among the new.

    Args:
        new: frames, each sorted by the column, and each after the one before; the first tells the
            columns.
        old: the same; a column that it lacks is null.
        by: the column, which no two rows of one source share.
    """
    rest = _Ahead(iter(old), by)
    columns: pl.DataFrame | None = None
    for frame in new:
        columns = frame.head(0) if columns is None else columns
        if frame.is_empty():
            yield frame
            continue
        for before in rest.until(frame[by][0], inclusive=False):
            yield _alike(before, columns)
        beside = list(rest.until(frame[by][-1], inclusive=True))
        if not beside:
            yield frame
            continue
        left = _alike(pl.concat(beside, how="diagonal"), columns).join(frame, on=by, how="anti")
        yield pl.concat([left, frame]).sort(by)
    for after in rest.all():
        yield after if columns is None else _alike(after, columns)


class _Ahead:
    """Sorted frames that are read as far as is asked for."""

    def __init__(self, frames: Iterator[pl.DataFrame], by: str) -> None:
        self._frames, self._by = frames, by
        self._next: pl.DataFrame | None = None

    def until(self, value: str, *, inclusive: bool) -> Iterator[pl.DataFrame]:
        """The rows not given yet that come before the value, or up to it."""
        before = pl.col(self._by) <= value if inclusive else pl.col(self._by) < value
        while (frame := self._next if self._next is not None else self._read()) is not None:
            given = frame.filter(before)
            self._next = frame.slice(given.height) if given.height < frame.height else None
            if given.height:
                yield given
            if self._next is not None:
                return

    def all(self) -> Iterator[pl.DataFrame]:
        """All rows not given yet."""
        if self._next is not None:
            yield self._next
        yield from self._frames

    def _read(self) -> pl.DataFrame | None:
        return next((frame for frame in self._frames if frame.height), None)


def _alike(frame: pl.DataFrame, columns: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([columns, frame], how="diagonal").select(columns.columns)
