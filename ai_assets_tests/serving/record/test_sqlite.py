"""The log in a file: what was written is read, all or nothing, by several processes."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from record_entries import answered, counts

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.record import sqlite
from ai_assets.serving.record.answers import LogError
from ai_assets.serving.record.asked import Split
from ai_assets.serving.record.sqlite import SqliteStore
from ai_assets.serving.record.store import log_place, open_store
from ai_assets.serving.record.tables import FORMAT, answer_row


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty log."""
    made = SqliteStore(tmp_path / "deep" / "log.sqlite")
    yield made
    made.close()


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


def test_a_log_of_an_earlier_format_is_opened_and_keeps_its_answers(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    one, two = answered(), answered(split=Split("trips:2", 0.25, "canary"))
    with closing(sqlite3.connect(path)) as before, before:
        first = [made for made in sqlite._SQL.tables if "counts" not in made]
        removed = "ALTER TABLE answers DROP COLUMN split"
        for statement in [*first, removed, "PRAGMA user_version = 1"]:
            before.execute(statement)
        marks = ", ".join("?" * 16)
        before.execute(f"INSERT INTO answers VALUES ({marks})", answer_row(one)[:16])

    store = SqliteStore(path)
    store.write([two, counts()])

    assert store.find([one.request_id, two.request_id]) == {
        one.request_id: one,
        two.request_id: two,
    }
    assert list(store.counts((None, None))) == [counts()]
    assert store._writer.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    store.close()
    SqliteStore(path).close()


def test_a_log_of_another_format_is_left_alone(tmp_path: Path):
    path = tmp_path / "log.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 7")

    with pytest.raises(LogError, match=r"log\.sqlite has format 7, but only 3 can be written"):
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
    with pytest.raises(BundleError, match="AI_ASSETS_LOG must be a path, sqlite:///<path>"):
        open_store("redis://host/0")
