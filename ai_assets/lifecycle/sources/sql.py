"""Databases, through SQLAlchemy or ADBC, fetched in batches."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.schema.sources import SqlSource
from ai_assets.lifecycle.sources.request import Request, explained, with_variables, without_secrets
from ai_assets.lifecycle.sources.spool import Spool

BATCH_ROWS = 50_000
_ADBC = "adbc+"


def read_sql(request: Request) -> pl.LazyFrame:
    """The rows of a query or table, every column as text.

    A query may use `:start` and `:end`, the bounds of the stretch in UTC as ISO text, to have the
    database pick the rows. A URL `adbc+<driver>://…` is read with the package
    `adbc_driver_<driver>`, any other with SQLAlchemy.
    """
    source = request.source.sql
    assert source is not None
    url = with_variables(source.url, "sql.url")
    with explained("Database", url, "reachable, and its query valid"):
        batches = _adbc(url, source) if url.startswith(_ADBC) else _alchemy(url, source, request)
        return _spooled(batches)


def _spooled(batches: Iterator[pl.DataFrame]) -> pl.LazyFrame:
    spool: Spool | None = None
    for batch in batches:
        spool = spool or Spool(batch.schema)
        spool.add(batch)
    assert spool is not None  # the first batch comes even without rows
    return spool.lazy()


def _alchemy(url: str, source: SqlSource, request: Request) -> Iterator[pl.DataFrame]:
    import sqlalchemy as sa

    engine = sa.create_engine(_rooted(url, request), poolclass=sa.pool.NullPool)
    with engine.connect().execution_options(stream_results=True, yield_per=BATCH_ROWS) as found:
        query = sa.text(source.query) if source.query else _whole(source.table or "", found)
        bounds = _bounds(query, request)
        result = found.execute(query, bounds)
        names = list(result.keys())
        yield _text_frame([], names)
        for rows in result.partitions(BATCH_ROWS):
            yield _text_frame([tuple(row) for row in rows], names)


def _rooted(url: str, request: Request) -> Any:
    """The URL, with the file of an SQLite database relative to the product's folder."""
    import sqlalchemy as sa

    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return parsed
    path = request.folder / str(parsed.database)
    if not path.is_file():  # SQLite would make an empty database of it
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(
            f"source.sql.url must name a database file that exists, but got '{path}'."
            f"{did_you_mean(path.name, near)}"
        )
    return parsed.set(database=str(path))


def _whole(table: str, connection: Any) -> Any:
    import sqlalchemy as sa

    schema, _, name = table.rpartition(".")
    inspector = sa.inspect(connection)
    there = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
    if name not in there:
        raise DataError(
            f"source.sql.table must be a table of the database, but got '{table}'."
            f"{did_you_mean(name, there)}"
        )
    return sa.select(sa.text("*")).select_from(sa.table(name, schema=schema or None))


def _bounds(query: Any, request: Request) -> dict[str, str]:
    named = set(getattr(query, "_bindparams", {}))
    if not named:
        return {}
    if unknown := named - {"start", "end"}:
        raise DataError(
            f"source.sql.query must use no other parameters than :start and :end, but got "
            f":{min(unknown)}."
        )
    if request.span is None:
        raise DataError("source.sql.query must not use :start or :end without partitions.")
    bounds = {"start": request.span.start, "end": request.span.end}
    return {name: bounds[name].strftime("%Y-%m-%dT%H:%M:%SZ") for name in named}


def _text_frame(rows: list[tuple[Any, ...]], names: list[str]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pl.DataFrame([_text(n, values) for n, values in zip(names, columns, strict=True)])


def _text(name: str, values: Any) -> pl.Series:
    """A database may change the type from row to row (SQLite does), so text is the common one."""
    try:
        series = pl.Series(name, values, strict=True)
        if series.dtype not in (pl.Object, pl.Binary) and not series.dtype.is_nested():
            return series.cast(pl.String)
    except (TypeError, pl.exceptions.PolarsError, OverflowError):
        pass
    return pl.Series(name, [None if v is None else _one(v) for v in values], dtype=pl.String)


def _one(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _adbc(url: str, source: SqlSource) -> Iterator[pl.DataFrame]:
    from importlib import import_module

    driver = url.removeprefix(_ADBC).split(":", 1)[0]
    try:
        dbapi = import_module(f"adbc_driver_{driver}.dbapi")
    except ImportError as error:
        raise DataError(
            f"source.sql.url '{without_secrets(url)}' must name an installed ADBC driver, but "
            f"there is none for '{driver}': pip install adbc-driver-{driver}."
        ) from error
    query = source.query or f"SELECT * FROM {source.table}"
    with dbapi.connect(url.removeprefix(_ADBC)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        reader = cursor.fetch_record_batch()
        yield _all_text(pl.DataFrame(reader.schema.empty_table()))
        for batch in reader:
            yield _all_text(pl.DataFrame(batch))


def _all_text(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame([_text(c.name, c.to_list()) for c in frame.get_columns()])
