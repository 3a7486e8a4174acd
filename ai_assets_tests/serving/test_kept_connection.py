"""One connection that threads take in turn: it is kept, and made anew only where it is gone."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from ai_assets.serving import postgres as postgres_connections
from ai_assets.serving.postgres import Connection, KeptConnection, making, parsed, said


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The bound of each connection that was made, in seconds."""
    bounds, connect = [], postgres_connections.connected

    def counted(conninfo: str, longest_s: float) -> Connection:
        bounds.append(longest_s)
        return connect(conninfo, longest_s)

    monkeypatch.setattr(postgres_connections, "connected", counted)
    return bounds


@pytest.fixture
def kept(postgres: Any) -> Iterator[KeptConnection]:
    """A connection that nobody has asked for yet."""
    kept = KeptConnection(parsed(postgres.url, "A_URL")[0])
    yield kept
    kept.close()


def session(connection: Connection) -> int:
    """The number of its process."""
    return connection.info.backend_pid


def test_it_is_made_when_it_is_first_needed_and_kept(made: list[float], kept: KeptConnection):
    before = list(made)

    sessions = {kept.done(session) for _ in range(3)}

    assert (before, made, len(sessions)) == ([], [10.0], 1)
    assert kept.done(lambda c: c.execute("SHOW statement_timeout").fetchone()) == ("10s",)


def test_where_the_server_has_ended_it_the_work_is_done_by_a_new_one(
    made: list[float], kept: KeptConnection, postgres: Any
):
    before = kept.done(session)
    postgres.end_session(before)

    found = kept.done(lambda c: (c.execute("SELECT 7").fetchone(), session(c)))

    assert found[0] == (7,) and found[1] != before
    assert kept.done(session) == found[1]
    assert made == [10.0, 10.0]


def test_work_that_the_new_one_cannot_do_either_is_not_tried_a_third_time(
    made: list[float], kept: KeptConnection, postgres: Any
):
    tried = []

    def ended(connection: Connection) -> None:
        tried.append(session(connection))
        postgres.end_session(tried[-1])
        connection.execute("SELECT 1")

    kept.done(session)
    with pytest.raises(psycopg.OperationalError) as told:
        kept.done(ended)

    assert len(tried) == len(set(tried)) == 2
    assert said(told.value) == "the database does not answer"
    assert kept.done(session) not in tried
    assert made == [10.0] * 3


def test_what_the_database_refuses_is_told_once_and_the_next_has_a_new_session(
    made: list[float], kept: KeptConnection
):
    before, tried = kept.done(session), []

    def refused(connection: Connection) -> None:
        tried.append(session(connection))
        with connection.transaction():
            connection.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        kept.done(refused)

    assert tried == [before] != [kept.done(session)]
    assert made == [10.0, 10.0]


def test_a_session_that_may_write_no_more_is_not_kept(made: list[float], kept: KeptConnection):
    """As that of a host that another one has taken the place of."""

    def write(connection: Connection) -> int:
        connection.execute("CREATE TEMPORARY SEQUENCE numbers")
        return connection.execute("SELECT nextval('numbers')").fetchone()[0]

    kept.done(lambda c: c.execute("SET default_transaction_read_only = on"))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        kept.done(lambda c: c.execute("CREATE SCHEMA refused"))

    assert kept.done(write) == 1
    assert made == [10.0, 10.0]


def test_who_asks_after_it_was_closed_has_another(made: list[float], kept: KeptConnection):
    before = kept.done(lambda connection: connection)
    kept.close()

    assert before.closed
    assert kept.done(lambda c: c.execute("SELECT 7").fetchone()) == (7,)
    assert made == [10.0, 10.0]


def test_one_that_cannot_be_made_holds_up_nobody(postgres: Any):
    away = KeptConnection(parsed(postgres.url.replace(f":{postgres.port}/", ":1/"), "A_URL")[0])

    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match="Connection refused"):
            away.done(session)


def test_threads_have_it_one_after_another(made: list[float], kept: KeptConnection):
    within, most = [], []

    def work(connection: Connection) -> int:
        within.append(1)
        most.append(len(within))
        time.sleep(0.02)
        within.pop()
        return session(connection)

    with ThreadPoolExecutor(8) as threads:
        sessions = {one.result() for one in [threads.submit(kept.done, work) for _ in range(16)]}

    assert (most, len(sessions), made) == ([1] * 16, 1, [10.0])


def test_whose_turn_does_not_come_in_time_is_told_that_the_database_does_not_answer(
    kept: KeptConnection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_connections, "LONGEST_S", 0.2)
    taken, go = threading.Event(), threading.Event()

    def slow(connection: Connection) -> int:
        taken.set()
        go.wait(10)
        return session(connection)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(kept.done, slow)
        assert taken.wait(10)
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError, match="others wait for the database") as told:
            kept.done(session)
        took = time.monotonic() - began
        go.set()
        before = first.result()

    assert said(told.value) == "the database does not answer"
    assert 0.2 <= took < 2
    assert kept.done(session) == before


def test_where_making_tables_fails_the_lock_is_free_for_others(kept: KeptConnection, postgres: Any):
    schema = postgres.log_of().rpartition("=")[2]

    def fails(connection: Connection) -> None:
        with making(connection, schema, "keys"):
            connection.execute("CREATE TABLE nowhere.at_all ()")

    with pytest.raises(psycopg.errors.InvalidSchemaName):
        kept.done(fails)

    with psycopg.connect(postgres.url) as other:
        # The database ends a session a moment after its client has left, and others wait as here.
        other.execute("SET lock_timeout = '10s'")
        other.execute("SELECT pg_advisory_lock(hashtext(%s))", [f"keys {schema}"])
        there = other.execute("SELECT to_regnamespace(%s)", [schema]).fetchone()
    assert there == (None,)
    assert kept.done(lambda c: c.execute("SELECT 7").fetchone()) == (7,)
