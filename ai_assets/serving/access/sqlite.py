"""Keys in a file: SQLite, readable by its owner alone."""

import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.serving.access.keys import Key
from ai_assets.serving.access.store import COLUMNS, check_known, key_of, row_of

if TYPE_CHECKING:
    import sqlite3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, scopes TEXT NOT NULL, rate TEXT, quota TEXT,
    created_at REAL NOT NULL, expires_at REAL, revoked_at REAL,
    salt BLOB NOT NULL, digest BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS used (
    id TEXT NOT NULL, began INTEGER NOT NULL, requests INTEGER NOT NULL, PRIMARY KEY (id, began)
) STRICT;
CREATE TABLE IF NOT EXISTS revision (number INTEGER NOT NULL) STRICT;
INSERT INTO revision SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM revision);
"""
_BUSY_S = 5.0


class KeyFile:
    """Keys in a file, made when the first key is.

    Args:
        path: the file. Several servers and commands may use it at the same time.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lending = threading.Lock()

    def add(self, key: Key) -> None:
        """Keep a new key."""
        row = row_of(key)
        with self._changing() as database:
            database.execute(f"INSERT INTO keys VALUES ({','.join('?' * len(row))})", row)

    def revoke(self, identity: str, now: float) -> Key:
        """Close a key for good; a second time changes nothing.

        Raises:
            AccessError: there is no such key.
        """
        check_known(identity, self.keys(), str(self.path))
        with self._changing() as database:
            database.execute(
                "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
                (now, identity),
            )
        return self.keys()[identity]

    def keys(self) -> dict[str, Key]:
        """Every key by its id, oldest first; none where there is no file yet."""
        if not self.path.is_file():
            return {}
        with self.opened() as database:
            return {row[0]: key_of(row) for row in _rows(database)}

    def revision(self) -> tuple[int, int]:
        """Which file it is, and a number that each change of a key makes greater."""
        if not self.path.is_file():
            return (0, 0)
        with self.opened() as database:
            number = database.execute("SELECT number FROM revision").fetchone()[0]
        return (self.path.stat().st_ino, int(number))

    def used(self, identity: str, began: int) -> int:
        """How many requests of a window are used, or lent to a server to be used."""
        if not self.path.is_file():
            return 0
        query = "SELECT requests FROM used WHERE id = ? AND began = ?"
        with self.opened() as database:
            found = database.execute(query, (identity, began)).fetchone()
        return int(found[0]) if found else 0

    def lend(self, identity: str, began: int, block: int, most: int) -> int:
        """Take up to `block` requests out of a window's `most`; how many there were to take."""
        with self._lending, self._lender as database:
            database.execute("BEGIN IMMEDIATE")
            query = "SELECT requests FROM used WHERE id = ? AND began = ?"
            found = database.execute(query, (identity, began)).fetchone()
            given = max(0, min(block, most - (found[0] if found else 0)))
            # Not the window before: a server that asks late would count it anew.
            before = "SELECT max(began) FROM used WHERE id = ? AND began < ?"
            sql = f"DELETE FROM used WHERE id = ? AND began < ({before})"
            database.execute(sql, (identity, identity, began))
            database.execute(
                "INSERT INTO used VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET requests = requests + excluded.requests",
                (identity, began, given),
            )
        return given

    @cached_property
    def _lender(self) -> "sqlite3.Connection":
        """Stays open: whoever closes the last connection waits until the disk has all of it."""
        return self._connection()

    @contextmanager
    def opened(self) -> Iterator["sqlite3.Connection"]:
        """A connection to a file that is there."""
        database = self._connection()
        try:
            yield database
        finally:
            database.close()

    def _connection(self) -> "sqlite3.Connection":
        import sqlite3

        # One thread at a time lends, but not always the same one.
        database = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        # What is lost at a power cut is at most a block of a quota; keys are synced to disk.
        database.execute("PRAGMA synchronous = NORMAL")
        return database

    @contextmanager
    def _changing(self) -> Iterator["sqlite3.Connection"]:
        self._make()
        with self.opened() as database:
            database.execute("PRAGMA synchronous = FULL")
            with database:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("UPDATE revision SET number = number + 1")

    def _make(self) -> None:
        if self.path.is_file():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=stat.S_IRWXU)
        # Its owner's alone, and SQLite gives the files beside it the same rights.
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        os.close(handle)
        new = Path(name)
        try:
            with KeyFile(new).opened() as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_SCHEMA)
            # Nobody sees a file without its tables, and whoever is first wins.
            with suppress(FileExistsError):
                self.path.hardlink_to(new)
        finally:
            new.unlink()


def _rows(database: "sqlite3.Connection") -> list[tuple[Any, ...]]:
    return database.execute(
        f"SELECT {', '.join(COLUMNS)} FROM keys ORDER BY created_at, id"
    ).fetchall()
