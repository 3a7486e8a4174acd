"""A feature query whose joins with history are lookups in indexes: quick for a few rows.

DuckDB binds a statement anew at each execution if it reads a table, and makes a hash table for each
join. This one reads no table where all joins are lookups: rows and what is found for them come from
two functions, and DuckDB computes only what is an expression.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

import polars as pl

from ai_assets.lifecycle.features.lookup_index import (
    IndexedTable,
    NoIndexError,
    open_table,
    plain_values,
    rows_at,
)
from ai_assets.lifecycle.features.lookups import FOUND, ROWS, LookupQuery

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_STATEMENT = "_look"
# What Python's own values hold without loss; other results come through Arrow, more slowly.
_SIMPLE = (pl.Int64, pl.Int32, pl.Int16, pl.Int8, pl.Float64, pl.Float32, pl.Boolean, pl.String)


@dataclass
class _Asked:
    """The rows that `_asked_rows` gives."""

    rows: "pa.StructArray | None" = None
    defined: set[str] = field(default_factory=set)


class LookupStatement:
    """The query prepared for requests of one schema, over tables that do not change.

    Args:
        connection: holds the tables. Only one thread at a time may use it.
        query: the query with its lookups taken out.
    """

    def __init__(self, connection: "duckdb.DuckDBPyConnection", query: LookupQuery) -> None:
        self._connection = connection
        self._query = query
        self._asked = _Asked()
        self._schema: list[tuple[str, pl.DataType]] | None = None
        self._tables = [
            open_table(connection, number, lookup, _shown(query, number))
            for number, lookup in enumerate(query.lookups)
        ]

    def prepare(self, request: pl.DataFrame) -> None:
        """Get ready for requests that have the schema of this one.

        Raises:
            NoIndexError: a key is of another type than what it is compared with.
        """
        self._schema = None
        rows, found = _rows_function(self._asked), _found_function
        self._define(ROWS, rows, ["BIGINT"], _type_of(self._connection, request))
        self._asked.rows = _struct(request)
        keys = self._connection.execute(f"DESCRIBE {self._query.keys}").fetchall()
        types = [str(row[1]) for row in keys]
        for table in self._tables:
            _check_types(table, types)
        self._define(FOUND, found(self._tables, len(types)), types, _found_type(self._tables))
        self._connection.execute("RESET disabled_optimizers")
        self._connection.execute(f"PREPARE {_STATEMENT} AS {self._query.query}")

    def ask(self, request: pl.DataFrame) -> pl.DataFrame:
        """The features of rows that have the schema prepared for."""
        self._asked.rows = _struct(request)
        computed, places = self._computed()
        found = [rows_at(t.frame, at) for t, at in zip(self._tables, places, strict=True)]
        own = iter(computed)
        return pl.DataFrame(
            [
                next(own) if output.lookup is None else found[output.lookup][output.name]
                for output in self._query.outputs
            ]
        )

    def _computed(self) -> tuple[list[pl.Series], list[Any]]:
        """The computed columns, and the places of the rows that each lookup found."""
        count = len(self._query.lookups)
        if self._schema is None:
            found = self._connection.sql(f"EXECUTE {_STATEMENT}").pl()
            columns = found.get_columns()
            own = list(found.schema.items())[:-count]
            if all(dtype in _SIMPLE for _, dtype in own):
                self._schema = own
            return columns[:-count], columns[-count:]
        rows = self._connection.execute(f"EXECUTE {_STATEMENT}").fetchall()
        values = [list(column) for column in zip(*rows, strict=True)]
        values = values or [[] for _ in range(len(self._schema) + count)]
        named = zip(self._schema, values[:-count], strict=True)
        return [pl.Series(n, column, dtype) for (n, dtype), column in named], values[-count:]

    def _define(
        self, name: str, function: Callable[..., Any], given: list[str], returned: str
    ) -> None:
        if name in self._asked.defined:
            self._connection.remove_function(name)
        create: Any = self._connection.create_function
        create(
            name,
            function,
            given,
            returned,
            type="arrow",
            null_handling="special",
            side_effects=True,
        )
        self._asked.defined.add(name)


def _shown(query: LookupQuery, lookup: int) -> dict[str, str]:
    return {o.name: o.column for o in query.outputs if o.lookup == lookup and o.column}


def _struct(request: pl.DataFrame) -> "pa.StructArray":
    return request.to_struct("rows").to_arrow()


def _type_of(connection: "duckdb.DuckDBPyConnection", request: pl.DataFrame) -> str:
    """The type of a list of request rows."""
    connection.register("_rows", request)
    columns = connection.execute("DESCRIBE FROM _rows").fetchall()
    connection.unregister("_rows")
    return _struct_type([(row[0], str(row[1])) for row in columns]) + "[]"


def _struct_type(fields: Sequence[tuple[str, str]]) -> str:
    return "STRUCT(" + ", ".join(f'"{name}" {kind}' for name, kind in fields) + ")"


def _check_types(table: IndexedTable, keys: Sequence[str]) -> None:
    for column, key in zip(table.lookup.columns, table.lookup.keys, strict=True):
        if table.types[column] != keys[key]:
            raise NoIndexError


def _rows_function(asked: _Asked) -> Callable[[Any], Any]:
    def rows(_: Any) -> Any:
        from pyarrow import ListArray

        assert asked.rows is not None
        # Made by polars: pyarrow imports pandas before it reads a Python list.
        ends = pl.Series([0, len(asked.rows)], dtype=pl.Int32).to_arrow()
        return ListArray.from_arrays(ends, asked.rows)

    return rows


def _found_type(tables: Sequence[IndexedTable]) -> str:
    fields = [
        part
        for i, table in enumerate(tables)
        for part in (
            (f"at_{i}", "BIGINT"),
            *((f"v_{i}_{name}", table.types[name]) for name in table.lookup.values),
        )
    ]
    return _struct_type(fields)


def _found_function(tables: Sequence[IndexedTable], keys: int) -> Callable[..., Any]:
    def found(*given: Any) -> Any:
        asked = [plain_values(pl.Series(_Stream(column))) for column in given]
        columns = []
        for i, table in enumerate(tables):
            places = table.index.places([asked[k] for k in table.lookup.keys])
            columns.append(pl.Series(f"at_{i}", places, pl.Int64))
            columns += rows_at(table.values, places).get_columns()
        return _struct(pl.DataFrame(columns))

    # DuckDB counts a function's parameters.
    one = [Parameter(f"key_{i}", Parameter.POSITIONAL_ONLY) for i in range(keys)]
    found.__signature__ = Signature(one)  # type: ignore[attr-defined]
    return found


class _Stream:
    """What polars reads without more of pyarrow, which takes long to import."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return self._column.__arrow_c_stream__(schema)
