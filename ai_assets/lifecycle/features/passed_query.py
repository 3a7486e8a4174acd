"""A feature query that only hands columns of the request on: answered without a database.

Such is the query of pictures and texts, and the one that a product begins with. To plan and run a
statement in DuckDB takes milliseconds, whatever it does.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from ai_assets.lifecycle.features.join_query import JoinStatement
from ai_assets.lifecycle.features.lookup_index import NoIndexError
from ai_assets.lifecycle.features.lookups import REQUEST

if TYPE_CHECKING:
    import numpy as np
    from sqlglot import exp

    from ai_assets.lifecycle.features.encoding import Encoding

_FEW = 64
"""So many rows are encoded value by value sooner than column by column."""


def passed_columns(tree: "exp.Expr") -> tuple[tuple[str, str], ...]:
    """Each column of `request` that the query hands on and its name in the result, in order.

    Empty where the query does anything else.
    """
    from sqlglot import exp

    if not isinstance(tree, exp.Select):
        return ()
    if {name for name, value in tree.args.items() if value} != {"expressions", "from_"}:
        return ()
    table = tree.args["from_"].this
    if not isinstance(table, exp.Table) or table.name.lower() != REQUEST:
        return ()
    if {name for name, value in table.args.items() if value} - {"this", "alias"}:
        return ()
    if table.args.get("alias") is not None and table.args["alias"].columns:
        return ()
    pairs = [_pair(each, table.alias_or_name.lower()) for each in tree.expressions]
    names = [pair[1].lower() for pair in pairs if pair is not None]
    if None in pairs or len(set(names)) < len(names):
        return ()
    return tuple(pair for pair in pairs if pair is not None)


def _pair(given: "exp.Expr", table: str) -> tuple[str, str] | None:
    from sqlglot import exp

    column = given.this if isinstance(given, exp.Alias) else given
    if not isinstance(column, exp.Column) or isinstance(column.this, exp.Star):
        return None
    if column.args.get("db") or column.table.lower() not in ("", table):
        return None
    return column.name, given.alias_or_name


class PassedStatement:
    """The query, for requests of one schema.

    Args:
        columns: what `passed_columns` found.
        judge: the same query in the database, which says what the result's types are.
    """

    def __init__(self, columns: Sequence[tuple[str, str]], judge: JoinStatement) -> None:
        self._columns = columns
        self._judge = judge

    def prepare(self, request: pl.DataFrame) -> None:
        """Get ready for requests that have the schema of this one.

        Raises:
            NoIndexError: a column is not there under that very name, or comes back otherwise.
        """
        if not {column for column, _ in self._columns} <= set(request.columns):
            raise NoIndexError
        self._judge.prepare(request)
        if self._judge.ask(request).schema != self.ask(request).schema:
            raise NoIndexError

    def ask(self, request: pl.DataFrame) -> pl.DataFrame:
        """The features of rows that have the schema prepared for."""
        return pl.DataFrame([request.get_column(c).alias(n) for c, n in self._columns])

    def encoded(
        self, request: pl.DataFrame, encoding: "Encoding"
    ) -> "tuple[Sequence[Any], np.ndarray] | None":
        """The first column's values, and the matrix that models read, float32 [n, F].

        None where the matrix is better made, or must be made, of the frame.
        """
        import numpy as np

        of_name = {name: column for column, name in self._columns}
        if request.height > _FEW or not of_name.keys() >= {c.name for c in encoding.columns}:
            return None
        matrix = np.empty((request.height, encoding.width), dtype=np.float32)
        for place, column in zip(encoding.places, encoding.columns, strict=True):
            given = request.get_column(of_name[column.name])
            if not column.takes_plain(given.dtype):
                return None
            encoded = column.encode_plain(given.to_list())
            matrix[:, place] = encoded if column.shape else encoded[:, None]
        return request.get_column(self._columns[0][0]).to_list(), matrix
