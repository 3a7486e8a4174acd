"""The log in PostgreSQL: a database that goes away costs answers, and no record."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from postgres_server import PASSWORD, server
from record_entries import answered, counts, told
from release_worlds import until

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving import place as place_module
from ai_assets.serving import postgres as postgres_connections
from ai_assets.serving.app import create_app
from ai_assets.serving.postgres import Connection
from ai_assets.serving.record.answers import LogError
from ai_assets.serving.record.postgres import PostgresStore
from ai_assets.serving.record.store import log_place, open_store
from ai_assets.serving.settings import Settings


@pytest.fixture(scope="module")
def frail() -> Iterator[Any]:
    """A server that tests stop and start."""
    with server() as running:
        yield running


@pytest.fixture
def store(postgres: Any) -> Iterator[PostgresStore]:
    """An empty log."""
    made = PostgresStore(postgres.log_of())
    yield made
    made.close()


def cut_off(made: PostgresStore, postgres: Any) -> None:
    """End the session of the store's writer, as a failover does."""
    assert made._writer is not None
    postgres.end_session(made._writer.info.backend_pid)


def reader_of(store: PostgresStore) -> Connection:
    """The connection by which it finds a few."""
    return store._reader.done(lambda connection: connection)


def test_a_server_answers_503_while_the_database_is_down_and_goes_on_when_it_is_back(
    frail: Any, shared: Path, caplog: pytest.LogCaptureFixture
):
    place = frail.log_of("trips_log")
    settings = Settings(lake=str(shared / "lake"), log=place)
    with TestClient(create_app(shared / "payload", settings)) as client:
        (first,) = client.post("/predict", json=small.ROW).json()["predictions"]
        outcome = {"prediction_id": first["prediction_id"], "outcome": "late"}
        assert client.post("/feedback", json=outcome).status_code == 200
        frail.stop("immediate")
        down = client.post("/predict", json=small.ROW)
        untold = client.post("/feedback", json=outcome)
        ready = client.get("/readyz").status_code
        frail.start()
        back = client.post("/predict", json=small.ROW)
        assert client.post("/feedback", json=outcome).status_code == 200
        assert client.get("/readyz").status_code == 200

    assert (down.status_code, down.headers["retry-after"], ready) == (503, "1", 503)
    assert "The log cannot be used: the database does not answer." in down.json()["error"]
    assert untold.status_code == 503
    assert back.status_code == 200
    assert "Connection refused" in caplog.text
    assert PASSWORD not in caplog.text + down.text + untold.text
    assert "127.0.0.1" not in down.text + untold.text
    recorded = {i for e in open_store(place).answers((None, None)) for i in e.prediction_ids()}
    assert recorded == {
        first["prediction_id"],
        back.json()["predictions"][0]["prediction_id"],
    }


def test_a_server_starts_without_its_database_and_answers_once_it_is_there(
    frail: Any, shared: Path
):
    settings = Settings(lake=str(shared / "lake"), log=frail.log_of())
    frail.stop("fast")
    with TestClient(create_app(shared / "payload", settings)) as client:
        before = client.post("/predict", json=small.ROW).status_code
        frail.start()
        after = client.post("/predict", json=small.ROW).status_code

    assert (before, after) == (503, 200)


def test_a_session_that_was_ended_is_made_anew_and_nobody_notices(
    store: PostgresStore, postgres: Any
):
    one, two = answered(), answered()
    store.write([one])
    cut_off(store, postgres)
    store.write([two])
    store.find([one.request_id])
    postgres.end_session(reader_of(store).info.backend_pid)

    assert set(store.find([one.request_id, two.request_id])) == {one.request_id, two.request_id}


@contextmanager
def frozen(connection: Any) -> Iterator[None]:
    """The session of a connection stands still meanwhile; its host answers on."""
    process = connection.info.backend_pid
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_database_that_stands_still_is_given_up_and_another_session_goes_on(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_connections, "_GRACE_S", 0.2)
    one, two = answered(), answered()
    store.write([one])
    assert store._writer is not None
    reader = reader_of(store)
    store._writer.bound(0.3)
    reader.bound(0.3)

    with frozen(store._writer):
        began = time.monotonic()
        store.write([two])
        with frozen(reader):
            found = store.find([one.request_id, two.request_id])
        took = time.monotonic() - began

    assert set(found) == {one.request_id, two.request_id}
    assert 0.8 < took < 5
    assert {e.request_id for e in store.answers((None, None))} == set(found)


def test_who_finds_the_reader_taken_for_too_long_is_told(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_connections, "LONGEST_S", 0.1)

    with pytest.raises(LogError, match="the database does not answer"):
        store._reader.done(lambda _: store.find([1]))

    assert store.find([1]) == {}


def test_every_session_has_a_bound_for_its_statements(store: PostgresStore):
    for connection in (store._writer, reader_of(store)):
        assert connection is not None
        assert connection.execute("SHOW statement_timeout").fetchone() == ("10s",)
        connection.bound(0.1)
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(5)")


def test_while_the_database_stands_still_a_server_refuses_is_not_ready_and_can_be_stopped(
    postgres: Any, shared: Path
):
    settings = Settings(lake=str(shared / "lake"), log=postgres.log_of(), max_seconds=0.5)
    with TestClient(create_app(shared / "payload", settings)) as client:
        assert client.post("/predict", json=small.ROW).status_code == 200
        store: Any = client.app.state.server.keeper.recorder.store()  # type: ignore[attr-defined]
        with frozen(store._writer):
            began = time.monotonic()
            refused = client.post("/predict", json=small.ROW)
            took = time.monotonic() - began
            time.sleep(0.2)
            ready = client.get("/readyz")
        until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/predict", json=small.ROW).status_code == 200
        os.kill(store._writer.info.backend_pid, signal.SIGSTOP)
        process, began = store._writer.info.backend_pid, time.monotonic()
        assert client.post("/predict", json=small.ROW).status_code == 503
    stopped = time.monotonic() - began
    os.kill(process, signal.SIGCONT)

    assert (refused.status_code, ready.status_code) == (503, 503)
    assert "The log does not answer." in refused.json()["error"]
    assert took < 3 and stopped < 5


