"""MLflow's database is made whole, beside its place, and made once."""

import sqlite3
from pathlib import Path

import pytest
from mlflow.store.tracking import sqlalchemy_store
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import Engine, create_engine

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.resources.tracking_database import one_at_a_time, uri_of

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
    database, other = tmp_path / "mlflow.db", create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    seen: dict[str, int] = {}

    class Watched(SqlAlchemyStore):
        def __init__(self, uri: str, artifacts: str) -> None:
            super().__init__(uri, artifacts)
            seen["made"] = _asked(self.engine)
            seen["another's meanwhile"] = _asked(other)
            seen["another's in memory"] = _asked(create_engine("sqlite://"))

    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", Watched)
    with one_at_a_time(f"sqlite:///{database}"):
        seen["in its place"] = _synchronous(database)

    assert seen == {
        "made": 0,
        "another's meanwhile": 2,
        "another's in memory": 2,
        "in its place": 2,
    }, "full, as SQLite has it by default, but for the one that nobody else can know yet"
    assert _asked(other) == 2, "which its pool kept"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("q.db?timeout=30", "q.db"),
        ("with%20blank.db", "with blank.db"),
        ("with%2520percent.db", "with%20percent.db"),
    ],
)
def test_its_uri_is_read_as_mlflow_reads_it(tmp_path: Path, written: str, name: str) -> None:
    uri = f"sqlite:///{tmp_path}/{written}"
    with one_at_a_time(uri):
        assert {file.name for file in tmp_path.iterdir()} == {name, f"{name}.lock"}

    store = SqlAlchemyStore(uri, str(tmp_path))
    store.engine.dispose()
    assert {file.name for file in tmp_path.iterdir()} == {name, f"{name}.lock"}


@pytest.mark.parametrize("folder", ["jörg's #1, @ü+=&;:", "per%41cent", "what?now"])
def test_a_uri_of_a_path_leads_to_that_path_whatever_its_characters(
    tmp_path: Path, folder: str
) -> None:
    database = tmp_path / folder / "mlflow.db"
    with one_at_a_time(uri_of(database)):
        assert database.is_file()

    SqlAlchemyStore(uri_of(database), str(tmp_path)).engine.dispose()
    # MLflow makes the folder that a URI names, as if nothing in it were quoted.
    made = {file.name: [inside.name for inside in file.iterdir()] for file in tmp_path.iterdir()}
    assert sorted(made.pop(folder)) == ["mlflow.db", "mlflow.db.lock"]
    assert not any(made.values()) and bool(made) == any(mark in folder for mark in "%?")


def test_what_is_no_uri_of_sqlite_is_refused_in_words() -> None:
    with pytest.raises(DeclarationError, match=r"tracking_uri must be .*, but got 'sqlite:/x.db'"):
        one_at_a_time("sqlite:/x.db").__enter__()


def test_what_another_mlflow_has_made_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"

    class Overtaken(SqlAlchemyStore):
        def __init__(self, uri: str, artifacts: str) -> None:
            super().__init__(uri, artifacts)
            theirs = SqlAlchemyStore(f"sqlite:///{database}", artifacts)
            theirs.create_experiment("theirs")
            theirs.engine.dispose()

    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", Overtaken)
    with one_at_a_time(f"sqlite:///{database}"):
        pass
    assert asked(database, "SELECT name FROM experiments ORDER BY 1") == [("Default",), ("theirs",)]
    assert not (tmp_path / "mlflow.db.new").exists()


def test_where_a_folder_knows_no_links_mlflow_makes_it_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("operation not permitted")

    monkeypatch.setattr("os.link", refused)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with one_at_a_time(uri):
        assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db.lock"]
        SqlAlchemyStore(uri, str(tmp_path)).engine.dispose()
    assert asked(tmp_path / "mlflow.db", "SELECT count(*) FROM experiments") == [(1,)]


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


@pytest.mark.parametrize(
    "uri", ["postgresql://host/mlflow", "http://host:5000", "sqlite://", "sqlite:///:memory:"]
)
def test_other_stores_are_left_to_who_runs_them(uri: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with one_at_a_time(uri):
        pass
    assert list(tmp_path.iterdir()) == []


def _synchronous(database: Path) -> int:
    """What a new connection waits for: 0 nothing, 1 at checkpoints, 2 each commit."""
    return _asked(create_engine(f"sqlite:///{database}"))


def _asked(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
