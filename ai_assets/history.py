"""Dagster's SQLite history with connections that stay open.

Dagster opens an engine and a connection for each statement, and SQLite moves its write-ahead log
into the database each time the last connection closes. A step writes several events, so most of
what the graph costs beside its work went there. Here each database keeps its connection; tables
and files are Dagster's own, so either class reads what the other wrote. `dagster.yaml` names this
class.

What is known of assets, checks, runs and ticks is on the disk before Dagster goes on, as with its
own class (`synchronous = FULL`). What a run tells of itself, step by step, is not waited for
(`NORMAL`): no killed process loses any of it. Its end is waited for, and with it all that it told,
so where the power fails only runs that it cut off may lack the last of what they told.

What Dagster writes together is committed together, once a database: an event of a check, which it
writes in three transactions; what a run plans, as it is made; the partitions of a step. And a run's
database begins as a copy of an empty one, not with a hundred statements that lay it out.
"""

import logging
import os
import shutil
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fcntl import LOCK_EX, flock
from itertools import takewhile
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Self
from uuid import uuid4

import dagster
from dagster._core.events import ASSET_CHECK_EVENTS, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import AssetKeyTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.event import listen
from sqlalchemy.exc import OperationalError
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from ai_assets.lifecycle.placing import place_once

_LOG = logging.getLogger(__name__)
MOST_OPEN = 8
# Dagster sends events as a batch only where this variable says how large one may be.
BATCH_SIZE, MOST_IN_A_BATCH = "DAGSTER_EVENT_BATCH_SIZE", "1000"

# Whoever stores the end of a run says so of the run next, unless it dies in between.
_SECONDS_TO_TELL = 60.0

_FULL = "PRAGMA synchronous = FULL"
_ENDS_A_RUN = {
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
}


