"""What is so of a whole column, where only some rows of it were looked at."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from ai_assets.lifecycle.profile.column_types import Typed
from ai_assets.lifecycle.profile.sample import Sample
from ai_assets.lifecycle.sources.casts import cast

MOST_ALLOWED = 30
"""Texts of so many values or fewer are declared as the only allowed ones."""
_MOST_CANDIDATES = 4


@dataclass(frozen=True)
class Facts:
    """One column, over all rows of the file.

    Attributes:
        rows: how many there are.
        missing: how many of them have no value.
        low: smallest finite value of a number or moment, as high the largest; None of others.
        words: of a text of few values all of them, sorted; empty of others.
        distinct: how many values there are among the rows that were looked at.
    """

    rows: int
    missing: int
    low: Any
    high: Any
    words: tuple[str, ...]
    distinct: int


def facts_of(sample: Sample, columns: dict[str, Typed]) -> dict[str, Facts]:
    """Facts of each column, by name; those without a type are left out."""
    known = {name: column for name, column in columns.items() if column.type is not None}
    distinct = {name: column.values.drop_nulls().n_unique() for name, column in known.items()}
    frame = pl.DataFrame({name: column.values for name, column in known.items()}).lazy()
    if sample.is_part:
        frame = _cast(sample, known)
    asked = []
    for name, column in known.items():
        value = pl.col(name)
        asked.append(value.null_count().alias(f"missing:{name}"))
        if column.type not in ("string", "bool"):
            told = value.filter(value.is_finite()) if column.type == "float64" else value
            asked += [told.min().alias(f"low:{name}"), told.max().alias(f"high:{name}")]
        elif column.type == "string" and distinct[name] <= MOST_ALLOWED:
            asked.append(value.drop_nulls().unique().implode().alias(f"words:{name}"))
    found = frame.select(asked).collect(engine="streaming").row(0, named=True)
    return {
        name: Facts(
            sample.rows,
            max(0, found[f"missing:{name}"] - column.odd),
            found.get(f"low:{name}"),
            found.get(f"high:{name}"),
            tuple(sorted(found.get(f"words:{name}") or ())),
            distinct[name],
        )
        for name, column in known.items()
    }


def unique_among(sample: Sample, candidates: list[str]) -> list[str]:
    """The columns, of those unique where it was looked at, that are so in the whole file."""
    if not sample.is_part:
        return candidates
    few = candidates[:_MOST_CANDIDATES]
    if not few:
        return []
    counts = sample.whole.select(pl.col(name).n_unique() for name in few)
    told = counts.collect(engine="streaming").row(0, named=True)
    return [name for name in few if told[name] == sample.rows]


def _cast(sample: Sample, columns: dict[str, Typed]) -> pl.LazyFrame:
    """The whole file, each column as the rows that were looked at were cast."""
    given = sample.frame.schema
    texts = [n for n, c in columns.items() if given[n] in (pl.String, pl.Categorical, pl.Enum)]
    told = [
        pl.when(~pl.col(name).cast(pl.String).is_in(list(columns[name].missing)))
        .then(pl.col(name).cast(pl.String))
        .alias(name)
        for name in texts
    ]
    return sample.whole.with_columns(told).select(
        cast(name, pl.String() if name in texts else given[name], column.type or "").alias(name)
        for name, column in columns.items()
    )
