"""MLflow's own database: one process at a time makes or migrates it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Hold a store's lock file, with its database in place.

    Only for SQLite: other databases are migrated by who runs them.

    Args:
        uri: of the store.
    """
    parts = urlsplit(uri)
    if not parts.scheme.startswith("sqlite") or parts.path in ("", "/"):
        yield
        return
    database = Path(unquote(uri.split("///", 1)[1]))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            _make(database)
        yield


def _make(database: Path) -> None:
    """Make a database beside its place, which it takes when it is whole.

    Dozens of migrations would each wait for the disk, seconds in all; so only the last one does.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    beside = database.with_name(f"{database.name}.new")
    beside.unlink(missing_ok=True)
    with _not_waiting():
        # MLflow asks for a place of artifacts, which each experiment of ours brings itself.
        store = SqlAlchemyStore(f"sqlite:///{beside}", str(database.parent / "artifacts"))
        store.engine.dispose()
    with beside.open("rb+") as written:
        os.fsync(written.fileno())
    beside.replace(database)


@contextmanager
def _not_waiting() -> Iterator[None]:
    """Let connections of SQLite that are opened meanwhile not wait for the disk."""
    from sqlalchemy import Engine, event

    def opened(connection: Any, _: Any) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", opened)
    try:
        yield
    finally:
        event.remove(Engine, "connect", opened)
