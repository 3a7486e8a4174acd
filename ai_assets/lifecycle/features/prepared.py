"""The feature query online: what depends on history alone is computed once for each snapshot."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.features.duck import MEMORY_LIMIT, Streamed, connect
from ai_assets.lifecycle.features.hoist import Plan, hoist
from ai_assets.lifecycle.features.join_query import JoinStatement
from ai_assets.lifecycle.features.lookup_index import NoIndexError
from ai_assets.lifecycle.features.lookup_query import LookupStatement
from ai_assets.lifecycle.features.moments import Frame, RequestMoments, with_moments
from ai_assets.lifecycle.features.passed_query import PassedStatement
from ai_assets.lifecycle.features.query import ROW_ID, in_request_order
from ai_assets.lifecycle.features.sql_errors import check_one_select, explained
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    import duckdb
    import numpy as np

    from ai_assets.lifecycle.features.encoding import Encoding

    R = TypeVar("R")
    Statement = LookupStatement | PassedStatement | JoinStatement


@dataclass
class _Snapshot:
    """A connection whose tables never change: a refresh makes another one.

    Attributes:
        statements: ways to ask, the quickest first. The last one always answers.
        schema: the columns of the request that `ready` is prepared for.
    """

    connection: "duckdb.DuckDBPyConnection"
    lock: threading.Lock
    statements: "list[Statement]"
    schema: pl.Schema | None = None
    ready: "Statement | None" = None


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
        self._sql = sql
        self._specs = specs
        self._request_table = request_table
        self._horizon = horizon
        self._memory_limit = memory_limit
        self._file = file
        if plan is None:
            check_one_select(sql, file)
            plan = hoist(sql)
        self._plan: Plan = plan
        numbers = pl.Series(ROW_ID, [], pl.Int64)
        self._moments = RequestMoments(specs[request_table], horizon, numbers)
        self._snapshot = self._open(tables)

    def run(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The features of the rows, in their order. Rows without `_row_id` get 0, 1, 2, ...

        Raises:
            DataError: a column is not as declared.
            DeclarationError: the SQL fails on these rows.
        """
        request, schema = self._request(rows)
        found = self._asked(request, schema, lambda statement: statement.ask(request))
        if found.columns[0] == ROW_ID and found[ROW_ID].equals(request[ROW_ID]):
            return found
        return in_request_order(found, request[ROW_ID], self._file)

    def encoded(self, rows: pl.DataFrame, encoding: "Encoding") -> "np.ndarray":
        """What `encoding.transform` makes of the features of the rows: float32 [n, F].

        Raises:
            DataError: a column is not as declared, or a feature is missing.
            DeclarationError: the SQL fails on these rows.
        """
        request, schema = self._request(rows)
        found = self._asked(request, schema, lambda s: s.encoded(request, encoding))
        if found is not None:
            ids, matrix = found
            if list(ids) == request[ROW_ID].to_list():
                return matrix
        return encoding.transform(self.run(rows))

    def _request(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Schema]:
        """The rows as the query sees them, and their schema."""
        if ROW_ID not in rows.columns:
            ids = pl.Series(ROW_ID, range(rows.height), pl.Int64)
            rows = rows.hstack([ids])
        if self._moments.take(rows):
            return self._moments.of(rows), self._moments.schema
        spec = self._specs[self._request_table]
        request = with_moments(rows, spec, is_request=True, horizon=self._horizon)
        request = request.collect() if isinstance(request, pl.LazyFrame) else request
        return request, request.schema

    def _asked(
        self,
        request: pl.DataFrame,
        schema: pl.Schema,
        ask: "Callable[[Statement], R]",
    ) -> "R":
        """What a statement says, prepared for requests of the schema."""
        snapshot = self._snapshot
        with snapshot.lock, explained(snapshot.connection, self._plan.rest, self._file):
            if snapshot.ready is None or not _same(snapshot.schema, schema):
                snapshot.ready = None
                snapshot.ready = _prepared(snapshot.statements, request)
                snapshot.schema = schema
            try:
                return ask(snapshot.ready)
            except NoIndexError:
                snapshot.statements = snapshot.statements[-1:]
                snapshot.ready = _prepared(snapshot.statements, request)
                return ask(snapshot.ready)

    @property
    def looks_up(self) -> bool:
        """Whether the last request was answered from indexes, without joins of whole tables."""
        return isinstance(self._snapshot.ready, LookupStatement)

    def refresh(self, tables: Mapping[str, Frame]) -> None:
        """Answer from other tables from now on. All of them are given, not only those that changed.

        If they are not as declared, the error is raised and the present snapshot stays.
        """
        self._snapshot = self._open(tables)

    def _open(self, tables: Mapping[str, Frame]) -> _Snapshot:
        connection = connect(self._memory_limit, threads=1)
        check_one_select(self._sql, self._file, connection)
        # All moments before any table: their SQL reads the row's own columns, and nothing else.
        known = {
            name: with_moments(
                frame,
                self._specs[name],
                is_request=False,
                ahead=name == self._request_table,
                connection=connection,
            )
            for name, frame in tables.items()
        }
        for name, frame in known.items():
            frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
            connection.register("_given", Streamed(frame))
            connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM _given')
            connection.unregister("_given")
        for statement in self._plan.statements:
            with explained(connection, self._sql, self._file):
                connection.execute(statement)
        return _Snapshot(connection, threading.Lock(), _statements(connection, self._plan))


def _same(known: pl.Schema | None, schema: pl.Schema) -> bool:
    """Whether a schema is the known one; that of most requests is one and the same object."""
    return known is schema or known == schema


def _statements(connection: "duckdb.DuckDBPyConnection", plan: Plan) -> "list[Statement]":
    """Lookups, or nothing at all, if the query and its tables allow it; joins in any case."""
    joins = JoinStatement(connection, plan.rest)
    if plan.passed:
        return [PassedStatement(plan.passed, joins), joins]
    try:
        return [LookupStatement(connection, plan.quick), joins] if plan.quick else [joins]
    except NoIndexError:
        return [joins]


def _prepared(statements: "list[Statement]", request: pl.DataFrame) -> "Statement":
    """The first statement that takes requests of this schema."""
    import duckdb

    *quick, last = statements
    for statement in quick:
        # If the query itself is wrong, the last statement says so in the query's own words.
        with suppress(NoIndexError, duckdb.Error):
            statement.prepare(request)
            return statement
    last.prepare(request)
    return last
