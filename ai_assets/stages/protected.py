"""Protected columns: the groups of people that a product is judged by, and never asks for."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.fairness.groups import (
    PROTECTED,
    Protected,
    group_numbers,
    group_words,
    protected_of,
)
from ai_assets.lifecycle.fairness.parts import Part, parts_of
from ai_assets.lifecycle.training.reductions import searched_parts
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
        rows: those to train on, with `_row_id`, `label` and `_protected`.
        keys: the partitions that they are of; None without partitions.

    Raises:
        DataError: fewer than two groups of a column have rows enough that count.
    """
    protected = protected_of(rows, run.product.declaration.fairness)
    if protected is None or protected.spec.mitigation != "reductions":
        return
    for part in parts_of(protected, rows["label"].to_numpy()):
        if not part.compares:
            raise DataError(_too_few(run, part, protected_columns(run, rows, keys)))


def _too_few(run: StageRun, part: Part, told: pl.DataFrame) -> str:
    """What rows with protected columns lack to have groups compared."""
    fairness, answers = run.product.declaration.fairness, run.product.declaration.answers
    assert fairness is not None, "only of products that declare it"
    name = fairness.columns[part.column]
    counted = group_words(told.filter(pl.Series(part.rows))[name])
    sizes = dict(counted.value_counts(sort=True).iter_rows())
    rows_that_count = "rows" if part.event is None else f"rows of '{answers[int(part.event)]}'"
    there = ", ".join(f"'{group}' has {size:,}" for group, size in sizes.items())
    return (
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


def not_compared(run: StageRun, protected: Protected, y: np.ndarray) -> list[str]:
    """What `reductions` leaves as it is where it learns from rows with groups and labels [n]."""
    if protected.spec.mitigation != "reductions":
        return []
    compared = {(part.column, part.event) for part in searched_parts(protected, y)}
    answers = run.product.declaration.answers
    return [
        f"'{name}'" if event is None else f"'{name}' of '{answers[int(event)]}'"
        for column, name in enumerate(protected.spec.columns)
        for event in protected.spec.events
        if (column, event) not in compared
    ]
