"""The log as a SQLite file in WAL mode. Several processes of one host may write it."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ai_assets.serving.record.answers import Answered, Described, Entry, LogError, Told
from ai_assets.serving.record.store import Span

FORMAT = 1
_LOCKED_FOR_S = 2.0
_ATTEMPTS = 20
_ID = 16
_TABLES = """
CREATE TABLE answers (
    request_id BLOB NOT NULL UNIQUE, at_us INTEGER NOT NULL, route TEXT NOT NULL, key_id TEXT,
    bundle TEXT NOT NULL, model TEXT, role TEXT NOT NULL, online TEXT NOT NULL,
    threshold REAL NOT NULL, latency_ms REAL NOT NULL, event_from INTEGER, event_to INTEGER,
    given BLOB NOT NULL, features BLOB NOT NULL, probability BLOB NOT NULL, label TEXT NOT NULL
);
CREATE INDEX answers_by_event ON answers (event_from, event_to);
CREATE TABLE outcomes (
    at_us INTEGER NOT NULL, known_us INTEGER NOT NULL, key_id TEXT, prediction_id TEXT,
    entity TEXT NOT NULL, event_us INTEGER, outcome TEXT NOT NULL
);
CREATE INDEX outcomes_by_event ON outcomes (event_us);
CREATE TABLE bundles (tag TEXT PRIMARY KEY, content TEXT NOT NULL);
"""
_PUT_ANSWER = f"INSERT INTO answers VALUES ({', '.join('?' * 16)})"
_PUT_OUTCOME = f"INSERT INTO outcomes VALUES ({', '.join('?' * 7)})"


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
        answers = [_answer_row(e) for e in entries if isinstance(e, Answered)]
        outcomes = [_outcome_row(e) for e in entries if isinstance(e, Told)]
        bundles = [(e.tag, e.content) for e in entries if isinstance(e, Described)]
        with _told(), _transaction(self._writer) as writer:
            writer.executemany("INSERT OR IGNORE INTO bundles VALUES (?, ?)", bundles)
            writer.executemany(_PUT_ANSWER, answers)
            writer.executemany(_PUT_OUTCOME, outcomes)

    def find(self, request_ids: Collection[int]) -> dict[int, Answered]:
        """The entries with these ids that there are."""
        found: dict[int, Answered] = {}
        with self._reading() as reader:
            for request_id in set(request_ids):
                sql = "SELECT * FROM answers WHERE request_id = ?"
                for row in reader.execute(sql, (request_id.to_bytes(_ID),)):
                    found[request_id] = _answer(row)
        return found

    def answers(self, span: Span) -> Iterator[Answered]:
        """Requests with a row whose event time may lie in [from, to), by id."""
        where, values = _within(span, "event_to", "event_from")
        with self._reading() as reader:
            sql = f"SELECT * FROM answers WHERE {where} ORDER BY request_id"
            for row in reader.execute(sql, values):
                yield _answer(row)

    def outcomes(self, span: Span) -> Iterator[Told]:
        """Outcomes of rows whose event time lies in [from, to), in the order they were sent."""
        where, values = _within(span, "event_us", "event_us")
        with self._reading() as reader:
            sql = f"SELECT * FROM outcomes WHERE {where} ORDER BY rowid"
            for row in reader.execute(sql, values):
                yield _outcome(row)

    def descriptions(self) -> dict[str, Described]:
        """For each bundle that answered, how to read its answers."""
        with self._reading() as reader:
            return {
                tag: Described(tag, text) for tag, text in reader.execute("SELECT * FROM bundles")
            }

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _told(), closing(_connected(self._path)) as reader:
            yield reader


def _within(span: Span, last: str, first: str) -> tuple[str, list[int]]:
    """The condition that [first, last] reaches into the span, and its values."""
    start, end = span
    parts = [f"{last} >= ?"] * (start is not None) + [f"{first} < ?"] * (end is not None)
    return " AND ".join(parts) or "TRUE", [moment for moment in span if moment is not None]


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
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == FORMAT:
        return
    if found:
        raise LogError(f"The log {path} has format {found}, but only {FORMAT} can be written.")
    for statement in _TABLES.split(";"):
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


def _answer_row(entry: Answered) -> tuple[Any, ...]:
    return (
        entry.request_id.to_bytes(_ID), entry.at_us, entry.route, entry.key_id, entry.bundle,
        entry.model, entry.role, json.dumps(dict(entry.online)), entry.threshold,
        entry.latency_ms, entry.event_from, entry.event_to, entry.given, entry.features,
        entry.probability, json.dumps(list(entry.label), ensure_ascii=False),
    )  # fmt: skip


def _answer(row: tuple[Any, ...]) -> Answered:
    values = list(row)
    values[0], values[7], values[-1] = (
        int.from_bytes(values[0]),
        json.loads(values[7]),
        json.loads(values[-1]),
    )
    return Answered(*values)


def _outcome(row: tuple[Any, ...]) -> Told:
    values = [*row[:-1], json.loads(row[-1])]
    return Told(*values)


def _outcome_row(entry: Told) -> tuple[Any, ...]:
    return (
        entry.at_us, entry.known_us, entry.key_id, entry.prediction_id, entry.entity,
        entry.event_us, json.dumps(entry.outcome, ensure_ascii=False),
    )  # fmt: skip
