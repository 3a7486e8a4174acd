"""The feature query online: what depends on history alone is computed once for each snapshot."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.features.duck import MEMORY_LIMIT, connect
from ai_assets.lifecycle.features.hoist import Plan, hoist
from ai_assets.lifecycle.features.moments import Frame, with_moments
from ai_assets.lifecycle.features.query import REQUEST, ROW_ID, in_request_order
from ai_assets.lifecycle.features.sql_errors import check_one_select, explained
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    import duckdb

_ROWS, _STATEMENT = "_rows", "_ask"
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


@dataclass(frozen=True)
class _Snapshot:
    """A connection whose tables never change: a refresh makes another one."""

    connection: "duckdb.DuckDBPyConnection"
    lock: threading.Lock
    asked: "_Asked"


@dataclass
class _Asked:
    """The columns of `request` that the statement is prepared for, and how often it was asked."""

    schema: pl.Schema | None = None
    times: int = 0


class PreparedQuery:
    """The feature SQL, ready to answer small requests over a snapshot of the tables.

    Gives the same values as `run_features` over the same tables. Safe to call from threads; a
    refresh swaps the snapshot at once, and answers under way end on the one they began with.
    """

    def __init__(
        self,
        sql: str,
        tables: Mapping[str, Frame],
        specs: Mapping[str, Table],
        request_table: str,
        horizon: timedelta,
        *,
        plan: Plan | None = None,
        memory_limit: str = MEMORY_LIMIT,
        file: str = "features.sql",
    ) -> None:
        check_one_select(sql, file)
        self._sql = sql
        self._specs = specs
        self._request_table = request_table
        self._horizon = horizon
        self._memory_limit = memory_limit
        self._file = file
        self._plan: Plan = plan or hoist(sql)
        self._snapshot = self._open(tables)

    def run(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The features of the rows, in their order. Rows without `_row_id` get 0, 1, 2, ...

        Raises:
            DataError: a column is not as declared.
            DeclarationError: the SQL fails on these rows.
        """
        if ROW_ID not in rows.columns:
            rows = rows.with_columns(pl.int_range(rows.height, dtype=pl.Int64).alias(ROW_ID))
        spec = self._specs[self._request_table]
        request = with_moments(rows, spec, is_request=True, horizon=self._horizon).lazy().collect()
        snapshot = self._snapshot
        with snapshot.lock:
            found = self._ask(snapshot, request)
        return in_request_order(found, rows[ROW_ID], self._file)

    def _ask(self, snapshot: _Snapshot, request: pl.DataFrame) -> pl.DataFrame:
        """Run the prepared statement over the rows; called under the snapshot's lock."""
        connection, asked = snapshot.connection, snapshot.asked
        connection.register(_ROWS, request)
        with explained(connection, self._plan.rest, self._file):
            if asked.schema != request.schema or asked.times >= _ANEW_AFTER:
                asked.schema = None
                connection.execute(f'CREATE OR REPLACE TABLE "{REQUEST}" AS FROM {_ROWS}')
                connection.execute(f"PREPARE {_STATEMENT} AS {self._plan.rest}")
                asked.schema, asked.times = request.schema, 0
            else:
                connection.execute(f'DELETE FROM "{REQUEST}"')
                connection.execute(f'INSERT INTO "{REQUEST}" FROM {_ROWS}')
            asked.times += 1
            return connection.sql(f"EXECUTE {_STATEMENT}").pl()

    def refresh(self, tables: Mapping[str, Frame]) -> None:
        """Answer from other tables from now on. All of them are given, not only those that changed.

        If they are not as declared, the error is raised and the present snapshot stays.
        """
        self._snapshot = self._open(tables)

    def _open(self, tables: Mapping[str, Frame]) -> _Snapshot:
        connection = connect(self._memory_limit, threads=1)
        for name, frame in tables.items():
            ahead = name == self._request_table
            known = with_moments(frame, self._specs[name], is_request=False, ahead=ahead)
            connection.register("_given", known)
            connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM _given')
            connection.unregister("_given")
        for statement in self._plan.statements:
            with explained(connection, self._sql, self._file):
                connection.execute(statement)
        _plan_quickly(connection)
        return _Snapshot(connection, threading.Lock(), _Asked())


def _plan_quickly(connection: "duckdb.DuckDBPyConnection") -> None:
    """Switch off the passes of the planner that small tables do not need, of those there are."""
    known = {row[0] for row in connection.execute("FROM duckdb_optimizers()").fetchall()}
    passes = [name for name in _NEEDLESS_PASSES if name in known]
    connection.execute("SET disabled_optimizers=?", [",".join(passes)])
