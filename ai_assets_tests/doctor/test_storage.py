"""Whether state, lake and databases can be written and read, and whether the disk suffices."""

import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ai_assets.doctor import permissions, storage
from ai_assets.doctor.place import Place
from ai_assets_tests.object_store import object_store

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "serving"))
from postgres import server


def database(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as made, made:
        made.execute("CREATE TABLE answer (n INTEGER)")
        made.executemany("INSERT INTO answer VALUES (?)", [(n,) for n in range(5_000)])
    return file


def test_a_state_folder_that_can_be_written_is_fine_and_keeps_nothing(place: Place) -> None:
    before = sorted(place.home.rglob("*"))

    (state,) = storage.state_folder(place)
    (lake,) = storage.lake(place)

    assert (state.mood, state.found) == ("ok", f"{place.home} can be written.")
    assert (lake.mood, lake.found) == ("ok", f"{place.home}/lake can be written and read.")
    assert sorted(place.home.rglob("*")) == before


def test_a_state_folder_that_is_read_only_is_a_problem(open_place: Place, as_nobody) -> None:
    place = replace(open_place)
    place.home.chmod(0o555)

    with as_nobody():
        (state,) = storage.state_folder(place)
        (lake,) = storage.lake(place)
        (lines,) = permissions.folders(place)
    place.home.chmod(0o755)

    assert (state.mood, lake.mood) == ("problem", "problem")
    assert state.found == f"{place.home} cannot be written: Permission denied."
    assert "chown -R " in state.do and str(place.home) in state.do
    assert lines.mood == ("problem" if os.geteuid() == 0 else "ok")


def test_a_file_where_the_state_folder_should_be_is_a_problem(place: Place) -> None:
    (place.project / "taken").write_text("", encoding="utf-8")
    other = replace(place, given={}, project=place.project)
    other.written["AI_ASSETS_HOME"] = str(place.project / "taken")

    (line,) = storage.state_folder(other)

    assert (line.mood, line.found) == (
        "problem",
        f"{place.project}/taken cannot be written: Not a directory.",
    )


def test_a_lake_at_a_url_is_written_and_read_there(place: Place, tmp_path: Path) -> None:
    there = replace(place, given={"AI_ASSETS_LAKE": f"file://{tmp_path}/lake"})

    (line,) = storage.lake(there)

    assert (line.mood, line.found) == ("ok", f"file://{tmp_path}/lake can be written and read.")
    assert list((tmp_path / "lake").iterdir()) == []


def test_a_lake_in_an_object_store_is_written_and_read_there(place: Place) -> None:
    with object_store() as store:
        given = {"AI_ASSETS_LAKE": "s3://bucket/lake", **store.environment}

        (line,) = storage.lake(replace(place, given=given))

        assert (line.mood, line.found) == ("ok", "s3://bucket/lake can be written and read.")
        assert not [key for key in store.keys("bucket") if "doctor" in key]


def test_an_object_store_that_does_not_answer_is_a_problem(
    place: Place, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "AI_ASSETS_LAKE": "s3://bucket/lake",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }

    (line,) = storage.lake(replace(place, given=given))

    assert line.mood == "problem"
    assert line.found.startswith("s3://bucket/lake cannot be written and read: ")
    assert "connect" in line.found and "docs/how-to/s3.md" in line.do


def test_databases_that_open_and_are_whole_are_fine(place: Place) -> None:
    database(place.home / "served" / "churn.sqlite")
    database(place.home / "dagster" / "history" / "runs.db")

    (line,) = storage.databases(place)

    assert (line.mood, line.found) == (
        "ok",
        f"All 2 SQLite files below {place.home} open and are whole.",
    )


def test_a_database_with_damaged_pages_and_one_that_is_none_are_named(place: Place) -> None:
    damaged = database(place.home / "served" / "churn.sqlite")
    with damaged.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096)
    other = place.home / "alerts" / "outbox.db"
    other.parent.mkdir()
    other.write_bytes(b"no database at all" * 400)

    lines = {line.found.partition(":")[0]: line for line in storage.databases(place)}

    assert {line.mood for line in lines.values()} == {"problem"}
    assert lines[str(other)].found == f"{other}: file is not a database."
    assert str(damaged) in lines and "docs/how-to/backup.md" in lines[str(damaged)].do


