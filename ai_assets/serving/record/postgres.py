"""The log in a PostgreSQL database, where servers on several hosts write one log.

A database that restarts or goes away costs answers (503), never records: the writer connects again
for the next group. Whether a group was kept whose commit was cut off, the database is asked by the
transaction's number, so that what is written again is not there twice.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import psycopg
from psycopg import errors

from ai_assets.serving.place import LOG
from ai_assets.serving.postgres import (
    LONGEST_OF_MANY_S,
    LONGEST_S,
    Connection,
    KeptConnection,
    connected,
    making,
    parsed,
    said,
)
from ai_assets.serving.record.answers import (
    Aged,
    Answered,
    Counted,
    Described,
    Entry,
    LogError,
    Told,
)
from ai_assets.serving.record.store import FEW, Span, few
from ai_assets.serving.record.tables import (
    FORMAT,
    Dialect,
    aged_of,
    answer_of,
    counts_of,
    id_bytes,
    outcome_of,
)


class PostgresStore:
    """A log in one schema of a database. One thread may write; reads have connections of their own.

    Args:
        url: as libpq takes it, with `schema=<name>` among its parameters.

    Raises:
        BundleError: the URL cannot be understood.
        LogError: the log cannot be opened, or is of another format.
    """

    def __init__(self, url: str) -> None:
        self._conninfo, self._schema = parsed(url, LOG)
        self._sql = Dialect(
            integer="BIGINT",
            real="DOUBLE PRECISION",
            binary="BYTEA",
            mark="%s",
            inside=f'"{self._schema}".',
            rows="json_array_length(label::json)",
            order="number",
            declared="number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        )
        self._writer: Connection | None = None
        self._in_doubt: tuple[str, Sequence[Entry]] | None = None
        self._reader = KeptConnection(self._conninfo)
        with _told():
            self._open()

    @classmethod
    def is_there(cls, url: str) -> bool:
        """Whether anything was ever recorded there.

        Raises:
            LogError: the database cannot be asked.
        """
        conninfo, schema = parsed(url, LOG)
        with _told(), connected(conninfo, LONGEST_S) as connection:
            return _format(connection, schema) is not None

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep all of these in one transaction that is on the disk when it returns."""
        with _told():
            try:
                self._keep(entries)
            except psycopg.OperationalError:
                if self._writer is None or not self._writer.closed:
                    raise
                # The connection broke. The database may be there again already.
                self._keep(entries)

    def find(self, request_ids: Collection[int]) -> dict[int, Answered]:
        """The entries with these ids that there are."""
        ids = [id_bytes(request_id) for request_id in set(request_ids)]
        found: dict[int, Answered] = {}
        for part in few(ids):
            sql = self._sql.found(len(part))
            for entry in map(answer_of, self._asked(sql, part)):
                found[entry.request_id] = entry
        return found

    def answers(self, span: Span) -> Iterator[Answered]:
        """Requests with a row whose event time may lie in [from, to), by id."""
        for row in self._stream(*self._sql.answers(span)):
            yield answer_of(row)

    def outcomes(self, span: Span) -> Iterator[Told]:
        """Outcomes of rows whose event time lies in [from, to), in the order they were sent."""
        for row in self._stream(*self._sql.outcomes(span)):
            yield outcome_of(row)

    def counts(self, span: Span) -> Iterator[Counted]:
        """Counts of times that lie in [from, to) (microseconds of the clock)."""
        for row in self._stream(*self._sql.counts(span)):
            yield counts_of(row)

    def newest_answers(
        self, since_us: int, bundle: str, role: str, most: int
    ) -> Iterator[Answered]:
        """The newest requests that a bundle answered in a role, newest first."""
        for row in self._stream(*self._sql.newest_answers(since_us, bundle, role, most)):
            yield answer_of(row)

    def newest_outcomes(self, since_us: int, most: int) -> Iterator[Told]:
        """The outcomes that were sent last, newest first."""
        told = map(outcome_of, self._stream(self._sql.newest_outcomes(most), []))
        yield from takewhile(lambda one: one.at_us >= since_us, told)

    def descriptions(self) -> dict[str, Described]:
        """For each bundle that answered, how to read its answers."""
        return {tag: Described(tag, text) for tag, text in self._asked(self._sql.bundles)}

    def aged(self, before_us: int) -> Iterator[Aged]:
        """The requests of before a moment of the clock, oldest first."""
        for row in self._stream(*self._sql.aged(before_us)):
            yield aged_of(row)

    def aged_outcomes(self, before_us: int) -> Iterator[tuple[int, Told]]:
        """The outcomes that were sent before a moment, each with its number."""
        for number, *row in self._stream(*self._sql.aged_outcomes(before_us)):
            yield number, outcome_of(tuple(row))

    def forget(self, request_ids: Sequence[int], outcomes: Sequence[int]) -> None:
        """Delete requests and outcomes; vacuum gives the room to new ones."""
        for ids in few([id_bytes(request_id) for request_id in request_ids]):
            self._do(self._sql.forget_answers(len(ids)), ids)
        for numbers in few(outcomes):
            self._do(self._sql.forget_outcomes(len(numbers)), numbers)

    def forget_counts(self, before_us: int) -> None:
        """Delete the counts of times that ended before a moment."""
        self._do(self._sql.forget_counts, [before_us])

    def close(self) -> None:
        """Let go of the database."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._reader.close()

    def _open(self) -> Connection:
        """The connection that writes, made anew where the one before broke."""
        if self._writer is None or self._writer.closed:
            self._writer = None
            connection = connected(self._conninfo, LONGEST_OF_MANY_S)
            try:
                _make_tables(connection, self._schema, self._sql)
                connection.bound(LONGEST_S)
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        return self._writer

    def _keep(self, entries: Sequence[Entry]) -> None:
        if self._in_doubt is not None:
            before, self._in_doubt = self._in_doubt, None
            if entries is before[1] and self._was_kept(before):
                return
        self._put(self._open(), entries)

    def _put(self, writer: Connection, entries: Sequence[Entry]) -> None:
        """Write in one transaction; where it is not known to be kept, note its number."""
        number = ""
        try:
            with writer.transaction(), writer.cursor() as cursor:
                found = cursor.execute("SELECT pg_current_xact_id()::text").fetchone()
                number = found[0] if found else ""
                for sql, rows in self._sql.puts(entries):
                    cursor.executemany(sql, rows)
        except psycopg.OperationalError:
            if writer.closed and number:
                self._in_doubt = (number, entries)
            raise

    def _was_kept(self, doubt: tuple[str, Sequence[Entry]]) -> bool:
        """Whether the transaction took place, whose end was not heard of.

        Raises:
            LogError: it may still be under way.
        """
        try:
            ask = "SELECT pg_xact_status(%s::text::xid8)"
            found = self._open().execute(ask, [doubt[0]]).fetchone()
        except errors.InvalidParameterValue:
            # It lies in the future: this database, which took over, has never come so far.
            return False
        except BaseException:
            self._in_doubt = doubt
            raise
        if found == ("in progress",):
            self._in_doubt = doubt
            raise LogError("The log cannot be used: a transaction is still under way.")
        return found == ("committed",)

    def _do(self, sql: str, values: Sequence[Any]) -> None:
        with _told():
            self._open().execute(sql, values)

    def _asked(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows, by the connection that is kept for those who look for a few."""
        with _told():
            return self._reader.done(lambda reader: reader.execute(sql, values).fetchall())

    def _stream(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows, a few at a time, as they were when the first was read."""
        with (
            _told(),
            connected(self._conninfo, LONGEST_OF_MANY_S) as connection,
            connection.transaction(),
            connection.cursor("reading") as cursor,
        ):
            cursor.itersize = FEW
            yield from cursor.execute(sql, values)


def _format(connection: Connection, schema: str) -> int | None:
    """The format of the log in a schema; None where there is no log."""
    (there,) = connection.execute("SELECT to_regclass(%s)", [f'"{schema}".format']).fetchone() or (
        "",
    )
    if there is None:
        return None
    found = connection.execute(f'SELECT version FROM "{schema}".format').fetchone()
    return int(found[0]) if found else None


def _make_tables(connection: Connection, schema: str, sql: Dialect) -> None:
    """Make what the schema lacks: all of a new log, what came since of an older one."""
    found = _format(connection, schema) or 0
    if found < FORMAT:
        with making(connection, schema, "log"):
            found = _format(connection, schema) or 0
            if found < FORMAT:
                _bring_up(connection, schema, sql.tables_since(found))
                found = FORMAT
    if found > FORMAT:
        raise LogError(
            f"The log in schema {schema} has format {found}, but only {FORMAT} can be written."
        )


def _bring_up(connection: Connection, schema: str, tables: list[str]) -> None:
    for statement in tables:
        connection.execute(statement)
    connection.execute(f'CREATE TABLE IF NOT EXISTS "{schema}".format (version BIGINT NOT NULL)')
    connection.execute(f'DELETE FROM "{schema}".format')
    connection.execute(f'INSERT INTO "{schema}".format VALUES ({FORMAT})')


@contextmanager
def _told() -> Iterator[None]:
    """What a caller may hear: no host, no user, no database. The rest is the cause."""
    try:
        yield
    except psycopg.Error as error:
        raise LogError(f"The log cannot be used: {said(error)}.") from error
