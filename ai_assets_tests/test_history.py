"""The history with open connections holds what Dagster's own holds, in the same files."""

import os
import subprocess
import sys
import time
from fcntl import LOCK_EX, flock
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id
from sqlalchemy import text

from ai_assets import history
from ai_assets_tests.histories import DAGSTERS, OURS, instance, number, steps_of

ROOT = Path(__file__).resolve().parent.parent


def test_the_shipped_instance_uses_it(state):
    (state / "dagster" / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())

    with dg.DagsterInstance.get() as shipped:
        assert type(shipped.event_log_storage) is history.EventLogs
        assert type(shipped.run_storage) is history.Runs
        assert (state / "dagster" / "history" / "runs" / "index.db").exists()


@pytest.mark.parametrize(("first", "second"), [(OURS, DAGSTERS), (DAGSTERS, OURS)])
def test_each_reads_what_the_other_wrote(tmp_path, first, second):
    with instance(tmp_path, first) as writer:
        done = dg.materialize([number], instance=writer)

    with instance(tmp_path, second) as reader:
        assert reader.get_run_by_id(done.run_id).is_success
        assert "STEP_SUCCESS" in steps_of(reader, done.run_id)
        assert reader.get_latest_materialization_event(number.key).run_id == done.run_id


def test_statements_share_a_connection(tmp_path):
    with instance(tmp_path) as ours:
        with ours.event_log_storage.index_connection() as one:
            first = one.connection.dbapi_connection
        with ours.event_log_storage.index_connection() as two:
            assert two.connection.dbapi_connection is first


def test_a_failed_transaction_leaves_nothing_and_the_connection_goes_on(tmp_path):
    with instance(tmp_path) as ours:
        store = ours.event_log_storage
        with pytest.raises(ZeroDivisionError), store.index_connection() as connection:
            connection.execute(text("INSERT INTO asset_keys (asset_key) VALUES ('[\"half\"]')"))
            raise ZeroDivisionError
        with store.index_connection() as connection:
            found = connection.execute(text("SELECT asset_key FROM asset_keys")).all()

    assert found == []


def test_a_run_whose_file_was_removed_by_another_process_reads_as_empty(tmp_path):
    with instance(tmp_path) as ours:
        done = dg.materialize([number], instance=ours)
        for file in (tmp_path / "history" / "runs").glob(f"{done.run_id}.db*"):
            file.unlink()

        assert steps_of(ours, done.run_id) == []


def test_a_replaced_file_is_opened_anew(tmp_path):
    engines = history.Engines()
    url = f"sqlite:///{tmp_path}/a.db"
    with engines.get(url).begin() as connection:
        connection.execute(text("CREATE TABLE old (x)"))
    first = engines.get(url)
    other = history.Engines()
    with other.get(f"sqlite:///{tmp_path}/b.db").begin() as connection:
        connection.execute(text("CREATE TABLE new (x)"))
    other.close()
    (tmp_path / "b.db").replace(tmp_path / "a.db")

    again = engines.get(url)

    assert again is not first
    with again.begin() as connection:
        assert connection.execute(text("SELECT name FROM sqlite_master")).scalar() == "new"


def test_only_the_databases_used_last_stay_open(tmp_path):
    engines = history.Engines(most=2)
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in "abc"]

    first, second, third = (engines.get(url) for url in urls)

    assert engines.get(urls[2]) is third
    assert engines.get(urls[1]) is second
    assert engines.get(urls[0]) is not first


def test_a_new_run_gets_dagsters_tables_and_revision(tmp_path):
    folder = tmp_path / "dagsters"
    with instance(folder, DAGSTERS) as dagsters:
        expected = tables(dagsters, make_new_run_id())

    with instance(tmp_path / "ours") as ours:
        assert tables(ours, make_new_run_id()) == expected

    assert len(expected["alembic_version"]) == 1


def test_a_runs_database_is_copied_and_not_laid_out(tmp_path, monkeypatch):
    with instance(tmp_path) as ours:
        monkeypatch.setattr(history.SqliteEventLogStorage, "_initdb", no_layout)

        assert "event_logs" in tables(ours, make_new_run_id())


def test_where_there_are_no_links_a_runs_database_is_laid_out(tmp_path, monkeypatch):
    with instance(tmp_path) as ours:
        expected = tables(ours, make_new_run_id())
        monkeypatch.setattr(history.os, "link", refuse)

        assert tables(ours, make_new_run_id()) == expected
        assert drafts(tmp_path) == []


