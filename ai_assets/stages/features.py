"""features: what a model sees of each request row, by the same SQL offline and online."""

from collections.abc import Mapping

import polars as pl

from ai_assets.lifecycle.features.history import open_history
from ai_assets.lifecycle.features.leakage import Leak, leaks_in
from ai_assets.lifecycle.features.lineage import column_lineage, late_features
from ai_assets.lifecycle.features.query import batched_features
from ai_assets.lifecycle.partitions import missing_partitions
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.durations import format_duration
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun, Upstream

NO_LATE_COLUMNS = Guard(
    "no_late_column_of_the_request",
    "No feature reaches a column of `request` that becomes known after the answer is given.",
    blocking=True,
)
NOTHING_TOO_EARLY = Guard(
    "nothing_known_too_early",
    "Changing every value that was not yet known at the horizon leaves all features the same.",
    blocking=True,
)


def features_stage(product: Product) -> Stage:
    """The stage that runs the feature query."""
    upstream = [
        Upstream(f"cleaned/{name}", product.reach, product.is_partitioned(name))
        for name in product.declaration.tables
    ]
    return Stage(
        stage="features",
        asset="features",
        description="What is known of each request row when the answer is given: "
        f"{format_duration(product.declaration.horizon)} before the event.",
        compute=compute_features,
        kinds=frozenset({"duckdb", "sql", "deltalake"}),
        upstream=upstream,
        guards=[NO_LATE_COLUMNS, NOTHING_TOO_EARLY],
        ranges=True,
        code=("features",),
        settings=product.features_sql + str(product.declaration.horizon),
    )


def compute_features(run: StageRun) -> Outcome:
    """Run the feature query over the partition and its history; guard against what is too early."""
    product, declared = run.product, run.product.declaration
    request, tables = request_and_history(run)
    asked = (product.features_sql, request)
    names = (declared.tables, declared.request)
    with open_history(tables, request, *names) as history:
        batches = batched_features(
            history, *asked, product.request_table, declared.horizon, declared.features
        )
        written = run.lake.replace(run.name("features"), batches, run.partition)
        # After the query has run: what DuckDB says of a typo names its line and nearest column.
        lineage = column_lineage(product.features_sql, schemas(product))
        features = run.lake.scan(run.name("features"), [run.partition] if run.partition else None)
        leaks = leaks_in(history, *asked, *names, declared.horizon, honest=features)
    late = late_features(lineage, list(product.request_table.late_columns))
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(features, written.rows),
            "dagster/column_lineage": shown.column_lineage(product, lineage),
            "features": features.collect_schema().len() - 1,
            "query": shown.markdown(f"```sql\n{product.features_sql}\n```"),
        },
        {
            NO_LATE_COLUMNS.name: no_late_columns(late),
            NOTHING_TOO_EARLY.name: nothing_too_early(leaks),
        },
    )


def request_and_history(run: StageRun) -> tuple[pl.LazyFrame, dict[str, pl.LazyFrame]]:
    """The partition's request rows, and every table as far back as the lookback reaches.

    Raises:
        MissingPartitionsError: a partition that the lookback reaches is not in the lake.
    """
    declared = run.product.declaration
    tables = {name: _history(run, name) for name in declared.tables}
    own = [run.partition] if run.partition else None
    return run.lake.scan(run.name(f"cleaned/{declared.request}"), own), tables


def _history(run: StageRun, name: str) -> pl.LazyFrame:
    product, asset = run.product, run.name(f"cleaned/{name}")
    span = run.span
    if span is None or not product.is_partitioned(name):
        return run.lake.scan(asset)
    assert product.partitions is not None and run.partition is not None
    needed = product.partitions.window(run.partition, 1 + product.reach)
    there = set(run.lake.partitions(asset))
    if missing := [key for key in needed if key not in there]:
        raise missing_partitions(asset.path, missing, f"+key:{asset.path}")
    reach = span.start - product.declaration.lookback - product.declaration.horizon
    time = product.declaration.tables[name].time
    return run.lake.scan(asset, needed).filter(pl.col(str(time)) >= reach)


def schemas(product: Product) -> dict[str, list[str]]:
    """The columns that each table of the feature query has, moments included."""
    declared = product.declaration
    tables = {name: _columns(table) for name, table in declared.tables.items()}
    request = [c for c in tables[declared.request] if c != "known_at"]
    return {**tables, "request": [*request, "prediction_time"]}


def _columns(table: Table) -> list[str]:
    late = [f"{name}_known_at" for name in table.late_columns]
    return ["_row_id", *table.columns, *late, "known_at"]


def no_late_columns(late: Mapping[str, list[str]]) -> Finding:
    """Whether the query is free of columns of the request that come too late."""
    words = "; ".join(
        f"{feature} reaches {', '.join(columns)}" for feature, columns in late.items()
    )
    return Finding(not late, words or "Every feature stands on columns known in time.")


def nothing_too_early(leaks: list[Leak]) -> Finding:
    """Whether features stayed the same when the unknown was changed."""
    words = "; ".join(f"{leak.feature} changed in {leak.rows} rows" for leak in leaks)
    return Finding(
        not leaks,
        f"Known too early: {words}." if leaks else "Values not yet known do not reach any feature.",
    )
