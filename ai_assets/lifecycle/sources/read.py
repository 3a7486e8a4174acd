"""One way in to all kinds of sources."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.partitions import Partitions, Span
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources.casts import cast
from ai_assets.lifecycle.sources.delta import read_delta
from ai_assets.lifecycle.sources.files import read_csv, read_ndjson, read_parquet
from ai_assets.lifecycle.sources.folder import read_folder
from ai_assets.lifecycle.sources.http import read_http
from ai_assets.lifecycle.sources.landing import Landed, read_landing
from ai_assets.lifecycle.sources.python import read_python
from ai_assets.lifecycle.sources.reach import reach
from ai_assets.lifecycle.sources.request import Request
from ai_assets.lifecycle.sources.sql import read_sql

READERS: Mapping[str, Callable[[Request], pl.LazyFrame]] = {
    "csv": read_csv,
    "parquet": read_parquet,
    "ndjson": read_ndjson,
    "delta": read_delta,
    "sql": read_sql,
    "http": read_http,
    "folder": read_folder,
    "landing": read_landing,
    "python": read_python,
}


@dataclass(frozen=True)
class Delivery:
    """What a source gives for a stretch of time.

    Attributes:
        rows: Those of the stretch.
        strays: One row about what else lies in the stretch's file, and is read for no other:
            `rows`, how many, and `first` and `last`, their times. None where the place is the same
            for all.
    """

    rows: pl.LazyFrame
    strays: pl.LazyFrame | None


def read_delivery(
    source: Source,
    span: Span | None,
    *,
    table: Table,
    folder: Path,
    partition: str | None = None,
    partitions: Partitions | None = None,
    landed: tuple[Landed, ...] = (),
) -> Delivery:
    """What a source has for a stretch of time, as it has it.

    CSV, NDJSON and SQL give text throughout, so that a bad value is quarantined by cleaning
    instead of failing the read; the other kinds give their own types.

    Args:
        source: where from.
        span: the stretch of event time [start, end), or None for all rows. The rows of a path
            that is a template are filtered by the table's time column too. Rows whose time cannot
            be read are kept, for cleaning to reject.
        table: the declaration; its `time` names the column to filter by.
        folder: the product's folder, to which relative paths belong.
        partition: the partition's key, for templates.
        partitions: how the product is cut, to know which other partitions read the same file;
            without it none does.
        landed: of a landing folder: the files that were taken.

    Raises:
        DataError: the source is missing, damaged or refuses; says which, where and what would do.
    """
    request = Request(source, table, folder, span, partition, landed)
    rows = READERS[source.kind](request)
    rows = _without_null_types(rows, table)
    # Where there is no column of time, check_columns says so, with the nearest name.
    if span is None or table.time is None or table.time not in rows.collect_schema():
        return Delivery(rows, None)
    given = rows.collect_schema()[table.time]
    moment, within = _within(given, table.time, span)
    # A time that cannot be read belongs to no partition; it is shown in each rather than lost.
    # Said by the column as it is, and not by fill_null: then polars skips the parts of a Parquet
    # file whose statistics lie outside.
    taken = rows.filter(moment.is_null() | within)
    if not source.is_template:
        return Delivery(taken, None)
    whole = span if partitions is None else reach(request, partitions)
    _, read = _within(given, table.time, whole)
    strays = rows.filter(~(moment.is_null() | read)).select(
        rows=pl.len(), first=moment.min(), last=moment.max()
    )
    return Delivery(taken, strays)


def read_source(
    source: Source,
    span: Span | None,
    *,
    table: Table,
    folder: Path,
    partition: str | None = None,
    landed: tuple[Landed, ...] = (),
) -> pl.LazyFrame:
    """The rows of a stretch of time; see `read_delivery`."""
    return read_delivery(
        source, span, table=table, folder=folder, partition=partition, landed=landed
    ).rows


def _within(given: pl.DataType, time: str, span: Span) -> tuple[pl.Expr, pl.Expr]:
    """A row's time, and whether it lies in the stretch."""
    moment, bounds = cast(time, given, "datetime"), (pl.lit(span.start), pl.lit(span.end))
    if given == pl.Date or (isinstance(given, pl.Datetime) and given.time_zone in (None, "UTC")):
        moment, bounds = pl.col(time), (_as(given, span.start), _as(given, span.end))
    return moment, (moment >= bounds[0]) & (moment < bounds[1])


def _as(given: pl.DataType, instant: datetime) -> pl.Expr:
    """The bound of a partition as a value of a type; dates and naive times are UTC.

    Of dates it is the first that is not before the instant. Of times it is the instant itself: a
    partition begins at a whole second, which milliseconds can tell too. One between two of their
    values would be brought to the earlier, at a partition's end as at the beginning of the next.
    """
    plain = instant.astimezone(UTC).replace(tzinfo=None)
    if given == pl.Date:
        return pl.lit((plain - timedelta(microseconds=1)).date() + timedelta(days=1))
    aware = isinstance(given, pl.Datetime) and given.time_zone is not None
    return pl.lit(plain.replace(tzinfo=UTC) if aware else plain, given)


def _without_null_types(rows: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """A column of nothing but nulls has no type of its own; give it the declared one."""
    casts = [
        pl.col(name).cast(TYPES[table.columns[name].type] if name in table.columns else pl.String())
        for name, kind in rows.collect_schema().items()
        if kind == pl.Null
    ]
    return rows.with_columns(casts) if casts else rows
