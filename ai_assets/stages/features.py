"""features: what a model sees of each request row, by the same SQL offline and online."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from ai_assets.lifecycle.errors import MissingPartitionsError
from ai_assets.lifecycle.features.leakage import Leak
from ai_assets.lifecycle.features.lineage import (
    Origin,
    carried_columns,
    column_lineage,
    late_features,
)
from ai_assets.lifecycle.features.partitions import Part, features_of_partitions
from ai_assets.lifecycle.features.query import Query, run_features
from ai_assets.lifecycle.features.steady import check_steady
from ai_assets.lifecycle.partitions import missing_partitions
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.resources.lake import WHOLE
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.data import NO_LATE_COLUMNS, NOTHING_TOO_EARLY, ONLY_JUDGING
from ai_assets.stages.meanings import of_features

if TYPE_CHECKING:
    from ai_assets.resources.snapshot import Snapshot


def compute_features(runs: Sequence[StageRun]) -> Iterator[Outcome]:
    """Run the feature query over each partition and its history, and its guards.

    Those before the first whose inputs are missing are made all the same: a backfill of some
    partitions of the tables asks for the features of a partition more, which looks back at them.
    """
    opened = {name: open_cleaned(runs[0], name) for name in runs[0].product.declaration.tables}
    parts, missing = {}, None
    for run in runs:
        try:
            parts[run.partition or WHOLE] = Part(*request_and_history(run, opened))
        except MissingPartitionsError as error:
            missing = error
            break
    if parts:
        yield from _features_of(runs[0], parts)
    if missing is not None:
        raise missing


def _features_of(run: StageRun, parts: Mapping[str, Part]) -> list[Outcome]:
    product, lake, declared = run.product, run.lake, run.product.declaration
    query = Query(
        product.features_sql,
        declared.tables,
        declared.request,
        declared.horizon,
        declared.features or "the feature query",
    )
    check_steady(query.sql, query.file)
    stored = lake.replacing(product.asset("features"), list(parts))
    columns = schemas(product)

    def write(key: str, batch: pl.DataFrame) -> None:
        stored.add(key, batch)
        # Beside the next partitions. Not before: what DuckDB says of a typo names its line and
        # nearest column.
        column_lineage(product.features_sql, columns)

    leaks = features_of_partitions(query, parts, write)
    written = stored.commit()
    lineage = column_lineage(product.features_sql, columns)
    schema = lake.scan(product.asset("features"), []).collect_schema()
    about = about_the_query(product, lineage, schema)
    carried = carried_columns(product.features_sql, columns)
    meant = of_features(declared.tables, declared.request, lineage, carried)
    timely = no_late_columns(late_features(lineage, list(product.request_table.late_columns)))
    return [
        Outcome(
            written[key].digest,
            {**shown.rows_and_columns(schema, written[key].rows, meanings=meant), **about},
            {
                NO_LATE_COLUMNS.name: timely,
                NOTHING_TOO_EARLY.name: nothing_too_early(leaks[key]),
                **only_judging(product, lineage),
            },
        )
        for key in parts
    ]


def about_the_query(
    product: Product, lineage: Mapping[str, list[Origin]], schema: pl.Schema
) -> dict[str, Any]:
    """What the UI shows of the query, the same for each partition."""
    return {
        "dagster/column_lineage": shown.column_lineage(product, lineage),
        "features": len(schema) - 1,
        "query": shown.markdown(f"```sql\n{product.features_sql}\n```"),
    }


def open_cleaned(run: StageRun, name: str) -> "Snapshot | None":
    """A cleaned table; None while it is not in the lake."""
    asset = run.name(f"cleaned/{name}")
    return run.lake.snapshot(asset) if run.lake.exists(asset) else None


def request_and_history(
    run: StageRun, opened: Mapping[str, "Snapshot | None"] | None = None
) -> tuple[pl.LazyFrame, dict[str, pl.LazyFrame]]:
    """The partition's request rows, and every table as far back as the lookback reaches.

    Args:
        run: the partition.
        opened: the cleaned tables, where they are open already.

    Raises:
        MissingPartitionsError: a partition that the lookback reaches is not in the lake.
    """
    declared = run.product.declaration
    opened = opened or {name: open_cleaned(run, name) for name in declared.tables}
    tables = {name: _history(run, name, opened[name]) for name in declared.tables}
    request = opened[declared.request]
    assert request is not None, "the history stands"
    return request.scan([run.partition] if run.partition else None), tables


def _history(run: StageRun, name: str, table: "Snapshot | None") -> pl.LazyFrame:
    product, asset = run.product, run.name(f"cleaned/{name}")
    span = run.span
    if span is None or not product.is_partitioned(name):
        return run.lake.scan(asset) if table is None else table.scan()
    assert product.partitions is not None and run.partition is not None
    needed = product.partitions.window(run.partition, 1 + product.reach)
    missing = [key for key in needed if table is None or key not in table.files]
    if table is None or missing:
        raise missing_partitions(asset.path, missing, f"+key:{asset.path}")
    reach = span.start - product.declaration.lookback - product.declaration.horizon
    time = product.declaration.tables[name].time
    return table.scan(needed).filter(pl.col(str(time)) >= reach)


def features_of(run: StageRun, keys: list[str] | None) -> pl.LazyFrame:
    """The features of partitions that may be learned from: those that the query gives now.

    A model that learned from what it gives no more could not be asked anything.
    """
    features, given = run.lake.scan(run.name("features"), keys), features_given(run)
    there = features.collect_schema().names()
    return features.select("_row_id", *(name for name in there if name in given))


def features_given(run: StageRun) -> list[str]:
    """The features that the query gives now, as DuckDB names them; asked over tables without rows.

    The table in the lake has also those that it gave once, as nulls where it gives them no more.
    """
    declared = run.product.declaration
    empty = {name: run.lake.scan(run.name(f"cleaned/{name}"), []) for name in declared.tables}
    given = run_features(
        run.product.features_sql,
        empty[declared.request],
        empty,
        specs=declared.tables,
        request_table=declared.request,
        horizon=declared.horizon,
        file=declared.features or "the feature query",
    )
    return given.columns[1:]


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


def only_judging(product: Product, lineage: Mapping[str, list[Origin]]) -> dict[str, Finding]:
    """Whether protected columns reach no feature, by the request or by its own table."""
    fairness, request = product.declaration.fairness, product.declaration.request
    if fairness is None or not fairness.only_judging:
        return {}
    reached = [late_features(lineage, fairness.only_judging, t) for t in ("request", request)]
    words = "; ".join(
        f"{feature} is made of {', '.join(columns)}"
        for found in reached
        for feature, columns in found.items()
    )
    held = "No feature is made of a protected column."
    return {ONLY_JUDGING.name: Finding(not words, f"{words}." if words else held)}


def nothing_too_early(leaks: list[Leak]) -> Finding:
    """Whether features stayed the same when the unknown was changed, and other rows left out."""
    early, others = (
        "; ".join(
            f"{one.feature} changed in {one.rows} rows" for one in leaks if one.of_others is so
        )
        for so in (False, True)
    )
    words = [
        *([f"Known too early: {early}."] if early else []),
        *([f"{_OF_OTHERS} {others}."] if others else []),
    ]
    return Finding(not leaks, " ".join(words) or "Values not yet known do not reach any feature.")


_OF_OTHERS = (
    "Made of other rows of request, of which a server that is asked about one has none (the table "
    "under its own name has what was known before):"
)
