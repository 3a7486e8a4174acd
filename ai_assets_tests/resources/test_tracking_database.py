"""MLflow's database is made whole, beside its place, and made once."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from ai_assets.resources.tracking_database import one_at_a_time

TABLES = "SELECT m.type, m.name, c.* FROM sqlite_master m LEFT JOIN pragma_table_info(m.name) c"


def asked(database: Path, question: str) -> list[tuple]:
    with sqlite3.connect(database) as connection:
        return connection.execute(question).fetchall()


def test_it_is_what_mlflow_itself_makes(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    ours, theirs = tmp_path / "ours.db", tmp_path / "theirs.db"
    with one_at_a_time(f"sqlite:///{ours}"):
        assert ours.is_file(), "a store finds its database in place"
    MlflowClient(tracking_uri=f"sqlite:///{theirs}").search_experiments(max_results=1)

    columns = sorted(asked(ours, TABLES), key=str)
    assert len(columns) > 400
    assert columns == sorted(asked(theirs, TABLES), key=str)
    version = "SELECT version_num FROM alembic_version"
    assert asked(ours, version) == asked(theirs, version)
    assert sorted(file.name for file in tmp_path.glob("ours*")) == ["ours.db", "ours.db.lock"]


def test_one_that_was_half_made_is_made_again_and_one_that_is_there_is_left_alone(
    tmp_path: Path,
) -> None:
    database = tmp_path / "mlflow" / "mlflow.db"
    half = database.with_name("mlflow.db.new")
    half.parent.mkdir()
    half.write_bytes(b"SQLite format 3\0 and then the power failed")

    with one_at_a_time(f"sqlite:///{database}"):
        made = database.stat()
    assert not half.exists()
    assert asked(database, "SELECT count(*) FROM experiments") == [(1,)]

    with one_at_a_time(f"sqlite:///{database}"):
        assert (database.stat().st_ino, database.stat().st_mtime_ns) == (
            made.st_ino,
            made.st_mtime_ns,
        )


def test_only_the_making_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_assets.resources import tracking_database

    made = tracking_database._make
    seen: list[int] = []

    def watched(database: Path) -> None:
        made(database)
        seen.append(_synchronous(database))

    monkeypatch.setattr(tracking_database, "_make", watched)
    with one_at_a_time(f"sqlite:///{tmp_path / 'mlflow.db'}"):
        pass
    assert seen == [2], "full, as SQLite has it by default"


def test_a_database_that_fails_to_be_made_takes_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", broken)
    with (
        pytest.raises(OSError, match="no space left"),
        one_at_a_time(f"sqlite:///{tmp_path / 'mlflow.db'}"),
    ):
        pass
    assert not (tmp_path / "mlflow.db").exists()
    assert _synchronous(tmp_path / "other.db") == 2


@pytest.mark.parametrize("uri", ["postgresql://host/mlflow", "http://host:5000", "sqlite://"])
def test_other_stores_are_left_to_who_runs_them(uri: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with one_at_a_time(uri):
        pass
    assert list(tmp_path.iterdir()) == []


def _synchronous(database: Path) -> int:
    """What a new connection waits for: 0 nothing, 1 at checkpoints, 2 each commit."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