def test_a_database_that_somebody_has_locked_is_a_warning(place: Place) -> None:
    file = database(place.home / "keys" / "access.sqlite")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        (line,) = storage.databases(place)

    assert (line.mood, line.found) == ("warning", f"{file}: locked for longer than 2 s.")


@pytest.mark.skipif(find_spec("psycopg") is None, reason="psycopg is not installed")
@pytest.mark.parametrize(
    ("name", "setting"), [("record", "AI_ASSETS_LOG"), ("keys", "AI_ASSETS_KEYS")]
)
def test_the_databases_of_answers_and_keys_are_asked_and_their_passwords_not_told(
    place: Place, name: str, setting: str
) -> None:
    with server() as postgres:
        given = {setting: postgres.log_of("churn")}
        (answers,) = storage.postgres(replace(place, given=given))
        parts = urlsplit(postgres.url)
        # The same, all of it among the parameters, and of the log with the product's name.
        there = f"host={parts.hostname}&port={parts.port}&user={parts.username}"
        all_of_it = f"{there}&password={parts.password}&schema={{product}}"
        spread_out = {setting: f"postgresql://{parts.path}?{all_of_it}"}
        (spread,) = storage.postgres(replace(place, given=spread_out))
        wrong = {setting: postgres.url.replace("secret-of-the-test", "wrong-word")}
        (refused,) = storage.postgres(replace(place, given=wrong))
    (gone,) = storage.postgres(replace(place, given={setting: f"{given[setting]}&password=spilt"}))

    (unread,) = storage.postgres(replace(place, given={setting: "postgresql://u:spilt@h/d?what=1"}))

    assert unread.found.startswith(f"{setting} must be postgresql://")
    assert answers.found.startswith(f"postgresql://…@127.0.0.1:{parts.port}/")
    assert spread.found == answers.found
    assert answers.check == refused.check == gone.check == name
    assert answers.mood == "ok" and "answers, PostgreSQL 1" in answers.found
    assert (refused.mood, gone.mood) == ("problem", "problem")
    assert "password authentication failed" in refused.found
    assert refused.do.startswith(f"correct {setting}, or start the database")
    assert "Connection refused" in gone.found
    told = f"{answers}{refused}{gone}{spread}{unread}"
    assert not [word for word in ("secret-of-the-test", "wrong-word", "spilt") if word in told]


def test_what_lies_in_files_is_no_business_of_postgresql(place: Place) -> None:
    files = {"AI_ASSETS_LOG": "log.sqlite", "AI_ASSETS_KEYS": "sqlite:///keys.sqlite"}

    assert (
        list(storage.postgres(place)) == list(storage.postgres(replace(place, given=files))) == []
    )


def test_room_on_the_disk_is_told_and_too_little_of_it_is_a_problem(place: Place) -> None:
    (enough,) = storage.disk(place, least=1)
    (little,) = storage.disk(place, least=2**60)
    (built,) = storage.temporary(place, least=1)
    (no_room,) = storage.temporary(place, least=2**60)

    assert (enough.mood, little.mood, built.mood, no_room.mood) == ("ok", "problem") * 2
    assert "free at" in enough.found and "in use by the state" in enough.found
    assert little.found.endswith("a run may need 1073741824.0 GiB.")


def test_a_state_larger_than_the_room_left_is_a_warning(place: Place) -> None:
    sparse = place.home / "lake.bin"
    with sparse.open("wb") as file:
        file.truncate(2**42)

    (line,) = storage.disk(place)

    assert line.mood == "warning"
    assert "4096.0 GiB in use by the state: too little to write all of it once more" in line.found


def test_a_folder_of_temporary_files_that_is_gone_is_a_problem(place: Place) -> None:
    (line,) = storage.temporary(replace(place, given={"TMPDIR": "/no/such/folder"}))

    assert (line.mood, line.found) == (
        "problem",
        "/no/such/folder cannot be written: No such file or directory.",
    )
