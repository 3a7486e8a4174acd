"""When each value becomes known: the columns `<column>_known_at`, `known_at`, `prediction_time`."""

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.errors import DataError, DeclarationError, did_you_mean
from ai_assets.lifecycle.features.duck import Streamed, connect
from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    import duckdb

_LOCAL = threading.local()
Frame = pl.DataFrame | pl.LazyFrame

KNOWN_AT = "known_at"
PREDICTION_TIME = "prediction_time"
INSTANT = pl.Datetime("us", "UTC")


def with_moments(
    frame: Frame,
    table: Table,
    *,
    is_request: bool,
    horizon: timedelta | None = None,
    ahead: bool = False,
    connection: "duckdb.DuckDBPyConnection | None" = None,
) -> Frame:
    """The frame with the moments at which its values become known. Moments it has are kept.

    Args:
        frame: rows of the table. Stays lazy if it is, unless a moment must be computed by SQL.
        table: the declaration; its `known_at` are SQL over the row's own columns.
        is_request: these are the rows to score: `prediction_time` is added, late columns that are
            absent are filled with null, and rows are known ahead of time.
        horizon: how long before a row's time the answer is given.
        ahead: rows are known ahead of time although they are history (the request table's own).
        connection: computes moments given as SQL; by default one that this thread keeps.

    Raises:
        DataError: an instant has no time zone, or the time column is missing.
        DeclarationError: a `known_at` is no SQL over the row's columns.
    """
    frame, missing = with_cheap_moments(frame, table, is_request=is_request, ahead=ahead)
    if missing:
        frame = _evaluated(frame, missing, connection or _connection())
    columns = frame.collect_schema().names()
    if is_request and PREDICTION_TIME not in columns and table.time and horizon is not None:
        moment = pl.col(_time_column(table, columns)).cast(INSTANT) - horizon
        frame = frame.with_columns(moment.alias(PREDICTION_TIME))
    return frame


class RequestMoments:
    """`with_moments` for requests as a server gets them, without the work that all have in common.

    Those are rows that have every declared column but the late ones, in the declared types, and
    nothing else. Expressions of polars cost more than a few rows are worth; series do not.

    Args:
        table: the declaration of the request.
        horizon: how long before a row's time the answer is given.
        extra: a column that the rows have beside the declared ones, as their last.
    """

    def __init__(self, table: Table, horizon: timedelta, extra: pl.Series) -> None:
        late = table.late_columns
        self._asked = {n: TYPES[c.type] for n, c in table.columns.items() if n not in late}
        self._asked[extra.name] = extra.dtype
        self._order = list(self._asked)
        self._absent = {name: TYPES[table.columns[name].type] for name in late}
        self._absent |= {f"{name}_{KNOWN_AT}": INSTANT for name in late}
        self._time = table.time if table.known_at is None else None
        self._horizon = pl.Series([horizon], dtype=pl.Duration("us"))
        self.schema = pl.Schema(self._asked | self._absent | {PREDICTION_TIME: INSTANT})

    def take(self, rows: pl.DataFrame) -> bool:
        """Whether these rows are such."""
        return (
            self._time is not None
            and rows.columns == self._order
            and rows.dtypes == list(self._asked.values())
        )

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with their moments, in the schema `schema`."""
        assert self._time is not None
        moment = (rows[self._time].cast(INSTANT) - self._horizon).alias(PREDICTION_TIME)
        nothing = [None] * rows.height
        absent = [pl.Series(name, nothing, dtype) for name, dtype in self._absent.items()]
        return rows.hstack([*absent, moment])


def with_cheap_moments(
    frame: Frame, table: Table, *, is_request: bool, ahead: bool = False
) -> tuple[Frame, dict[str, str]]:
    """The frame with the moments that need no SQL, and by name the SQL of those still missing."""
    if is_request:
        frame = _with_absent_late_columns(frame, table)
    frame = _as_declared(frame, table)
    columns = frame.collect_schema().names()
    asked = {f"{name}_{KNOWN_AT}": sql for name, sql in table.late_columns.items()}
    if table.known_at is not None:
        asked[KNOWN_AT] = table.known_at
    elif table.time and not (is_request or ahead) and KNOWN_AT not in columns:
        frame = frame.with_columns(pl.col(table.time).cast(INSTANT).alias(KNOWN_AT))
    return frame, {name: sql for name, sql in asked.items() if name not in columns}


def _with_absent_late_columns(frame: Frame, table: Table) -> Frame:
    """A payload has no late columns: they are null, and become known never."""
    have = set(frame.collect_schema().names())
    absent = [name for name in table.late_columns if name not in have]
    nulls = [pl.lit(None, TYPES[table.columns[name].type]).alias(name) for name in absent]
    nevers = [
        pl.lit(None, INSTANT).alias(f"{name}_{KNOWN_AT}")
        for name in absent
        if f"{name}_{KNOWN_AT}" not in have
    ]
    # To divide a few rows' columns among threads costs more than to make them.
    return frame.with_columns_seq(nulls + nevers) if absent else frame


def _as_declared(frame: Frame, table: Table) -> Frame:
    """Declared columns in their declared types; every other instant must have a zone."""
    casts = []
    for name, dtype in frame.collect_schema().items():
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
            raise DataError(f"column '{name}' must hold instants in UTC, but has no time zone.")
        declared = table.columns.get(name)
        if declared is not None and dtype != TYPES[declared.type]:
            casts.append(pl.col(name).cast(TYPES[declared.type]))
        elif isinstance(dtype, pl.Datetime) and dtype != INSTANT:
            casts.append(pl.col(name).cast(INSTANT))
    return frame.with_columns(casts) if casts else frame


def _evaluated(
    frame: Frame, moments: Mapping[str, str], connection: "duckdb.DuckDBPyConnection"
) -> pl.DataFrame:
    """The moments by SQL, beside the row's own columns."""
    import duckdb

    rows = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    connection.register("rows", Streamed(rows))
    try:
        found = _selected(connection, moments)
    except duckdb.Error:
        _name_the_wrong_one(connection, moments)
        raise
    finally:
        connection.unregister("rows")
    return rows.with_columns(found)


def _name_the_wrong_one(
    connection: "duckdb.DuckDBPyConnection", moments: Mapping[str, str]
) -> None:
    import duckdb

    for name, sql in moments.items():
        try:
            _selected(connection, {name: sql})
        except duckdb.Error as error:
            first = str(error).split("\n")[0]
            raise DeclarationError(
                f"{name} must be SQL over the row's own columns, but '{sql}' is not: {first}"
            ) from error


def _selected(connection: "duckdb.DuckDBPyConnection", moments: Mapping[str, str]) -> pl.DataFrame:
    columns = (f'CAST(({sql}) AS TIMESTAMPTZ) AS "{name}"' for name, sql in moments.items())
    found = pl.DataFrame(connection.sql(f'SELECT {", ".join(columns)} FROM "rows"'))
    return found.cast(dict.fromkeys(moments, INSTANT))


def _connection() -> "duckdb.DuckDBPyConnection":
    """One database in memory a thread: opening one costs more than the moments of a month."""
    if not hasattr(_LOCAL, "connection"):
        _LOCAL.connection = connect()
    return _LOCAL.connection


def _time_column(table: Table, columns: list[str]) -> str:
    assert table.time is not None
    if table.time not in columns:
        raise DataError(
            f"the request rows must have the time column '{table.time}'."
            f"{did_you_mean(table.time, columns)}"
        )
    return table.time
