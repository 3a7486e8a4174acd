"""What is committed together, and when the history waits for the disk."""

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEvent, EventLogEntry
from dagster._check import CheckError
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from ai_assets import history
from ai_assets_tests.histories import DAGSTERS, instance, number, steps_of

NORMAL, FULL = 1, 2
RUN_START, RUN_SUCCESS = dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_SUCCESS
ENDS = {"PIPELINE_SUCCESS", "PIPELINE_FAILURE", "PIPELINE_CANCELED"}


@dg.asset_check(asset=number)
def is_seven() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset
def never() -> None:
    raise ValueError("no such number")


@dataclass(frozen=True)
class Commit:
    """A transaction that wrote something.

    Attributes:
        database: The name of its file: a run's id, or `index`, or `runs`.
        waits: Whether it is on the disk before the next statement.
        ends_a_run: Whether it stores the event that ends one.
    """

    database: str
    waits: bool
    ends_a_run: bool


@contextmanager
def listening(**heard: Callable[..., None]) -> Iterator[None]:
    """Call functions at events of every engine's connections within the block."""
    for name, function in heard.items():
        event.listen(Engine, name, function)
    try:
        yield
    finally:
        for name, function in heard.items():
            event.remove(Engine, name, function)


@contextmanager
def commits() -> Iterator[list[Commit]]:
    """What is committed within the block, by any connection of this process."""
    found: list[Commit] = []
    written: dict[int, set[object]] = {}

    def wrote(connection, _cursor, statement, values, *_):
        if statement.startswith(("INSERT", "UPDATE")) and "alembic" not in statement:
            written.setdefault(id(connection), set()).update(values)

    def committed(connection):
        values = written.pop(id(connection), None)
        if values is not None:
            asked = connection.connection.dbapi_connection.execute("PRAGMA synchronous")
            name = Path(connection.engine.url.database).stem
            found.append(Commit(name, asked.fetchone() == (FULL,), bool(values & ENDS)))

    with listening(before_cursor_execute=wrote, commit=committed):
        yield found


def writes(ours: dg.DagsterInstance) -> Counter[str]:
    """How often each database commits something while `number` and its check are made."""
    with commits() as found:
        run = dg.materialize([number, is_seven], instance=ours)
    assert run.success
    return Counter("run" if one.database == run.run_id else one.database for one in found)


@pytest.mark.parametrize("made", [number, never], ids=["success", "failure"])
def test_of_what_a_run_tells_of_itself_its_end_alone_waits_for_the_disk(tmp_path, made):
    with instance(tmp_path) as ours, commits() as found:
        run_id = dg.materialize([made], instance=ours, raise_on_error=False).run_id

    of_run = [one for one in found if one.database == run_id]
    others = [one for one in found if one.database != run_id]
    assert [one.waits for one in of_run] == [one.ends_a_run for one in of_run]
    assert [one.ends_a_run for one in of_run].count(True) == 1
    assert {one.database for one in others} == {"index", "runs"}
    assert all(one.waits for one in others)
    # the run is told to have ended after its log is on the disk
    told = [one.database for one in found if one.ends_a_run]
    assert told[0] == run_id and "index" in told[1:]


def test_the_end_of_a_run_that_was_cancelled_waits_for_the_disk(tmp_path):
    with instance(tmp_path) as ours:
        job = dg.Definitions(assets=[number], jobs=[dg.define_asset_job("made")])
        run = ours.create_run_for_job(job.resolve_job_def("made"))
        with commits() as found:
            ours.report_engine_event("is looked for", run)
            ours.report_run_canceled(run)

    assert [one.waits for one in found if one.database == run.run_id] == [False, True]


def begun(ours: dg.DagsterInstance) -> str:
    """The id of a run that has not ended."""
    job = dg.Definitions(assets=[number], jobs=[dg.define_asset_job("made")])
    return ours.create_run_for_job(job.resolve_job_def("made")).run_id


def told(run_id: str, kind: dg.DagsterEventType) -> EventLogEntry:
    event = DagsterEvent(kind.value, job_name="made")
    return EventLogEntry(None, "info", "", run_id, 1.0, job_name="made", dagster_event=event)


@contextmanager
def asked() -> Iterator[list[tuple[str, str]]]:
    """Each statement within the block, and each commit, after the name of its database."""
    found: list[tuple[str, str]] = []

    def wrote(connection, _cursor, statement, *_):
        found.append((Path(connection.engine.url.database).stem, statement))

    def committed(connection):
        wrote(connection, None, "COMMIT")

    with listening(before_cursor_execute=wrote, commit=committed):
        yield found


