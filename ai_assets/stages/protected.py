"""Protected columns: the groups of people that a product is judged by, and never asks for."""

import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.fairness.groups import group_numbers, group_words
from ai_assets.lifecycle.fairness.spec import CRITERIA, EVENTS
from ai_assets.lifecycle.training.whole import PROTECTED
from ai_assets.stages.binding import StageRun


def with_protected(run: StageRun, rows: pl.DataFrame, keys: list[str] | None) -> pl.DataFrame:
    """The rows with the number of each one's groups, where a mitigation learns from them.

    Args:
        run: the partition's work.
        rows: with `_row_id`.
        keys: the partitions that they are of; None without partitions.

    Raises:
        DataError: a column has more values than groups can be.
    """
    fairness = run.product.declaration.fairness
    if fairness is None or fairness.mitigation == "none":
        return rows
    told = protected_columns(run, rows, keys)
    words = told.select(group_words(told[name]) for name in fairness.columns)
    return rows.with_columns(group_numbers(words).alias(PROTECTED))


def check_groups(run: StageRun, rows: pl.DataFrame, keys: list[str] | None) -> None:
    """Under `reductions`, whether the rows to train on can tell groups of every column apart.

    Args:
        run: the partition's work.
        rows: those to train on, with `_row_id` and `label`.
        keys: the partitions that they are of; None without partitions.

    Raises:
        DataError: fewer than two groups of a column have rows enough that count.
    """
    fairness, answers = run.product.declaration.fairness, run.product.declaration.answers
    if fairness is None or fairness.mitigation != "reductions":
        return
    told = protected_columns(run, rows, keys).with_columns(rows["label"].cast(pl.Float64))
    for name in fairness.columns:
        for event in (EVENTS[rate] for rate in CRITERIA[fairness.metric]):
            counted = told if event is None else told.filter(pl.col("label") == event)
            sizes = dict(group_words(counted[name]).value_counts(sort=True).iter_rows())
            if sum(size >= fairness.min_rows for size in sizes.values()) > 1:
                continue
            rows_that_count = "rows" if event is None else f"rows of '{answers[int(event)]}'"
            there = ", ".join(f"'{group}' has {size:,}" for group, size in sizes.items())
            raise DataError(
                f"fairness.mitigation: reductions needs two groups of '{name}' with at least "
                f"{fairness.min_rows} {rows_that_count} to train on each (fairness.min_rows), but "
                f"{there or 'there are none'}. More data may have them, or larger groups, made in "
                "the source; else declare fairness.mitigation: none or reweighing."
            )


def protected_columns(run: StageRun, rows: pl.DataFrame, keys: list[str] | None) -> pl.DataFrame:
    """The protected columns of the rows, in their order, from the request table."""
    fairness = run.product.declaration.fairness
    assert fairness is not None, "only of products that declare it"
    request = run.lake.scan(run.name(f"cleaned/{run.product.declaration.request}"), keys)
    told = request.select("_row_id", *fairness.columns).collect()
    ids = rows.select("_row_id")
    return ids.join(told, on="_row_id", how="left", maintain_order="left").drop("_row_id")