@pytest.mark.parametrize("kept", [True, False])
def test_a_group_whose_commit_was_cut_off_is_there_once(
    store: PostgresStore, postgres: Any, monkeypatch: pytest.MonkeyPatch, kept: bool
):
    group = [answered(), told()]
    put, cuts = store._put, []

    def put_and_lose(writer: Any, entries: Any) -> None:
        """The answer to the commit never comes: the session ends after it, or before."""
        if cuts:
            return put(writer, entries)
        cuts.append(1)
        original = psycopg.Transaction.__exit__

        def leave(transaction: Any, *error: Any) -> Any:
            if kept:
                original(transaction, *error)
            cut_off(store, postgres)
            writer.execute("SELECT 1")  # raises, as COMMIT would have

        monkeypatch.setattr(psycopg.Transaction, "__exit__", leave)
        try:
            return put(writer, entries)
        finally:
            monkeypatch.setattr(psycopg.Transaction, "__exit__", original)

    monkeypatch.setattr(store, "_put", put_and_lose)
    store.write(group)

    assert cuts == [1]
    assert list(store.answers((None, None))) == [group[0]]
    assert list(store.outcomes((None, None))) == [group[1]]


def test_after_a_failover_that_lost_it_a_group_in_doubt_is_written_again(store: PostgresStore):
    group = [answered(), told()]
    store._in_doubt = ("999999999999", group)

    store.write(group)

    assert list(store.answers((None, None))) == [group[0]]
    assert list(store.outcomes((None, None))) == [group[1]]
    assert store._in_doubt is None


def test_who_may_only_write_and_read_opens_a_log_that_is_there(postgres: Any):
    place = postgres.log_of()
    PostgresStore(place).close()
    schema = place.rpartition("=")[2]
    with psycopg.connect(postgres.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE clerk LOGIN PASSWORD 'small'")
        owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO clerk")
        owner.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO clerk")

    clerk = PostgresStore(place.replace(f"tester:{PASSWORD}", "clerk:small"))
    clerk.write([answered()])

    assert len(list(clerk.answers((None, None)))) == 1
    clerk.close()


def test_the_log_waits_for_the_disk_though_the_database_would_not(postgres: Any):
    with psycopg.connect(postgres.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE hasty SUPERUSER LOGIN PASSWORD 'small'")
        owner.execute("ALTER ROLE hasty SET synchronous_commit = off")

    store = PostgresStore(postgres.log_of().replace(f"tester:{PASSWORD}", "hasty:small"))

    assert store._writer is not None
    assert store._writer.execute("SHOW synchronous_commit").fetchone() == ("on",)
    store.close()


def test_a_log_of_another_format_is_left_alone(postgres: Any):
    place = postgres.log_of("seven")
    PostgresStore(place).close()
    with psycopg.connect(postgres.url, autocommit=True) as owner:
        owner.execute("UPDATE seven.format SET version = 7")

    with pytest.raises(LogError, match=r"schema seven has format 7, but only \d can be written"):
        PostgresStore(place)


def test_a_log_of_an_earlier_format_is_opened_and_keeps_its_answers(postgres: Any):
    place, one = postgres.log_of("before"), answered()
    first = PostgresStore(place)
    first.write([one])
    first.close()
    with psycopg.connect(postgres.url, autocommit=True) as owner:
        owner.execute("DROP TABLE before.counts")
        owner.execute("ALTER TABLE before.answers DROP COLUMN split")
        owner.execute("UPDATE before.format SET version = 1")

    store = PostgresStore(place)
    store.write([counts()])

    assert list(store.answers((None, None))) == [one]
    assert list(store.counts((None, None))) == [counts()]
    store.close()


def test_a_wrong_password_is_told_without_it_and_without_the_user(postgres: Any):
    place = postgres.log_of().replace(PASSWORD, "guessed")

    with pytest.raises(LogError) as told_of:
        open_store(place)

    assert str(told_of.value) == "The log cannot be used: the database does not answer."
    assert "password authentication failed" in str(told_of.value.__cause__)


def test_each_product_has_a_schema_unless_the_setting_names_one():
    given = "postgresql://u:p@db/log"

    assert log_place("trips", given) == f"{given}?schema=trips"
    assert log_place("trips", f"{given}?sslmode=require") == (
        f"{given}?sslmode=require&schema=trips"
    )
    assert log_place("trips", f"{given}?schema=all_{{product}}") == f"{given}?schema=all_trips"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("postgresql://u:hidden@db/log?schema=a%22b", "schema of AI_ASSETS_LOG must be a name"),
        ("postgresql://u:hidden@db/log?sslmod=on", "AI_ASSETS_LOG must be postgresql://<user>"),
        ("mysql://u:hidden@db/log", "AI_ASSETS_LOG must be a path, .* but got 'mysql://…'"),
    ],
)
def test_a_url_that_is_none_is_told_without_its_password(place: str, says: str):
    with pytest.raises(BundleError, match=says) as told_of:
        open_store(place)

    assert "hidden" not in str(told_of.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(place_module.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(BundleError, match=r"pip install 'psycopg\[binary\]'"):
        open_store("postgresql://u@db/log")