@pytest.mark.parametrize("by", ["together", "batch"])
def test_the_end_of_a_run_waits_for_the_disk_also_where_it_is_told_with_what_came_before(
    tmp_path, by
):
    with instance(tmp_path) as ours:
        run_id = begun(ours)
        store = ours.event_log_storage
        events = [told(run_id, kind) for kind in (RUN_START, RUN_SUCCESS)]
        before = steps_of(ours, run_id)
        with asked() as statements:
            if by == "batch":
                store.store_event_batch(events)
            else:
                with store.together(run_id):
                    for one in events:
                        store.store_event(one)
        assert steps_of(ours, run_id) == [*before, "PIPELINE_START", "PIPELINE_SUCCESS"]
        with asked() as later:
            store.store_event(told(run_id, RUN_START))

    ending = statements[statements.index((run_id, "COMMIT")) :]
    assert ending == [
        (run_id, "COMMIT"),
        (run_id, "PRAGMA synchronous = FULL"),
        (run_id, "PRAGMA user_version = 0"),
        ("index", "COMMIT"),
    ]
    # what is told after the end is stored, and nothing is synced once more for it
    assert (run_id, "COMMIT") in later
    assert (run_id, "PRAGMA user_version = 0") not in later


def test_to_sync_a_database_writes_to_its_log_and_waits_for_it(tmp_path):
    with instance(tmp_path) as ours:
        run_id = begun(ours)
        store = ours.event_log_storage
        store.store_event(told(run_id, RUN_START))
        with store.run_connection(run_id) as connection:
            engine = connection.engine
            assert connection.execute(text("PRAGMA synchronous")).scalar() == NORMAL
        log = Path(f"{store.path_for_shard(run_id)}-wal")
        before = log.read_bytes()
        history._sync(engine)
        assert log.read_bytes() != before
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA synchronous")).scalar() == FULL


def test_what_is_stored_but_cannot_be_synced_is_not_refused(tmp_path, caplog):
    def busy(_connection, _cursor, statement, *_):
        if "user_version" in statement:
            raise OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))

    with instance(tmp_path) as ours:
        run_id = begun(ours)
        before = steps_of(ours, run_id)
        with listening(before_cursor_execute=busy):
            ours.event_log_storage.store_event_batch(
                [told(run_id, kind) for kind in (RUN_START, RUN_SUCCESS)]
            )

        assert steps_of(ours, run_id) == [*before, "PIPELINE_START", "PIPELINE_SUCCESS"]
    assert f"{run_id}.db is stored, but may not outlast a power failure" in caplog.text


def test_every_database_keeps_a_write_ahead_log(tmp_path):
    with instance(tmp_path) as ours:
        run_id = dg.materialize([number], instance=ours).run_id
        log, runs = ours.event_log_storage, ours.run_storage
        for opened in (log.index_connection(), log.run_connection(run_id), runs.connect()):
            with opened as one:
                assert one.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_what_is_written_together_is_committed_once(tmp_path, monkeypatch):
    with instance(tmp_path / "ours") as ours:
        together = writes(ours)
    monkeypatch.setenv(history.BATCH_SIZE, "0")
    with instance(tmp_path / "theirs", DAGSTERS) as dagsters:
        apart = writes(dagsters)

    # Two planned events are one commit; those of the check and of its plan were two in the index.
    assert together["run"] == apart["run"] - 1
    assert together["index"] == apart["index"] - 3


def test_of_a_batch_all_is_stored_or_nothing(tmp_path):
    with instance(tmp_path) as ours:
        done = dg.materialize([number], instance=ours)
        store = ours.event_log_storage
        before = steps_of(ours, done.run_id)
        (made,) = ours.all_logs(done.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)

        with pytest.raises(CheckError, match="Not a dagster event"):
            store.store_event_batch([made, made, made._replace(dagster_event="broken")])
        assert steps_of(ours, done.run_id) == before

        store.store_event_batch([made, made])
        assert steps_of(ours, done.run_id) == [*before, *["ASSET_MATERIALIZATION"] * 2]
        found = ours.fetch_materializations(number.key, limit=9).records
        assert len(found) == 3


def test_events_that_are_told_one_by_one_may_be_committed_together(tmp_path):
    with instance(tmp_path) as ours:
        done = dg.materialize([number], instance=ours)
        store = ours.event_log_storage
        (made,) = ours.all_logs(done.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)

        def thrice():
            for _ in range(3):
                store.store_event(made)

        def thrice_together():
            with store.together(done.run_id):
                thrice()
                assert len(ours.fetch_materializations(number.key, limit=9).records) == 7

        with commits() as apart:
            thrice()
        with commits() as at_once:
            thrice_together()
        assert (len(apart), len(at_once)) == (6, 2)
        assert len(ours.fetch_materializations(number.key, limit=9).records) == 7


def test_of_events_told_together_none_stays_if_one_fails(tmp_path):
    with instance(tmp_path) as ours:
        done = dg.materialize([number], instance=ours)
        store, before = ours.event_log_storage, steps_of(ours, done.run_id)
        (made,) = ours.all_logs(done.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)

        with pytest.raises(ZeroDivisionError), store.together(done.run_id):
            store.store_event(made)
            raise ZeroDivisionError

        assert steps_of(ours, done.run_id) == before
        assert len(ours.fetch_materializations(number.key, limit=9).records) == 1


def test_a_batch_size_that_somebody_chose_stays(tmp_path, monkeypatch):
    monkeypatch.setenv(history.BATCH_SIZE, "5")

    with instance(tmp_path):
        assert os.environ[history.BATCH_SIZE] == "5"
