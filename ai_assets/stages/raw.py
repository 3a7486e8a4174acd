"""raw/<table>: the source's rows, as the source has them."""

from collections.abc import Sequence
from functools import partial

import polars as pl

from ai_assets.lifecycle.cleaning import ColumnsError, check_columns
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source
from ai_assets.stages import shown
from ai_assets.stages.anomalies import changed_rows, ordered
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun
from ai_assets.stages.broken_source import tell_broken_source

HAS_ROWS = Guard("has_rows", "The source gave at least one row.")
_KINDS = {"python": "python", "sql": "sql", "http": "http", "delta": "deltalake"}


def raw_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that copies one table from its source into the lake."""
    return Stage(
        stage="raw",
        asset=f"raw/{name}",
        description=f"{table.description or name} As the source has it.",
        together=partial(copy_sources, name=name, table=table),
        kinds=frozenset({_KINDS.get(table.source.kind, table.source.kind), "polars"}),
        guards=[HAS_ROWS],
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=("sources",),
        settings=table.source.model_dump_json() + ",".join(table.ignore),
    )


def copy_sources(runs: Sequence[StageRun], name: str, table: Table) -> list[Outcome]:
    """Read each partition's rows from the source and replace all the partitions in the lake."""
    product, lake = runs[0].product, runs[0].lake
    keys = [run.key_in(name) for run in runs]
    found = []
    stored = lake.replacing(product.asset(f"raw/{name}"), keys)
    for run, key in zip(runs, keys, strict=True):
        rows, injected = source_rows(run, name, table)
        try:
            check_columns(rows, table, name)
        except ColumnsError as error:
            tell_broken_source(run, name, error.problems)
            raise
        kept = rows.select(pl.exclude(*table.ignore)) if table.ignore else rows
        stored.add(key, kept)
        found.append((kept.collect_schema(), injected))
    written = stored.commit()
    return [
        Outcome(
            written[key].digest,
            {**shown.rows_and_columns(schema, written[key].rows), **injected},
            {HAS_ROWS.name: has_rows(name, run.partition, written[key].rows)},
        )
        for run, key, (schema, injected) in zip(runs, keys, found, strict=True)
    ]


def source_rows(run: StageRun, name: str, table: Table) -> tuple[pl.LazyFrame, dict[str, str]]:
    """The partition's rows, changed by the ordered anomaly if any, and what to say of that."""
    span = run.span if run.product.is_partitioned(name) else None
    anomaly = ordered()
    if anomaly is not None and span is not None and anomaly.applies_to(run.partition):
        return changed_rows(run, name, anomaly).lazy(), {"injected": anomaly.name}
    folder = run.product.folder
    return read_source(table.source, span, table=table, folder=folder, partition=run.partition), {}


def has_rows(name: str, partition: str | None, rows: int) -> Finding:
    """Whether a source gave rows; an empty partition is suspicious, not necessarily wrong."""
    where = f" for {partition}" if partition else ""
    words = f"{name} has {rows:,} rows{where}." if rows else f"{name} has no rows{where}."
    return Finding(rows > 0, words, {"rows": rows}, warn=True)
