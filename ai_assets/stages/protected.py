"""Protected columns: the groups of people that a product is judged by, and never asks for."""

import polars as pl

from ai_assets.lifecycle.cleaning.identity import row_hashes, row_ids
from ai_assets.lifecycle.fairness.groups import group_words
from ai_assets.lifecycle.training.whole import PROTECTED
from ai_assets.stages.binding import StageRun


def with_protected(run: StageRun, rows: pl.DataFrame, keys: list[str] | None) -> pl.DataFrame:
    """The rows with the number of each one's group, where training reweighs groups.

    A group is what is alike in all protected columns together.

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
    numbers = row_ids(row_hashes(words, fairness.columns))
    return rows.with_columns(numbers.alias(PROTECTED))


def protected_columns(run: StageRun, rows: pl.DataFrame, keys: list[str] | None) -> pl.DataFrame:
    """The protected columns of the rows, in their order, from the request table."""
    fairness = run.product.declaration.fairness
    assert fairness is not None, "only of products that declare it"
    request = run.lake.scan(run.name(f"cleaned/{run.product.declaration.request}"), keys)
    told = request.select("_row_id", *fairness.columns).collect()
    ids = rows.select("_row_id")
    return ids.join(told, on="_row_id", how="left", maintain_order="left").drop("_row_id")
