"""A feature query whose joins with history are lookups in indexes: quick for a few rows.

DuckDB binds a statement anew at each execution if it reads a table, and makes a hash table for each
join. Where all joins are lookups no table is read: one statement gives the keys of the rows, an
index in Python the place of each, and a second statement computes what is an expression. Rows go in
as Arrow streams, which costs less than functions in Python that give them, and come back as values.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from ai_assets.lifecycle.features.duck import Streamed
from ai_assets.lifecycle.features.lookup_index import (
    IndexedTable,
    NoIndexError,
    gathered,
    open_table,
)
from ai_assets.lifecycle.features.lookup_matrix import LookupMatrix
from ai_assets.lifecycle.features.lookups import FOUND, FOUND_ROWS, ROWS, LookupQuery

if TYPE_CHECKING:
    import duckdb
    import numpy as np

    from ai_assets.lifecycle.features.encoding import Encoding

_KEYS, _STATEMENT = "_look_for", "_look"
# What Python's own values hold without loss; other results come through Arrow, more slowly.
_SIMPLE: dict[str, pl.DataType] = {
    "BIGINT": pl.Int64(),
    "INTEGER": pl.Int32(),
    "SMALLINT": pl.Int16(),
    "TINYINT": pl.Int8(),
    "DOUBLE": pl.Float64(),
    "FLOAT": pl.Float32(),
    "BOOLEAN": pl.Boolean(),
    "VARCHAR": pl.String(),
}
# Moments as whole numbers, as Arrow has those of a table; infinite ones too.
_AS_NUMBER = (
    "CASE WHEN isfinite({key}) THEN epoch_us({key}) WHEN {key} > TIMESTAMP '1970-01-01' "
    "THEN 9223372036854775807 WHEN {key} < TIMESTAMP '1970-01-01' THEN -9223372036854775807 END"
)
_NUMBERS = {
    "DATE": "{key} - DATE '1970-01-01'",
    "TIMESTAMP": _AS_NUMBER,
    "TIMESTAMP WITH TIME ZONE": _AS_NUMBER,
}


class LookupStatement:
    """The query prepared for requests of one schema, over tables that do not change.

    Args:
        connection: holds the tables. Only one thread at a time may use it.
        query: the query with its lookups taken out.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", query: LookupQuery) -> None:
        self._connection = connection
        self._query = query
        self._rows, self._found_rows = Streamed(pl.DataFrame()), Streamed(pl.DataFrame())
        self._schema: list[tuple[str, pl.DataType | None]] = []
        self._key_count = 0
        self._matrix: LookupMatrix | None = None
        self._tables = [
            open_table(connection, number, lookup, _shown(query, number))
            for number, lookup in enumerate(query.lookups)
        ]

    def prepare(self, request: pl.DataFrame) -> None:
        """Get ready for requests that have the schema of this one.

        Raises:
            NoIndexError: a key is of another type than what it is compared with.
        """
        connection, query = self._connection, self._query
        self._matrix = None
        if FOUND in request.columns:
            raise NoIndexError
        self._rows.frame = request
        connection.register(ROWS, self._rows)
        types = [kind for _, kind in self._described(query.keys)]
        for table in self._tables:
            _check_types(table, types)
        self._key_count = len(types)
        keys = ", ".join(_key(i, kind) for i, kind in enumerate(types))
        connection.execute("RESET disabled_optimizers")
        connection.execute(f"PREPARE {_KEYS} AS SELECT {keys} FROM ({query.keys})")
        self._find(request)
        connection.register(FOUND_ROWS, self._found_rows)
        self._check_found()
        described = self._described(query.query)
        computed = described if query.alike else described[: -len(self._tables)]
        self._schema = [(name, _SIMPLE.get(kind)) for name, kind in computed]
        connection.execute(f"PREPARE {_STATEMENT} AS {query.query}")

    def ask(self, request: pl.DataFrame) -> pl.DataFrame:
        """The features of rows that have the schema prepared for.

        Raises:
            NoIndexError: the keys are not one to one those of the rows.
        """
        computed, places = self._computed(request)
        at = [pl.Series(values, dtype=pl.UInt32) for values in places]
        found = [
            {s.name: s for s in gathered(t.shown, where)}
            for t, where in zip(self._tables, at, strict=True)
        ]
        own = iter(
            values if isinstance(values, pl.Series) else pl.Series(name, values, dtype)
            for (name, dtype), values in zip(self._schema, computed, strict=True)
        )
        return pl.DataFrame(
            [
                next(own) if output.lookup is None else found[output.lookup][output.name]
                for output in self._query.outputs
            ]
        )

    def encoded(
        self, request: pl.DataFrame, encoding: "Encoding"
    ) -> "tuple[Sequence[Any], np.ndarray] | None":
        """The first column's values, and the matrix that models read, float32 [n, F].

        None where the matrix must be made of the frame: a column is missing, or not simple.

        Raises:
            NoIndexError: as by `ask`.
        """
        if self._matrix is None or self._matrix.encoding is not encoding:
            own = {name: dtype for name, dtype in self._schema if dtype is not None}
            shown = [table.shown for table in self._tables]
            self._matrix = LookupMatrix(encoding, self._query.outputs, own, shown)
        if not self._matrix.is_whole or self._query.outputs[0].lookup is not None:
            return None
        computed, places = self._computed(request)
        names = [name for name, _ in self._schema]
        by_name = dict(zip(names, computed, strict=True))
        return computed[0], self._matrix.of(by_name, places, len(computed[0]))

    def _computed(self, request: pl.DataFrame) -> tuple[list[Any], list[Sequence[int]]]:
        """The computed columns, and the places of the rows that each lookup found."""
        places = self._find(request)
        width, asked = len(self._schema), f"EXECUTE {_STATEMENT}"
        if any(dtype is None for _, dtype in self._schema):
            columns: list[Any] = pl.DataFrame(self._connection.sql(asked)).get_columns()
            given = [column.to_list() for column in columns[width:]]
        else:
            rows = self._connection.execute(asked).fetchall()
            columns = list(zip(*rows, strict=True))
            if not rows:
                columns = [()] * (width + (0 if self._query.alike else len(places)))
            given = columns[width:]
        return columns[:width], places if self._query.alike else given

    def _find(self, request: pl.DataFrame) -> list[Sequence[int]]:
        """Let the second statement read the rows with what is found for them; says where it is."""
        self._rows.frame = request
        rows = self._connection.execute(f"EXECUTE {_KEYS}").fetchall()
        if len(rows) != request.height:
            raise NoIndexError
        keys = list(zip(*rows, strict=True)) if rows else [()] * self._key_count
        places: list[Sequence[int]] = [
            table.index.places([keys[k] for k in table.lookup.keys]) for table in self._tables
        ]
        self._found_rows.frame = request.hstack([self._found(places)])
        return places

    def _found(self, places: Sequence[Sequence[int]]) -> pl.Series:
        """What is found, as the struct `FOUND`."""
        columns: list[pl.Series] = []
        for i, (table, where) in enumerate(zip(self._tables, places, strict=True)):
            # A struct has a field at least.
            if not self._query.alike or not i:
                columns.append(pl.Series(f"at_{i}", where, pl.Int64))
            if table.values:
                columns += gathered(table.values, pl.Series(where, dtype=pl.UInt32))
        return pl.DataFrame(columns).to_struct(FOUND)

    def _check_found(self) -> None:
        """Whether what is found comes to the query in the types of its tables."""
        fields = f'SELECT UNNEST("{FOUND}") FROM "{FOUND_ROWS}"'
        seen = dict(self._described(fields))
        for i, table in enumerate(self._tables):
            for name in table.lookup.values:
                if seen[f"v_{i}_{name}"] != table.types[name]:
                    raise NoIndexError

    def _described(self, query: str) -> list[tuple[str, str]]:
        """Names and types of a query's columns."""
        rows = self._connection.execute(f"DESCRIBE {query}").fetchall()
        return [(row[0], str(row[1])) for row in rows]


def _shown(query: LookupQuery, lookup: int) -> dict[str, str]:
    return {o.name: o.column for o in query.outputs if o.lookup == lookup and o.column}


def _key(number: int, kind: str) -> str:
    return _NUMBERS.get(kind, "{key}").format(key=f'"key_{number}"')


def _check_types(table: IndexedTable, keys: Sequence[str]) -> None:
    for column, key in zip(table.lookup.columns, table.lookup.keys, strict=True):
        if table.types[column] != keys[key]:
            raise NoIndexError
