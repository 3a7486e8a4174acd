"""Connections to a PostgreSQL database that are given up in time, for the log and for keys."""

import math
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ai_assets.lifecycle.errors import BundleError, must_be

SCHEMA = "schema"
# How long a statement of a server may take, and one that reads much or makes tables.
LONGEST_S, LONGEST_OF_MANY_S = 10.0, 300.0
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# A host that is gone says nothing. Seconds, but the last: milliseconds unacknowledged.
_PATIENCE = {"connect_timeout": 3, "keepalives_idle": 5, "keepalives_interval": 2,
             "keepalives_count": 3, "tcp_user_timeout": 8000}  # fmt: skip
# A database that stands still ends nothing, so the connection is given up so much later.
_GRACE_S = 2.0
# What it says of a session that it ends, or does not begin, of its own accord.
_ENDED = (
    errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleSessionTimeout,
)  # fmt: skip
Found = TypeVar("Found")


class Connection(psycopg.Connection[Any]):
    """A connection that is given up where the database says nothing for too long.

    `statement_timeout` is for the database to keep, and the kernel of a host answers keepalives
    though its database stands still.
    """

    longest_s = LONGEST_OF_MANY_S

    def bound(self, longest_s: float) -> None:
        """Let statements take so many seconds at most, from now on."""
        self.longest_s = longest_s
        self.execute(f"SET statement_timeout = {math.ceil(1000 * longest_s)}")

    def wait(self, gen: Any, *given: Any, **named: Any) -> Any:
        """What the database says to the end.

        Raises:
            OperationalError: it does not; the connection is closed.
        """
        return super().wait(self._heard(gen), *given, **named)

    def _heard(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        end, ready = time.monotonic() + self.longest_s + _GRACE_S, None
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as ended:
                return ended.value
            ready = yield wanted
            if not ready and time.monotonic() > end:
                self.pgconn.finish()
                raise psycopg.OperationalError(f"nothing was heard for {self.longest_s:g} s")


def parsed(url: str, setting: str, default: str = "public") -> tuple[str, str]:
    """What libpq is given, and the schema that the URL names.

    Args:
        url: as libpq takes it, with `schema=<name>` among its parameters.
        setting: what the URL was given by, for messages.
        default: the schema where it names none.

    Raises:
        BundleError: the URL cannot be understood.
    """
    # Each parameter stays as it is written: libpq reads no + as a space.
    place, _, query = url.partition("?")
    given = [pair.partition("=") for pair in query.split("&") if pair]
    schema = unquote({name: value for name, _, value in given}.get(SCHEMA, "")) or default
    if not _NAME.fullmatch(schema):
        allowed = "a name of small letters, digits and _"
        raise BundleError(must_be(f"schema of {setting}", allowed, schema))
    rest = "&".join("".join(pair) for pair in given if pair[0] != SCHEMA)
    try:
        known = conninfo_to_dict(f"{place}?{rest}" if rest else place)
    except psycopg.ProgrammingError:
        # Its words may hold the password.
        allowed = "postgresql://<user>:<password>@<host>:<port>/<database>"
        raise BundleError(f"{setting} must be {allowed}; what was given is not.") from None
    return make_conninfo("", **{**_PATIENCE, **known}), schema


def connected(conninfo: str, longest_s: float) -> Connection:
    """A connection whose statements each commit, and may take so many seconds."""
    connection = Connection.connect(conninfo, autocommit=True, application_name="ai_assets")
    connection.bound(longest_s)
    # What a caller is told waits to be on the disk, whatever the database's default is.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    return connection


class KeptConnection:
    """One connection that threads take in turn, made when it is first needed and where it is gone.

    Args:
        conninfo: what libpq is given.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    def done(self, work: Callable[[Connection], Found]) -> Found:
        """What the work gives; where the connection turns out to be gone, by a new one.

        What is refused is not tried again, but who comes next has a new connection.

        Args:
            work: what is done with the connection, which is its caller's alone meanwhile. Done
                twice where it cannot be known whether the first time took place.

        Raises:
            psycopg.Error: the database refuses the work.
            OperationalError: it does not answer, or those who came before do not come to their end.
        """
        with self._in_turn():
            kept = self._connection
            if kept is not None and not kept.closed:
                try:
                    return self._through(kept, work)
                except psycopg.Error as error:
                    if not is_gone(error):
                        raise
            self._connection = made = connected(self._conninfo, LONGEST_S)
            return self._through(made, work)

    def _through(self, connection: Connection, work: Callable[[Connection], Found]) -> Found:
        try:
            return work(connection)
        except psycopg.Error:
            self.close()  # a host whose place another has taken would refuse to write for ever
            raise

    def close(self) -> None:
        """Let go of the database; who asks then has a new connection."""
        kept, self._connection = self._connection, None
        if kept is not None:
            kept.close()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=LONGEST_S):
            raise psycopg.OperationalError("others wait for the database")
        try:
            yield
        finally:
            self._turn.release()


@contextmanager
def making(connection: Connection, schema: str, what: str) -> Iterator[None]:
    """A transaction that makes tables in a schema, which is there then.

    Of several servers that start with a new database, one makes the tables. The lock comes before
    the transaction, which otherwise would not see what another has just made. Where it fails the
    connection is closed, and the lock is free.
    """
    name = [f"{what} {schema}"]
    try:
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", name)
        with connection.transaction():
            # Who may use a schema need not be one who may make schemas.
            there = connection.execute("SELECT to_regnamespace(%s)", [f'"{schema}"']).fetchone()
            if there == (None,):
                connection.execute(f'CREATE SCHEMA "{schema}"')
            yield
        connection.execute("SELECT pg_advisory_unlock(hashtext(%s))", name)
    except BaseException:
        connection.close()
        raise


def is_gone(error: psycopg.Error) -> bool:
    """Whether the database was not there to answer, rather than answered with an error."""
    if isinstance(error, _ENDED):
        return True
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None


def said(error: psycopg.Error) -> str:
    """What a caller may hear of an error: no host, no user, no database."""
    if is_gone(error):
        return "the database does not answer"
    return error.diag.message_primary or type(error).__name__
