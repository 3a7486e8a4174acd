"""A feature query as it is written, prepared for requests of one schema."""

from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.features.duck import Streamed
from ai_assets.lifecycle.features.lookups import REQUEST

if TYPE_CHECKING:
    import duckdb

    from ai_assets.lifecycle.features.encoding import Encoding

_ROWS, _STATEMENT = "_rows", "_join"
# A table that is emptied and filled again and again keeps remains; now and then it is made anew.
_ANEW_AFTER = 1_000
# Planning is most of what one row costs. These passes cost more than they save on small tables.
_NEEDLESS_PASSES = (
    "join_order",
    "statistics_propagation",
    "compressed_materialization",
    "build_side_probe_side",
    "cte_inlining",
    "common_subplan",
    "join_filter_pushdown",
    "sampling_pushdown",
    "sum_rewriter",
    "late_materialization",
    "top_n",
    "limit_pushdown",
    "window_self_join",
    "deliminator",
    "duplicate_groups",
    "reorder_filter",
    "regex_range",
)


class JoinStatement:
    """Reads the request from a table and joins it with those of the connection."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", sql: str) -> None:
        self._connection = connection
        self._sql = sql
        self._rows = Streamed(pl.DataFrame())
        self._times = 0

    def prepare(self, request: pl.DataFrame) -> None:
        """Get ready for requests that have the schema of this one."""
        _plan_quickly(self._connection)
        self._rows.frame = request
        self._connection.register(_ROWS, self._rows)
        self._connection.execute(f'CREATE OR REPLACE TABLE "{REQUEST}" AS FROM {_ROWS}')
        self._connection.execute(f"PREPARE {_STATEMENT} AS {self._sql}")
        self._times = 0

    def ask(self, request: pl.DataFrame) -> pl.DataFrame:
        """The features of rows that have the schema prepared for."""
        self._times += 1
        if self._times > _ANEW_AFTER:
            self.prepare(request)
        else:
            self._rows.frame = request
            self._connection.execute(f'DELETE FROM "{REQUEST}"')
            self._connection.execute(f'INSERT INTO "{REQUEST}" FROM {_ROWS}')
        return pl.DataFrame(self._connection.sql(f"EXECUTE {_STATEMENT}"))

    def encoded(self, request: pl.DataFrame, encoding: "Encoding") -> None:
        """The matrix must be made of the frame."""


def _plan_quickly(connection: "duckdb.DuckDBPyConnection") -> None:
    """Switch off the passes of the planner that small tables do not need, of those there are."""
    known = {row[0] for row in connection.execute("FROM duckdb_optimizers()").fetchall()}
    passes = [name for name in _NEEDLESS_PASSES if name in known]
    connection.execute("SET disabled_optimizers=?", [",".join(passes)])
