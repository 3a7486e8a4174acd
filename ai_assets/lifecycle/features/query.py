"""The feature query offline: one DuckDB SELECT from `request` and history or lookup tables."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.features.duck import MEMORY_LIMIT, session
from ai_assets.lifecycle.features.history import batches, open_history
from ai_assets.lifecycle.features.moments import Frame, with_moments
from ai_assets.lifecycle.features.reserved import check_feature_names
from ai_assets.lifecycle.features.sql_errors import check_one_select, explained
from ai_assets.lifecycle.schema.repeats import repeats_of
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    import duckdb

REQUEST = "request"
ROW_ID = "_row_id"
BATCH_ROWS = 100_000


@dataclass(frozen=True)
class Query:
    """A feature query, the declared tables that it reads, and how early the answer is given."""

    sql: str
    specs: Mapping[str, Table]
    request_table: str
    horizon: timedelta
    file: str


def run_features(
    sql: str,
    request: Frame,
    tables: Mapping[str, Frame],
    *,
    specs: Mapping[str, Table],
    request_table: str,
    horizon: timedelta,
    memory_limit: str = MEMORY_LIMIT,
    spill: Path | None = None,
    file: str = "features.sql",
) -> pl.DataFrame:
    """The features of every request row: `_row_id` first, in the order of the request.

    Args:
        sql: one DuckDB SELECT. It sees `request` and every table of `tables`.
        request: the rows to score, with `_row_id`.
        tables: history and lookup tables. The request table's own history stands under its own
            name; without one the request itself is what is seen there.
        specs: the declarations of the tables.
        request_table: name of the table whose rows are scored.
        horizon: how long before a row's time the answer is given.
        memory_limit: what DuckDB may hold before it spills.
        spill: where it spills to; a temporary folder by default.
        file: name of the SQL's file, for messages.

    Raises:
        DeclarationError: the SQL is wrong, or loses or repeats rows of the request.
        DataError: a table is not as declared.
    """
    check_one_select(sql, file)
    rows = request_frame(request, specs[request_table], horizon)
    history = history_frames(tables, request, specs, request_table)
    with session(memory_limit, spill) as connection:
        register(connection, history)
        connection.register(REQUEST, rows)
        found = fetch(connection, sql, file)
    return in_request_order(found, rows[ROW_ID], file)


def stream_features(
    sql: str,
    request: Frame,
    tables: Mapping[str, Frame],
    *,
    specs: Mapping[str, Table],
    request_table: str,
    horizon: timedelta,
    memory_limit: str = MEMORY_LIMIT,
    spill: Path | None = None,
    file: str = "features.sql",
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pl.DataFrame]:
    """Like `run_features`, in batches of at most `batch_rows` request rows, in order.

    What depends on history alone is computed once and shared by all batches. An empty request
    gives one empty batch, so that the columns and types are known. Neither the request nor the
    history is ever held in memory as a whole.
    """
    with open_history(
        tables, request, specs, request_table, sql, memory_limit=memory_limit, spill=spill
    ) as connection:
        yield from batched_features(
            connection, sql, request, specs[request_table], horizon, file, batch_rows
        )


def batched_features(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    request: Frame,
    table: Table,
    horizon: timedelta,
    file: str = "features.sql",
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pl.DataFrame]:
    """The features of the request rows, batch by batch, over a history that is loaded already."""
    from ai_assets.lifecycle.features.hoist import hoist

    check_one_select(sql, file, connection)
    seen: list[pl.Series] = []
    parts = batches(request, batch_rows)
    first, second, query = next(parts), next(parts, None), sql
    if second is not None:
        # Several batches share what depends on history alone; for one it is quicker in one go.
        plan = hoist(sql)
        query = plan.rest
        for statement in plan.statements:
            with explained(connection, sql, file):
                # As tables of the session, which may lie in a file; temporary ones never do.
                connection.execute(statement.replace("REPLACE TEMP TABLE", "REPLACE TABLE", 1))
    for batch in chain([first], [] if second is None else [second], parts):
        rows = request_frame(batch, table, horizon)
        seen.append(rows[ROW_ID])
        connection.register(REQUEST, rows)
        found = in_request_order(fetch(connection, query, file), rows[ROW_ID], file)
        check_feature_names(found.columns[1:], file)
        yield found
    connection.unregister(REQUEST)
    _check_unique(pl.concat(seen))


def request_frame(request: Frame, table: Table, horizon: timedelta) -> pl.DataFrame:
    """The rows to score, with their moments; each must have a `_row_id` of its own."""
    rows = with_moments(request, table, is_request=True, horizon=horizon)
    rows = rows.collect() if isinstance(rows, pl.LazyFrame) else rows
    if ROW_ID not in rows.columns:
        raise DataError(f"the request rows must have the column {ROW_ID}, but have {rows.columns}.")
    _check_unique(rows[ROW_ID])
    return rows


def _check_unique(row_ids: pl.Series) -> None:
    if repeated := len(repeats_of(row_ids)):
        raise DataError(f"{ROW_ID} must be unique among request rows, but {repeated} repeat one.")


def history_frames(
    tables: Mapping[str, Frame], request: Frame, specs: Mapping[str, Table], request_table: str
) -> dict[str, Frame]:
    """The tables that the SQL sees beside `request`, with their moments."""
    seen = {request_table: request, **tables}
    return {
        name: with_moments(frame, specs[name], is_request=False, ahead=name == request_table)
        for name, frame in seen.items()
    }


def register(connection: "duckdb.DuckDBPyConnection", frames: Mapping[str, Frame]) -> None:
    """Make the frames visible to SQL under their names."""
    for name, frame in frames.items():
        connection.register(name, frame)


def fetch(connection: "duckdb.DuckDBPyConnection", sql: str, file: str) -> pl.DataFrame:
    """Run the SELECT; what DuckDB says against it becomes a DeclarationError."""
    with explained(connection, sql, file):
        return connection.sql(sql).pl()


def in_request_order(found: pl.DataFrame, row_ids: pl.Series, file: str) -> pl.DataFrame:
    """The features in the order of `row_ids`, each exactly once, `_row_id` first.

    Raises:
        DeclarationError: the query lost or repeated rows, or did not select `_row_id`.
    """
    if ROW_ID not in found.columns:
        raise DeclarationError(f"{file} must select r.{ROW_ID} from {REQUEST}, but did not.")
    ordered = found.select(ROW_ID, pl.exclude(ROW_ID))
    if ordered[ROW_ID].equals(row_ids):
        return ordered
    _check_rows(ordered[ROW_ID], row_ids, file)
    return row_ids.to_frame().join(ordered, on=ROW_ID, how="left", maintain_order="left")


def _check_rows(found: pl.Series, asked: pl.Series, file: str) -> None:
    lost = asked.len() - asked.is_in(found.implode()).sum()
    repeated = found.len() - found.n_unique()
    strange = found.unique().is_in(asked.implode()).not_().sum()
    if not (lost or repeated or strange):
        return
    raise DeclarationError(
        f"{file} must give one row for each of the {asked.len()} rows of {REQUEST}, but gave "
        f"{found.len()}: {lost} lost, {repeated} repeated, {strange} with another {ROW_ID}. An "
        "inner join loses rows (use LEFT JOIN); a join on a key that is not unique repeats them."
    )
