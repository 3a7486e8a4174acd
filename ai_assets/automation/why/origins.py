"""Which rows a row's features were made of, found by leaving rows out and running the query again.

Column lineage says which tables and columns a feature reads. Which rows of them matter is tried:
a feature that comes out the same from the rows with, say, the same shop alone stands on those.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import polars as pl

from ai_assets.lifecycle.features.lineage import Origin
from ai_assets.lifecycle.features.query import REQUEST

Run = Callable[[Mapping[str, pl.DataFrame]], dict[str, Any]]
Columns = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Where the features of one row come from.

    Attributes:
        values: The features from all rows at hand.
        sets: By feature and table the columns in which rows are like the request row; of no rows
            at all None: that table's rows do not matter to the feature's value.
    """

    values: dict[str, Any]
    sets: dict[str, dict[str, Columns | None]]


def find_rows(
    run: Run,
    request: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    lineage: Mapping[str, Iterable[Origin]],
    usable: Iterable[str],
) -> Found:
    """Find the smallest rows that give the same features.

    Args:
        run: features of the request row from the tables that it is given.
        request: the request row.
        tables: all rows that may matter, by table.
        lineage: of each feature the (table, column) pairs that it reads.
        usable: columns of the request that name an entity. Rows of a table are told apart by
            those that a feature reads both there and in the request.
    """
    origins = {feature: set(found) for feature, found in lineage.items()}
    values = run(tables)
    sets: dict[str, dict[str, Columns | None]] = {feature: {} for feature in origins}
    for table, rows in tables.items():
        links = {
            feature: tuple(c for c in usable if {(table, c), (REQUEST, c)} <= found)
            for feature, found in origins.items()
            if any(origin[0] == table for origin in found)
        }
        told = partial(_unchanged, run, values, tables, table)
        for feature, columns in _of_table(told, request, rows, links).items():
            sets[feature][table] = columns
    return Found(values, sets)


def like(frame: pl.DataFrame, request: Mapping[str, Any], columns: Columns) -> pl.DataFrame:
    """The rows that have the request's values in all of these columns; all rows for none."""
    return frame.filter(*(pl.col(name) == request[name] for name in columns)) if columns else frame


def same(one: Any, other: Any) -> bool:
    """Whether two values of a feature are the same, but for the order of a sum."""
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def _unchanged(
    run: Run,
    values: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    table: str,
    rows: pl.DataFrame,
) -> set[str]:
    """The features that stay the same where a table has these rows alone."""
    found = run({**tables, table: rows})
    return {feature for feature, value in values.items() if same(found[feature], value)}


def _of_table(
    unchanged: Callable[[pl.DataFrame], set[str]],
    request: Mapping[str, Any],
    rows: pl.DataFrame,
    links: Mapping[str, Columns],
) -> dict[str, Columns | None]:
    """For each feature that reads the table the columns that tell its rows; () for all rows."""
    if not links:
        return {}
    without = unchanged(rows.clear())
    alone = {c: unchanged(like(rows, request, (c,))) for c in sorted({*chain(*links.values())})}
    chosen: dict[str, Columns | None] = {
        feature: None if feature in without else tuple(c for c in columns if feature in alone[c])
        for feature, columns in links.items()
    }
    # What is told by each of several columns may be told by all of them together.
    for columns in {c for c in chosen.values() if c is not None and len(c) > 1}:
        together = unchanged(like(rows, request, columns))
        fewest = min(((c,) for c in columns), key=lambda c: like(rows, request, c).height)
        for feature in links:
            if chosen[feature] == columns and feature not in together:
                chosen[feature] = fewest
    return chosen
