"""History as the feature query sees it: tables of one DuckDB session, filled batch by batch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.features.duck import session
from ai_assets.lifecycle.features.moments import Frame, with_cheap_moments, with_moments
from ai_assets.lifecycle.features.reads import tables_read
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS = 100_000
# From here on tables lie in a file: in memory they are not compressed, and crowd out the work.
MANY_ROWS = 200_000
# What DuckDB may hold, beside the batches that polars holds.
HELD = "320MB"
_INCOMING = "_incoming"


@contextmanager
def open_history(
    tables: Mapping[str, Frame],
    request: Frame,
    specs: Mapping[str, Table],
    request_table: str,
    sql: str | None = None,
    *,
    memory_limit: str = HELD,
    spill: Path | None = None,
    threads: int | None = None,
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A session whose tables are the history, with the moments at which values become known.

    Where the query `sql` is given, tables that it cannot reach have their columns and no rows.

    Of a large request all tables lie in a temporary file, and what a query cannot hold in
    `memory_limit` in the spill folder. The request table's own history
    stands in `tables`; without one the request itself is what is seen there.

    Raises:
        DataError: a table is not as declared.
        DeclarationError: a `known_at` is no SQL over the row's columns.
    """
    rows = request.lazy().select(pl.len()).collect(engine="streaming").item()
    with session(memory_limit, spill, threads, on_disk=rows > MANY_ROWS) as connection:
        load_history(connection, tables, request, specs, request_table, sql)
        yield connection


def load_history(
    connection: "duckdb.DuckDBPyConnection",
    tables: Mapping[str, Frame],
    request: Frame,
    specs: Mapping[str, Table],
    request_table: str,
    sql: str | None = None,
) -> None:
    """As `open_history`, in a session that has no tables."""
    frames = {request_table: request, **tables}
    read = frames if sql is None else tables_read(sql, frames)
    for name, frame in frames.items():
        rows = frame if name in read else frame.head(0)
        _load(connection, name, rows, specs[name], ahead=name == request_table)


def clear(connection: "duckdb.DuckDBPyConnection") -> None:
    """Remove all tables, so that the session is as it was before anything was loaded."""
    for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        connection.execute(f'DROP TABLE "{name}"')


def stretch(
    connection: "duckdb.DuckDBPyConnection",
    name: str,
    table: Table,
    span: tuple[datetime, datetime] | None,
) -> pl.DataFrame:
    """The rows of a loaded table between two instants, both included; all of them for None."""
    where = ""
    if span is not None and table.time is not None:
        where = f' WHERE CAST("{table.time}" AS TIMESTAMPTZ) BETWEEN ? AND ?'
    # By its full name: what a connection registers under the name would hide it.
    loaded = connection.sql("SELECT current_database() AS name").pl()["name"][0]
    query = f'SELECT * FROM "{loaded}".main."{name}"{where}'
    return connection.sql(query, params=list(span) if where and span else None).pl()


def batches(frame: Frame, rows: int) -> Iterator[pl.DataFrame]:
    """The frame in pieces of `rows` rows, the last one smaller; at least one, empty or not."""
    if isinstance(frame, pl.DataFrame):
        yield from frame.iter_slices(rows) if frame.height else [frame]
        return
    kept, height = [pl.DataFrame(schema=frame.collect_schema())], 0
    some = False
    for part in frame.collect_batches(chunk_size=rows, maintain_order=True):
        kept.append(part)
        height += part.height
        if height < rows:
            continue
        whole = pl.concat(kept)
        full = height - height % rows
        yield from whole.head(full).iter_slices(rows)
        kept, height, some = [whole.slice(full)], height - full, True
    if height or not some:
        yield pl.concat(kept)


def _load(
    connection: "duckdb.DuckDBPyConnection", name: str, frame: Frame, table: Table, *, ahead: bool
) -> None:
    import duckdb

    frame, moments = with_cheap_moments(frame, table, is_request=False, ahead=ahead)
    late = "".join(f', CAST(({sql}) AS TIMESTAMPTZ) AS "{m}"' for m, sql in moments.items())
    rows = f'SELECT *{late} FROM "{_INCOMING}" AS "rows"'
    verb = f'CREATE TABLE "{name}" AS'
    for batch in batches(frame, BATCH_ROWS):
        connection.register(_INCOMING, batch)
        try:
            connection.execute(f"{verb} {rows}")
        except (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.InterruptException):
            raise
        except duckdb.Error:
            # One moment at a time, for a message that names the one that is wrong.
            with_moments(batch, table, is_request=False, horizon=timedelta(0), ahead=ahead)
            raise
        finally:
            connection.unregister(_INCOMING)
        verb = f'INSERT INTO "{name}"'
