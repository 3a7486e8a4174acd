"""Keys in a PostgreSQL database, so that servers on several hosts share them and their quotas.

Answers wait for it once a second at most, for the number that each change of a key makes greater,
and where a server borrows of a quota. A database that does not answer lets nobody pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from ai_assets.serving.access.keys import AccessError, Key
from ai_assets.serving.access.store import COLUMNS, check_known, key_of, row_of
from ai_assets.serving.place import KEYS
from ai_assets.serving.postgres import Connection, Found, KeptConnection, making, parsed, said

SCHEMA = "access"
_TABLES = """
CREATE TABLE IF NOT EXISTS {inside}.keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, scopes TEXT NOT NULL, rate TEXT, quota TEXT,
    created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION, salt BYTEA NOT NULL, digest BYTEA NOT NULL
);
CREATE TABLE IF NOT EXISTS {inside}.used (
    id TEXT NOT NULL, began BIGINT NOT NULL, requests BIGINT NOT NULL, PRIMARY KEY (id, began)
);
CREATE TABLE IF NOT EXISTS {inside}.revision (number BIGINT NOT NULL);
INSERT INTO {inside}.revision SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM {inside}.revision);
"""


class KeyDatabase:
    """Keys in one schema of a database, made when the first key is.

    Args:
        url: as libpq takes it; `schema=<name>` among its parameters names another schema.

    Raises:
        BundleError: the URL cannot be understood.
    """

    def __init__(self, url: str) -> None:
        conninfo, schema = parsed(url, KEYS, SCHEMA)
        self._schema, self._inside = schema, f'"{schema}"'
        self._kept = KeptConnection(conninfo)

    def add(self, key: Key) -> None:
        """Keep a new key."""
        marks = ", ".join(["%s"] * len(COLUMNS))
        # Sent again where the connection broke, it may be there.
        sql = f"INSERT INTO {self._inside}.keys VALUES ({marks}) ON CONFLICT DO NOTHING"
        self._make()
        self._done(lambda connection: self._change(connection, sql, row_of(key)))

    def revoke(self, identity: str, now: float) -> Key:
        """Close a key for good; a second time changes nothing.

        Raises:
            AccessError: there is no such key.
        """
        check_known(identity, self.keys(), f"schema {self._schema} of the database")
        sql = f"UPDATE {self._inside}.keys SET revoked_at = %s WHERE id = %s AND revoked_at IS NULL"
        self._done(lambda connection: self._change(connection, sql, (now, identity)))
        return self.keys()[identity]

    def keys(self) -> dict[str, Key]:
        """Every key by its id, oldest first; none where there are no tables yet."""
        sql = f"SELECT {', '.join(COLUMNS)} FROM {self._inside}.keys ORDER BY created_at, id"

        def read(connection: Connection) -> dict[str, Key]:
            if not self._made(connection):
                return {}
            return {row[0]: key_of(row) for row in connection.execute(sql)}

        return self._done(read)

    def revision(self) -> tuple[int, int]:
        """Which table it is, and a number that each change of a key makes greater."""

        def read(connection: Connection) -> tuple[int, int]:
            made = self._made(connection)
            if not made:
                return (0, 0)
            found = connection.execute(f"SELECT number FROM {self._inside}.revision").fetchone()
            return (made, int(found[0]) if found else 0)

        return self._done(read)

    def used(self, identity: str, began: int) -> int:
        """How many requests of a window are used, or lent to a server to be used."""
        sql = f"SELECT requests FROM {self._inside}.used WHERE id = %s AND began = %s"

        def read(connection: Connection) -> int:
            found = None
            if self._made(connection):
                found = connection.execute(sql, (identity, began)).fetchone()
            return int(found[0]) if found else 0

        return self._done(read)

    def lend(self, identity: str, began: int, block: int, most: int) -> int:
        """Take up to `block` requests out of a window's `most`; how many there were to take."""
        used, window = f"{self._inside}.used", (identity, began)

        def take(connection: Connection) -> int:
            with connection.transaction():
                connection.execute(
                    f"INSERT INTO {used} VALUES (%s, %s, 0) ON CONFLICT DO NOTHING", window
                )
                # Other servers wait here until this one has taken its block.
                sql = f"SELECT requests FROM {used} WHERE id = %s AND began = %s FOR UPDATE"
                found = connection.execute(sql, window).fetchone()
                given = max(0, min(block, most - (found[0] if found else most)))
                sql = f"UPDATE {used} SET requests = requests + %s WHERE id = %s AND began = %s"
                connection.execute(sql, (given, *window))
                # Not the window before: a server whose clock is behind would count it anew.
                before = f"SELECT max(began) FROM {used} WHERE id = %s AND began < %s"
                sql = f"DELETE FROM {used} WHERE id = %s AND began < ({before})"
                connection.execute(sql, (identity, *window))
            return given

        return self._done(take)

    def _change(self, connection: Connection, sql: str, values: tuple[object, ...]) -> None:
        with connection.transaction():
            connection.execute(sql, values)
            connection.execute(f"UPDATE {self._inside}.revision SET number = number + 1")

    def _make(self) -> None:
        def make(connection: Connection) -> None:
            with making(connection, self._schema, "keys"):
                connection.execute(_TABLES.format(inside=self._inside))

        if not self._done(self._made):
            self._done(make)

    def _made(self, connection: Connection) -> int:
        """The number of the table that the database gives it; 0 where it is not there."""
        sql = "SELECT coalesce(to_regclass(%s)::oid::bigint, 0)"
        found = connection.execute(sql, [f"{self._inside}.revision"]).fetchone()
        return int(found[0]) if found else 0

    def _done(self, work: Callable[[Connection], Found]) -> Found:
        """What the work gives.

        Raises:
            AccessError: the database cannot be asked.
        """
        with _told():
            return self._kept.done(work)


@contextmanager
def _told() -> Iterator[None]:
    """What a caller may hear; the rest is the cause."""
    try:
        yield
    except psycopg.Error as error:
        raise AccessError(f"The keys cannot be used: {said(error)}.") from error
