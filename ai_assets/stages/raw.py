"""raw/<table>: the source's rows, as the source has them."""

from functools import partial

import polars as pl

from ai_assets.lifecycle.cleaning import check_columns
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source
from ai_assets.stages import shown
from ai_assets.stages.anomalies import changed_rows, ordered
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun

HAS_ROWS = Guard("has_rows", "The source gave at least one row.")
_KINDS = {"python": "python", "sql": "sql", "http": "http", "delta": "deltalake"}


def raw_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that copies one table from its source into the lake."""
    return Stage(
        stage="raw",
        asset=f"raw/{name}",
        description=f"{table.description or name} As the source has it.",
        compute=partial(copy_source, name=name, table=table),
        kinds=frozenset({_KINDS.get(table.source.kind, table.source.kind), "polars"}),
        guards=[HAS_ROWS],
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=("sources",),
        settings=table.source.model_dump_json() + ",".join(table.ignore),
    )


def copy_source(run: StageRun, name: str, table: Table) -> Outcome:
    """Read the partition's rows from the source and replace the partition in the lake."""
    span = run.span if run.product.is_partitioned(name) else None
    rows = read_source(
        table.source, span, table=table, folder=run.product.folder, partition=run.partition
    )
    anomaly = ordered()
    changed = anomaly is not None and span is not None and anomaly.applies_to(run.partition)
    if anomaly is not None and changed:
        rows = changed_rows(run, name, anomaly).lazy()
    check_columns(rows, table, name)
    kept = rows.select(pl.exclude(*table.ignore)) if table.ignore else rows
    partition = run.partition if span is not None else None
    written = run.lake.replace(run.name(f"raw/{name}"), kept, partition)
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(kept, written.rows),
            **({"injected": anomaly.name} if anomaly and changed else {}),
        },
        {"has_rows": has_rows(name, partition, written.rows)},
    )


def has_rows(name: str, partition: str | None, rows: int) -> Finding:
    """Whether a source gave rows; an empty partition is suspicious, not necessarily wrong."""
    where = f" for {partition}" if partition else ""
    words = f"{name} has {rows:,} rows{where}." if rows else f"{name} has no rows{where}."
    return Finding(rows > 0, words, {"rows": rows}, warn=True)
