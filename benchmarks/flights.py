"""The year 2013 as the lifecycle makes it, without a graph: what several benchmarks start from."""

from functools import lru_cache
from pathlib import Path

import polars as pl

import ai_assets.products
from ai_assets.lifecycle.cleaning import clean
from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.labels import label_rows
from ai_assets.lifecycle.product import Product, read_product
from ai_assets.lifecycle.sources import read_source

FOLDER = Path(ai_assets.products.__file__).parent / "flight_delay"
MONTHS = [f"2013-{month:02d}-01" for month in range(1, 13)]


@lru_cache
def product() -> Product:
    """flight_delay as declared."""
    return read_product(FOLDER)


@lru_cache
def cleaned_year() -> dict[str, pl.DataFrame]:
    """Every cleaned table of the whole year."""
    flights = product()
    assert flights.partitions is not None
    year = flights.partitions.cover(MONTHS)
    tables = {}
    for name, table in flights.declaration.tables.items():
        span = year if table.time else None
        raw = read_source(table.source, span, table=table, folder=flights.folder)
        tables[name] = clean(raw.select(pl.exclude(*table.ignore)), table).good.lazy().collect()
    return tables


@lru_cache
def labelled_months() -> dict[str, pl.DataFrame]:
    """Features and labels of each month, by partition key; rows without a label are left out."""
    flights, tables = product(), cleaned_year()
    assert flights.partitions is not None
    declared = flights.declaration
    features = run_features(
        flights.features_sql,
        tables[declared.request],
        tables,
        specs=declared.tables,
        request_table=declared.request,
        horizon=declared.horizon,
        memory_limit="2GB",
    )
    time = declared.tables[declared.request].time
    labels = label_rows(
        tables[declared.request], declared.label.sql, time, declared.label.arrives_after
    )
    rows = labels.drop_nulls("label").join(features, on="_row_id").sort("event_time", "_row_id")
    spans = {month: flights.partitions.span(month) for month in MONTHS}
    return {
        month: rows.filter(pl.col("event_time").is_between(s.start, s.end, closed="left"))
        for month, s in spans.items()
    }
