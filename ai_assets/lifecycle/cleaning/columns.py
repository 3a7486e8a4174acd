"""Columns of the source against columns of the declaration."""

from collections.abc import Sequence

import polars as pl

from ai_assets.lifecycle.errors import ColumnsError, did_you_mean
from ai_assets.lifecycle.schema.files import UNREAD
from ai_assets.lifecycle.schema.tables import Table

# A file without its line breaks is one header of all it holds: nobody reads more than this.
_MOST_NAMES, _MOST_PROBLEMS, _LONGEST = 100, 30, 100


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
            f"has the column '{_short(c)}', which is neither declared nor ignored. "
            f"Declare it under tables.{name}.columns, or leave it out by adding it to "
            f"tables.{name}.ignore."
            for c in strangers
        ]
    if problems:
        said = _some([f"The source of table '{name}' {p}" for p in problems], _MOST_PROBLEMS)
        known = ", ".join(_some([f"'{_short(c)}'" for c in found], _MOST_NAMES))
        phrases = [f"the source lacks the declared column '{c}'" for c in missing] + [
            f"the source has '{_short(c)}', which is neither declared nor ignored"
            for c in strangers
        ]
        raise ColumnsError(
            "\n".join(said) + f"\nColumns of the source: {known}.", _some(phrases, _MOST_PROBLEMS)
        )


def _some(words: Sequence[str], most: int) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(words) - most
    return [*words[:most], *([f"and {more:,} more"] if more > 0 else [])]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