class Engines:
    """An engine a database file, the least recently used closed beyond `most` of them.

    A file that was removed or replaced, and a process that was forked, get a new engine.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most, self._lock, self._process = most, Lock(), os.getpid()
        self._engines: OrderedDict[str, tuple[Engine, int | None]] = OrderedDict()
        weakref.finalize(self, _dispose_all, self._engines)

    def get(self, url: str, *, waits: bool = True) -> Engine:
        """The engine of a database, by its `sqlite:///` URL; see `_engine` for `waits`."""
        file = _file_number(url)
        with self._lock:
            self._forget_those_of_another_process()
            known = self._engines.pop(url, None)
            if known is not None and known[1] not in (file, None):
                known[0].dispose()
                known = None
            engine = known[0] if known else _engine(url, waits=waits)
            self._engines[url] = engine, file
            while len(self._engines) > self._most:
                self._engines.popitem(last=False)[1][0].dispose()
        return engine

    def close(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            _dispose_all(self._engines)

    def _forget_those_of_another_process(self) -> None:
        if self._process != os.getpid():
            for engine, _ in self._engines.values():
                engine.dispose(close=False)
            self._engines.clear()
            self._process = os.getpid()


class EventLogs(SqliteEventLogStorage):
    """A database a run, and an index over all runs."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = Engines()
        self._tables: set[str] = set()
        self._indexes: set[str] = set()
        self._open: dict[str, Connection] = {}
        self._to_sync: set[str] = set()
        super().__init__(base_dir, inst_data)
        # A thread that holds it may ask for another database, or for the same one again.
        self._db_lock: Any = RLock()
        self._empty = self._empty_database()

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "EventLogs":
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction; the one that is open already where this thread is within one."""
        with self._db_lock:
            if shard in self._open:
                yield self._open[shard]
                return
            if not Path(self.path_for_shard(shard)).exists():
                self._initialized_dbs.discard(shard)
                _copy(self._empty, Path(self.path_for_shard(shard)))
            url, waits = self.conn_string_for_shard(shard), shard == INDEX_SHARD_NAME
            engine = self._engines.get(url, waits=waits)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                self._open[shard] = connection
                try:
                    yield connection
                finally:
                    del self._open[shard]
                    to_sync = shard in self._to_sync
                    self._to_sync.discard(shard)
            if to_sync:
                _sync(engine)

    def store_event(self, event: EventLogEntry) -> None:
        if event.dagster_event_type in ASSET_CHECK_EVENTS | _ENDS_A_RUN:
            self.store_event_batch([event])
        else:
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run; all are there afterwards or, if one cannot be stored, none."""
        with self.together(*{event.run_id: None for event in events}):
            for event in events:
                if event.is_dagster_event and event.get_dagster_event().event_type in _ENDS_A_RUN:
                    self._wait_for_the_disk(event.run_id)
                super().store_event(event)

    def _wait_for_the_disk(self, run_id: str) -> None:
        """Have what this thread's transaction stores of the run be on the disk once it is closed.

        What the run told before lies in the same write-ahead log, and is on the disk with this.
        """
        connection = self._open[run_id]
        driver: Any = connection.connection.dbapi_connection
        if driver.in_transaction:  # where SQLite no longer lets it be said
            self._to_sync.add(run_id)
        else:
            connection.execute(text(_FULL))

    @contextmanager
    def together(self, *run_ids: str) -> Iterator[None]:
        """Commit what this thread stores of the runs within the block at its end, or nothing of it.

        It is committed to the runs' databases before the index, as Dagster does.
        """
        with ExitStack() as transactions:
            for shard in (INDEX_SHARD_NAME, *run_ids):
                transactions.enter_context(self._connect(shard))
            yield

    def get_logs_for_all_runs_by_log_id(
        self,
        after_cursor: int = -1,
        dagster_event_type: DagsterEventType | set[DagsterEventType] | None = None,
        limit: int | None = None,
    ) -> Mapping[int, EventLogEntry]:
        """Events of all runs by their numbers, up to the first end that its run does not tell yet.

        Dagster stores that a run has failed before it says so of the run. Its daemon looks here for
        failures, retries no run that has not failed, and goes on behind what it saw: it would never
        retry one that it sees in between.
        """
        found = super().get_logs_for_all_runs_by_log_id(after_cursor, dagster_event_type, limit)
        return dict(takewhile(lambda numbered: not self._is_half_told(numbered[1]), found.items()))

    def _is_half_told(self, event: EventLogEntry) -> bool:
        """Whether a run has just ended, and is not said to have."""
        if event.dagster_event_type not in _ENDS_A_RUN:
            return False
        if not self.has_instance or time.time() - event.timestamp > _SECONDS_TO_TELL:
            return False
        run = self._instance.get_run_by_id(event.run_id)
        return run is not None and not run.is_finished

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Dagster leaves a database with a revision as it is, but first reads every migration."""
        if not _has_revision(engine):
            super()._initdb(engine, for_index_shard)

    def _empty_database(self) -> Path:
        """A database without any event, as this version of Dagster makes them."""
        empty = Path(self._base_dir, f"empty-{dagster.__version__}")
        if not empty.exists():
            draft = empty.with_name(f".{uuid4().hex}")
            engine = _engine(f"sqlite:///{draft}")
            super()._initdb(engine)
            engine.dispose()  # with the last connection the write-ahead log moves into the file
            draft.replace(empty)
        return empty

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table; asked again only while it has not."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def has_secondary_index(self, name: str) -> bool:
        """Whether a migration of data is complete; asked again only while it is not."""
        if name not in self._indexes and super().has_secondary_index(name):
            self._indexes.add(name)
        return name in self._indexes

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        """Whether the table of assets has the column; asked again only while it has not."""
        column = f"{AssetKeyTable.name}.{column_name}"
        if column not in self._tables and super()._has_asset_key_col_on_connection(
            conn, column_name
        ):
            self._tables.add(column)
        return column in self._tables

    def wipe(self) -> None:
        self._engines.close()
        self._indexes.clear()
        super().wipe()

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        """Tell the callback of new events, by the changes of the run's files."""
        observer: Any = self._obs or Observer()
        if self._obs is None:
            observer.start()
            self._obs = observer
        watcher = RunWatcher(self, run_id, callback, cursor)
        watch = observer.schedule(watcher, self._base_dir, recursive=True)
        self._watchers[run_id][callback] = (watcher, watch)

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class RunWatcher(SqliteEventLogStorageWatchdog):
    """Watches the write-ahead log too: with a connection left open, events arrive there first."""

    def __init__(self, storage: EventLogs, run_id: str, callback: Any, cursor: str | None) -> None:
        super().__init__(storage, run_id, callback, cursor)
        self._patterns = [self._log_path, f"{self._log_path}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        self._process_log()


class Runs(SqliteRunStorage):
    """What runs there are, with their tags."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = Engines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engines.get(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class History(DagsterSqliteStorage):
    """Runs, event logs and schedules below one folder, laid out as Dagster's own."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Of two processes that lay out a database at once, as a daemon and a webserver that are
        # started together, each notes its revision: Dagster opens none that has two.
        with _one_at_a_time(Path(base_dir)):
            super().__init__(base_dir, inst_data)
        os.environ.setdefault(BATCH_SIZE, MOST_IN_A_BATCH)
        # Dagster's constructors have made and migrated the databases; these only open them.
        self._run_storage = Runs(self._run_storage._conn_string)
        self._event_log_storage = EventLogs(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Have other processes wait that open a history in the folder; the kernel ends it with us."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "opening.lock").open("w", encoding="utf-8") as lock:
        flock(lock, LOCK_EX)
        yield


def _engine(url: str, *, waits: bool = True) -> Engine:
    """An engine whose commits wait for the disk, or in a write-ahead log only for its checkpoints.

    See https://www.sqlite.org/pragma.html#pragma_synchronous.
    """
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    if not waits:
        listen(engine, "connect", lambda made, _: made.execute("PRAGMA synchronous = NORMAL"))
    return engine


def _sync(engine: Engine) -> None:
    """Wait until all that was committed to a database is on the disk.

    A commit that waits brings the log before it along, and to set a number of the header to what
    it is (SQLite has it for users; Dagster leaves it at 0) is the smallest one. What cannot be had
    now is no reason to refuse what is stored: whoever sent it would send it again.
    """
    try:
        with engine.connect() as connection:
            connection.execute(text(_FULL))
            connection.execute(text("PRAGMA user_version = 0"))
    except OperationalError as error:
        _LOG.warning("%s is stored, but may not outlast a power failure: %s", engine.url, error)


def _copy(empty: Path, place: Path) -> None:
    """Begin a database, whole or not at all, also where another process begins it meanwhile.

    Where the folder knows no links it is left to Dagster to lay out.
    """
    draft = place.with_name(f".{uuid4().hex}")
    shutil.copyfile(empty, draft)
    with suppress(OSError):
        place_once(draft, place)


def _has_revision(engine: Engine) -> bool:
    with engine.connect() as connection:
        try:
            return connection.execute(text("SELECT * FROM alembic_version")).first() is not None
        except OperationalError:
            return False  # no such table, or locked by whoever makes it: Dagster waits for that


def _file_number(url: str) -> int | None:
    """The file's inode; None where there is no file yet."""
    try:
        return Path(url.removeprefix("sqlite:///")).stat().st_ino
    except FileNotFoundError:
        return None


def _dispose_all(engines: OrderedDict[str, tuple[Engine, int | None]]) -> None:
    for engine, _ in engines.values():
        engine.dispose()
    engines.clear()
