"""The log as a SQLite file in WAL mode. Several processes of one host may write it."""

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from ai_assets.serving.record.answers import (
    Aged,
    Answered,
    Counted,
    Described,
    Entry,
    LogError,
    Told,
)
from ai_assets.serving.record.store import Span, few
from ai_assets.serving.record.tables import (
    FORMAT,
    Dialect,
    aged_of,
    answer_of,
    counts_of,
    id_bytes,
    outcome_of,
)

_LOCKED_FOR_S = 2.0
_ATTEMPTS = 20
_SQL = Dialect(integer="INTEGER", real="REAL", binary="BLOB", mark="?")


class SqliteStore:
    """A log in one file. One thread may write; each read has a connection of its own.

    Args:
        path: the file; made, for its owner alone, where there is none.

    Raises:
        LogError: it cannot be opened, or is of another format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _told():
            path.parent.mkdir(parents=True, exist_ok=True)
            # It holds what callers asked; the files beside it get the same mode. A file that is
            # there is left alone: to close it would release the locks that this process has on it.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._writer = _retried(lambda: _opened(path))

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep all of these in one transaction that is on the disk when it returns."""
        with _told(), _transaction(self._writer) as writer:
            for sql, rows in _SQL.puts(entries):
                writer.executemany(sql, rows)

    def find(self, request_ids: Collection[int]) -> dict[int, Answered]:
        """The entries with these ids that there are."""
        found: dict[int, Answered] = {}
        with self._reading() as reader:
            for request_id in set(request_ids):
                for row in reader.execute(_SQL.found(1), (id_bytes(request_id),)):
                    found[request_id] = answer_of(row)
        return found

    def answers(self, span: Span) -> Iterator[Answered]:
        """Requests with a row whose event time may lie in [from, to), by id."""
        with self._reading() as reader:
            for row in reader.execute(*_SQL.answers(span)):
                yield answer_of(row)

    def outcomes(self, span: Span) -> Iterator[Told]:
        """Outcomes of rows whose event time lies in [from, to), in the order they were sent."""
        with self._reading() as reader:
            for row in reader.execute(*_SQL.outcomes(span)):
                yield outcome_of(row)

    def counts(self, span: Span) -> Iterator[Counted]:
        """Counts of times that lie in [from, to) (microseconds of the clock)."""
        with self._reading() as reader:
            for row in reader.execute(*_SQL.counts(span)):
                yield counts_of(row)

    def newest_answers(
        self, since_us: int, bundle: str, role: str, most: int
    ) -> Iterator[Answered]:
        """The newest requests that a bundle answered in a role, newest first."""
        with self._reading() as reader:
            for row in reader.execute(*_SQL.newest_answers(since_us, bundle, role, most)):
                yield answer_of(row)

    def newest_outcomes(self, since_us: int, most: int) -> Iterator[Told]:
        """The outcomes that were sent last, newest first."""
        with self._reading() as reader:
            told = map(outcome_of, reader.execute(_SQL.newest_outcomes(most)))
            yield from takewhile(lambda one: one.at_us >= since_us, told)

    def descriptions(self) -> dict[str, Described]:
        """For each bundle that answered, how to read its answers."""
        with self._reading() as reader:
            return {tag: Described(tag, text) for tag, text in reader.execute(_SQL.bundles)}

    def aged(self, before_us: int) -> Iterator[Aged]:
        """The requests of before a moment of the clock, oldest first."""
        with self._reading() as reader:
            for row in reader.execute(*_SQL.aged(before_us)):
                yield aged_of(row)

    def aged_outcomes(self, before_us: int) -> Iterator[tuple[int, Told]]:
        """The outcomes that were sent before a moment, each with its number."""
        with self._reading() as reader:
            for number, *row in reader.execute(*_SQL.aged_outcomes(before_us)):
                yield number, outcome_of(tuple(row))

    def forget(self, request_ids: Sequence[int], outcomes: Sequence[int]) -> None:
        """Delete requests and outcomes; the file keeps its size, and its room is used again."""
        for ids in few([id_bytes(request_id) for request_id in request_ids]):
            self._do(_SQL.forget_answers(len(ids)), ids)
        for numbers in few(outcomes):
            self._do(_SQL.forget_outcomes(len(numbers)), numbers)

    def forget_counts(self, before_us: int) -> None:
        """Delete the counts of times that ended before a moment."""
        self._do(_SQL.forget_counts, [before_us])

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()

    def _do(self, sql: str, values: Sequence[Any]) -> None:
        with _told(), _transaction(self._writer) as writer:
            writer.execute(sql, values)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _told(), closing(_connected(self._path)) as reader:
            yield reader


def _connected(path: Path) -> sqlite3.Connection:
    # Without Python's own transactions. The writer is opened by one thread and may be closed by
    # another, never used by two at a time.
    return sqlite3.connect(
        path, timeout=_LOCKED_FOR_S, isolation_level=None, check_same_thread=False
    )


def _opened(path: Path) -> sqlite3.Connection:
    connection = _connected(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with _transaction(connection):
            _make_tables(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Make what the file lacks: all of a new one, what came since of an older one."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == FORMAT:
        return
    if found > FORMAT:
        # Callers hear of it: its name, not its place.
        raise LogError(f"The log {path.name} has format {found}, but only {FORMAT} can be written.")
    for statement in _SQL.tables_since(found):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def _retried(work: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """Turning a new file to WAL waits for nobody: when two processes do it, one is turned away."""
    for attempt in range(_ATTEMPTS):
        try:
            return work()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_LOCKED_FOR_S / _ATTEMPTS)
    raise AssertionError


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # A full disk ends some transactions by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LogError(f"The log cannot be used: {words}.") from error
