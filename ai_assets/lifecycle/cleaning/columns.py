"""Columns of the source against columns of the declaration."""

import polars as pl

from ai_assets.lifecycle.errors import ColumnsError, did_you_mean
from ai_assets.lifecycle.schema.files import UNREAD
from ai_assets.lifecycle.schema.tables import Table


def check_columns(raw: pl.LazyFrame, table: Table, name: str) -> None:
    """Check that the source has each declared column, and no column that nobody knows.

    Args:
        raw: the source's rows; only its schema is looked at.
        table: the declaration.
        name: the table's name, for messages.

    Raises:
        ColumnsError: a declared column is missing, or a column is neither declared nor ignored.
    """
    found = [c for c in raw.collect_schema().names() if c != UNREAD]
    strangers = [c for c in found if c not in table.columns and c not in table.ignore]
    missing = [c for c in table.columns if c not in found]
    problems = [f"lacks the declared column '{c}'.{did_you_mean(c, strangers)}" for c in missing]
    if not missing:
        problems = [
            f"has the column '{c}', which is neither declared nor ignored. "
            f"Declare it under tables.{name}.columns, or leave it out by adding it to "
            f"tables.{name}.ignore."
            for c in strangers
        ]
    if problems:
        known = ", ".join(f"'{c}'" for c in found)
        raise ColumnsError(
            "\n".join(f"The source of table '{name}' {p}" for p in problems)
            + f"\nColumns of the source: {known}.",
            [f"the source lacks the declared column '{c}'" for c in missing]
            + [f"the source has '{c}', which is neither declared nor ignored" for c in strangers],
        )
