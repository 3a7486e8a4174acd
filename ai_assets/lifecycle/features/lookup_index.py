"""Indexes over tables that do not change: the place of a key's row."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from ai_assets.lifecycle.features.lookups import Lookup

if TYPE_CHECKING:
    import duckdb

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_MOMENTS = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
# Keys that are equal in Python exactly where they are equal in SQL.
_KEYS = frozenset(("VARCHAR", "BOOLEAN", *_WHOLE, *_MOMENTS))
# Values that come through Arrow as they went in.
_VALUES = _KEYS | {"FLOAT", "DOUBLE"}
# An index in Python holds about 200 bytes a row.
_MOST_ROWS = 500_000
# For each comparison of an ASOF join: the place beside the nearest row among ascending values.
_NEAREST: dict[str, Callable[[list[Any], Any], int]] = {
    "<": lambda among, key: bisect_left(among, key) - 1,
    "<=": lambda among, key: bisect_right(among, key) - 1,
    ">": bisect_right,
    ">=": bisect_left,
}


class NoIndexError(Exception):
    """The table cannot be looked up in this way; the join stays."""


class Index:
    """Finds the row of a table for a key.

    Args:
        columns: the columns of the key, a list each.
        order: how the last column compares with its key; None where it is equal too.

    Raises:
        NoIndexError: a key occurs twice: a join gives more rows, or any one of them.
    """

    def __init__(self, columns: Sequence[Sequence[Any]], order: str | None) -> None:
        self._order = order
        self._height = len(columns[0])
        rows = [
            (*key, place) for place, key in enumerate(zip(*columns, strict=True)) if None not in key
        ]
        self._rows: dict[Any, Any] = {}
        if order is None:
            self._rows = {row[:-1]: row[-1] for row in rows}
            unique = len(self._rows)
        else:
            unique = len({row[:-1] for row in rows})
            for *key, value, place in sorted(rows):
                values, places = self._rows.setdefault(tuple(key), ([], []))
                values.append(value)
                places.append(place)
        if unique < len(rows):
            raise NoIndexError

    def places(self, keys: Sequence[Sequence[Any]]) -> list[int]:
        """The place of each key's row; where there is none, the place after the last row."""
        none = self._height
        if self._order is None:
            return [self._rows.get(key, none) for key in zip(*keys, strict=True)]
        nearest = _NEAREST[self._order]
        return [self._nearest(nearest, *key) for key in zip(*keys, strict=True)]

    def _nearest(self, nearest: Callable[[list[Any], Any], int], *asked: Any) -> int:
        *key, value = asked
        found = self._rows.get(tuple(key))
        if value is None or found is None:
            return self._height
        values, places = found
        at = nearest(values, value)
        return places[at] if 0 <= at < len(places) else self._height


@dataclass(frozen=True, eq=False)
class IndexedTable:
    """A table that is looked up in. A row of nulls stands after its last: what was not found.

    Attributes:
        shown: the columns that the result shows as they are, under the result's names.
        values: the columns that expressions of the query read, as `v_<number>_<column>`.
        types: DuckDB's types of all columns.
    """

    index: Index
    shown: list[pl.Series]
    values: list[pl.Series]
    types: dict[str, str]
    lookup: Lookup


def open_table(
    connection: "duckdb.DuckDBPyConnection", number: int, lookup: Lookup, shown: Mapping[str, str]
) -> IndexedTable:
    """Index a table of the connection.

    Args:
        number: which of the query's lookups it is.
        shown: for each column of the result that stands as it is in the table, its name there.

    Raises:
        NoIndexError: its keys are not unique, or of types that Python compares in its own way.
    """
    table = f'"{lookup.table}"'
    described = connection.execute(f"DESCRIBE {table}").fetchall()
    types = {row[0]: str(row[1]) for row in described}
    needed = [*lookup.columns, *lookup.values, *shown.values()]
    if not set(needed) <= set(types):
        raise NoIndexError
    if {types[n] for n in lookup.columns} - _KEYS or {types[n] for n in lookup.values} - _VALUES:
        raise NoIndexError
    [(count,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    if count > _MOST_ROWS:
        raise NoIndexError
    names = ", ".join(f'"{name}"' for name in dict.fromkeys(needed))
    rows = pl.DataFrame(connection.sql(f"SELECT {names} FROM {table}"))
    index = Index([plain_values(rows[name]) for name in lookup.columns], lookup.order)
    rows = pl.concat([rows, rows.clear(1)]).rechunk()
    own = [rows[column].alias(name) for name, column in shown.items()]
    values = [rows[name].alias(f"v_{number}_{name}") for name in lookup.values]
    return IndexedTable(index, own, values, types, lookup)


def plain_values(column: pl.Series) -> list[Any]:
    """Values that Python compares quickly and as SQL does: moments as whole numbers."""
    if column.dtype.is_temporal():
        column = column.cast(pl.Int64)
    return column.to_list()


def gathered(columns: Sequence[pl.Series], places: pl.Series) -> list[pl.Series]:
    """The columns' values at these places. Expressions of whole frames cost ten times as much."""
    return [column[places] for column in columns]