def test_a_database_that_another_process_has_begun_is_left_as_it_is(tmp_path):
    (tmp_path / "empty").write_bytes(b"nothing")
    (tmp_path / "run.db").write_bytes(b"begun")

    history._copy(tmp_path / "empty", tmp_path / "run.db")

    assert (tmp_path / "run.db").read_bytes() == b"begun"
    assert drafts(tmp_path) == []


def no_layout(*_: object) -> None:
    raise AssertionError("a new run's database was laid out")


def refuse(*_: object) -> None:
    raise OSError("this file system has no links")


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


def tables(found: dg.DagsterInstance, run_id: str) -> dict[str, list]:
    with found.event_log_storage.run_connection(run_id) as connection:
        names = connection.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'table'")
        ).scalars()
        return {name: connection.execute(text(f"SELECT * FROM {name}")).all() for name in names}


def test_a_table_that_a_migration_adds_is_seen(tmp_path):
    with instance(tmp_path) as ours:
        store = ours.event_log_storage
        assert store.has_table("event_logs")
        assert not store.has_table("added_later")
        with store.index_connection() as connection:
            connection.execute(text("CREATE TABLE added_later (x)"))

        assert store.has_table("added_later")


def test_wiping_leaves_no_run(tmp_path):
    with instance(tmp_path) as ours:
        done = dg.materialize([number], instance=ours)
        ours.event_log_storage.wipe()

        assert steps_of(ours, done.run_id) == []
        assert ours.get_latest_materialization_event(number.key) is None


def test_a_forked_process_opens_connections_of_its_own(tmp_path):
    engines = history.Engines()
    url = f"sqlite:///{tmp_path}/a.db"
    first = engines.get(url)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"same" if engines.get(url) is first else b"own!")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 4) == b"own!"
    assert engines.get(url) is first


WRITER = """
import sys, dagster as dg
@dg.op
def shout(context):
    for n in range(5):
        context.log.info(f"line {n}")
@dg.job
def loud(): shout()
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    loud.execute_in_process(instance=instance, run_id=sys.argv[2])
"""


def test_the_events_of_a_run_in_another_process_arrive_while_watched(tmp_path):
    run_id = make_new_run_id()
    heard: list[str] = []
    with instance(tmp_path) as ours:
        ours.watch_event_logs(run_id, None, lambda entry, _: heard.append(entry.user_message))
        run_writer(tmp_path, run_id)
        deadline = time.monotonic() + 10
        while "line 4" not in heard and time.monotonic() < deadline:
            time.sleep(0.05)
        ours.event_log_storage.dispose()

    assert [words for words in heard if words.startswith("line")] == [f"line {n}" for n in range(5)]


def test_who_opens_a_history_waits_for_another_who_lays_it_out(tmp_path):
    laid_out = tmp_path / "schedules" / "schedules.db"
    opening = Thread(target=lambda: instance(tmp_path).dispose())
    with (tmp_path / "opening.lock").open("w") as held:
        flock(held, LOCK_EX)
        opening.start()
        opening.join(2)
        assert opening.is_alive() and not laid_out.exists()

    opening.join(60)
    assert not opening.is_alive() and laid_out.exists()


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path):
    with instance(tmp_path) as ours:
        ids = [make_new_run_id() for _ in range(3)]
        writers = [run_writer(tmp_path, run_id, wait=False) for run_id in ids]
        for writer in writers:
            assert writer.wait(60) == 0

        for run_id in ids:
            lines = [e.user_message for e in ours.all_logs(run_id) if "line" in e.user_message]
            assert lines == [f"line {n}" for n in range(5)]
            assert ours.get_run_by_id(run_id).is_success


def run_writer(folder: Path, run_id: str, *, wait: bool = True) -> "subprocess.Popen[bytes]":
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), run_id], cwd=folder)
    if wait:
        assert writer.wait(60) == 0
    return writer


def test_a_process_that_ends_leaves_no_log_beside_the_run(tmp_path):
    instance(tmp_path).dispose()
    run_id = make_new_run_id()

    run_writer(tmp_path, run_id)

    files = [path.name for path in (tmp_path / "history" / "runs").glob(f"{run_id}*")]
    assert files == [f"{run_id}.db"]
