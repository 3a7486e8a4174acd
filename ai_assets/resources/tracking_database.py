"""MLflow's own database: one process at a time makes or migrates it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.placing import place_once

if TYPE_CHECKING:
    from sqlalchemy import URL


def uri_of(database: Path) -> str:
    """The URI of a database that is a file, whatever characters its path has.

    SQLAlchemy would quote more, but reads the rest as it is; and MLflow, which knows no quoting,
    makes the folder that it reads.
    """
    return f"sqlite:///{str(database).replace('%', '%25').replace('?', '%3F')}"


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Hold a store's lock file, with its database in place.

    Only for a file of SQLite: other databases are migrated by who runs them.

    Args:
        uri: of the store, as SQLAlchemy reads it.

    Raises:
        DeclarationError: it begins as one of SQLite does, and is none.
    """
    url = _of_a_file(uri)
    if url is None:
        yield
        return
    database = Path(str(url.database))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            _make(url)
        yield


def _of_a_file(uri: str) -> "URL | None":
    """The URL of a database that is a file; None for servers, memory and SQLite's own URIs."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except ArgumentError:
        allowed = "a database (sqlite:///folder/file.db, sqlite:////absolute/file.db)"
        raise DeclarationError(must_be("tracking_uri", allowed, uri)) from None
    is_file = url.database not in (None, "", ":memory:") and "uri" not in url.query
    return url if is_file else None


def _make(url: "URL") -> None:
    """Make a database beside its place, which it takes when it is whole.

    Dozens of migrations would each wait for the disk, seconds in all; so only the last one does.
    Where the folder knows no links, the database is left to MLflow to make.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database = Path(str(url.database))
    beside = database.with_name(f"{database.name}.new")
    beside.unlink(missing_ok=True)
    with _not_waiting(beside):
        # MLflow asks for a place of artifacts, which each experiment of ours brings itself.
        store = SqlAlchemyStore(uri_of(beside), str(database.parent / "artifacts"))
        store.engine.dispose()
    # An MLflow that somebody runs takes no lock of ours: what it has made meanwhile stays.
    with suppress(OSError):
        place_once(beside, database)


@contextmanager
def _not_waiting(database: Path) -> Iterator[None]:
    """Let connections to a file of SQLite that are opened meanwhile not wait for the disk.

    MLflow makes its engine itself, so all engines are listened to; those of other files, which
    other threads may open meanwhile, stay as they are.
    """
    from sqlalchemy import Engine, event

    ours = os.path.realpath(database)

    def opened(connection: Any, _: Any) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            if file and os.path.realpath(file) == ours:
                connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", opened)
    try:
        yield
    finally:
        event.remove(Engine, "connect", opened)
