"""online/<table>: the latest rows of a time-varying table, for the server to read."""

import polars as pl

from ai_assets.lifecycle.schema.tables import Table
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, StageRun


def take_latest(run: StageRun, name: str, table: Table) -> Outcome:
    """Keep the rows of twice the lookback, so that the oldest request sees all of its own."""
    cleaned = run.name(f"cleaned/{name}")
    latest = latest_partitions(run, name)
    rows = run.lake.scan(cleaned, latest)
    newest = rows.select(pl.col(table.time or "").max()).collect().item()
    if newest is not None and table.time is not None:
        reach = 2 * run.product.declaration.lookback + run.product.declaration.horizon
        rows = rows.filter(pl.col(table.time) > newest - reach)
    written = run.lake.replace(run.name(f"online/{name}"), rows, None)
    return Outcome(
        written.digest,
        {**shown.rows_and_columns(rows, written.rows, table.columns), "newest": str(newest)},
    )


def latest_partitions(run: StageRun, name: str) -> list[str] | None:
    """The newest partition in the lake and those that a lookback from it reaches."""
    if not run.product.is_partitioned(name):
        return None
    there = sorted(run.lake.partitions(run.name(f"cleaned/{name}")))
    return there[-1 - run.product.reach :]
