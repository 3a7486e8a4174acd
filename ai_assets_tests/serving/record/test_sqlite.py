"""The log in a file: what was written is read, all or nothing, by several processes."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from record_entries import answered, counts, told

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.record import sqlite
from ai_assets.serving.record.answers import Described, LogError
from ai_assets.serving.record.sqlite import SqliteStore
from ai_assets.serving.record.store import log_place, open_store
from ai_assets.serving.record.tables import answer_row

WRITE_MANY = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from entries import answered
from ai_assets.serving.record.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
for _ in range(100):
    store.write([answered(), answered()])
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty log."""
    made = SqliteStore(tmp_path / "deep" / "log.sqlite")
    yield made
    made.close()


def test_what_was_written_is_read_field_by_field(store: SqliteStore):
    one, two = answered(rows=3, key_id=None, model=None), answered(event=None, label=[1.5])
    outcome, described = told(outcome=2.5, prediction_id="p"), Described("trips:1", "{}")

    store.write([described, one, two, outcome])
    store.write([described])

    assert store.find([one.request_id, two.request_id, 5]) == {
        one.request_id: one,
        two.request_id: two,
    }
    assert [e.request_id for e in store.answers((None, None))] == sorted(
        [one.request_id, two.request_id]
    )
    assert list(store.outcomes((None, None))) == [outcome]
    assert store.descriptions() == {"trips:1": described}


def test_a_span_of_event_time_holds_its_start_and_not_its_end(store: SqliteStore):
    early, wide, late = answered(9), answered(event_from=5, event_to=12), answered(20)
    timeless = answered(None)
    store.write([early, wide, late, timeless, told(9), told(10), told(20), told(None)])

    def ids(start: int | None, end: int | None) -> set[int]:
        return {entry.request_id for entry in store.answers((start, end))}

    assert ids(10, 20) == {wide.request_id}
    assert ids(9, 10) == {early.request_id, wide.request_id}
    assert ids(20, None) == {late.request_id}
    assert [o.event_us for o in store.outcomes((10, 20))] == [10]
    assert [o.event_us for o in store.outcomes((None, None))] == [9, 10, 20, None]


def test_a_group_is_kept_whole_or_not_at_all(store: SqliteStore):
    kept, fresh = answered(), answered()
    store.write([kept])

    with pytest.raises(LogError, match="The log cannot be used: UNIQUE"):
        store.write([fresh, kept])
    store.write([told()])

    assert set(store.find([kept.request_id, fresh.request_id])) == {kept.request_id}
    assert len(list(store.outcomes((None, None)))) == 1


def test_the_log_waits_for_the_disk_and_belongs_to_its_owner(store: SqliteStore, tmp_path: Path):
    store.write([answered()])

    assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "deep").iterdir()}
    assert set(modes.values()) == {0o600}
    assert "log.sqlite-wal" in modes


def test_a_locked_log_is_told_and_works_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sqlite, "_LOCKED_FOR_S", 0.05)
    store = SqliteStore(tmp_path / "log.sqlite")
    other = sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LogError, match=r"^The log cannot be used: database is locked\.$"):
        store.write([answered()])
    other.execute("ROLLBACK")
    store.write([answered()])

    assert len(list(store.answers((None, None)))) == 1


def test_a_full_disk_is_told_and_nothing_is_half_written(store: SqliteStore):
    store.write([answered()])
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages + 1}")

    with pytest.raises(LogError, match="database or disk is full"):
        store.write([answered(), answered(given=b"x" * 100_000)])
    store._writer.execute("PRAGMA max_page_count = 1000000")
    store.write([answered()])

    assert len(list(store.answers((None, None)))) == 2


def test_two_processes_write_one_new_log(tmp_path: Path):
    log, here = tmp_path / "log.sqlite", Path(__file__).parent
    command = [sys.executable, "-c", WRITE_MANY, str(log), str(here)]

    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(writer.communicate(timeout=60)[1], writer.returncode) for writer in writers]

    assert ended == [("", 0), ("", 0)]
    entries = list(SqliteStore(log).answers((None, None)))
    assert len({entry.request_id for entry in entries}) == len(entries) == 400


def test_counts_are_read_by_the_clock(store: SqliteStore):
    early, late = counts(from_us=10, to_us=20), counts(from_us=20, to_us=30, role="candidate")
    store.write([early, late])

    assert list(store.counts((None, None))) == [early, late]
    assert list(store.counts((10, 30))) == [early]
    assert list(store.counts((20, None))) == [late]
    assert list(store.counts((11, 30))) == []


def test_a_log_from_before_there_were_counts_is_opened_and_keeps_its_answers(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    one, two = answered(), answered()
    with closing(sqlite3.connect(path)) as before, before:
        first = [made for made in sqlite._SQL.tables if "counts" not in made]
        for statement in [*first, "PRAGMA user_version = 1"]:
            before.execute(statement)
        before.execute(sqlite._SQL.put_answer, answer_row(one))

    store = SqliteStore(path)
    store.write([two, counts()])

    assert set(store.find([one.request_id, two.request_id])) == {one.request_id, two.request_id}
    assert list(store.counts((None, None))) == [counts()]
    assert store._writer.execute("PRAGMA user_version").fetchone() == (2,)
    store.close()
    SqliteStore(path).close()


def test_a_log_of_another_format_is_left_alone(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 7")

    with pytest.raises(LogError, match=r"log\.sqlite has format 7, but only 2 can be written"):
        SqliteStore(path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(LogError, match="The log cannot be used: "):
        SqliteStore(tmp_path / "file" / "log.sqlite")


def test_the_place_is_the_setting_or_a_file_below_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path))

    assert log_place("trips") == str(tmp_path / "served" / "trips.sqlite")
    assert log_place("trips", "/elsewhere/log") == "/elsewhere/log"
    open_store(f"sqlite:///{tmp_path / 'by_url.sqlite'}").close()
    assert (tmp_path / "by_url.sqlite").is_file()
    with pytest.raises(BundleError, match="AI_ASSETS_LOG must be a path or sqlite:///<path>"):
        open_store("redis://host/0")
