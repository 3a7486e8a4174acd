"""Keys in a database: servers share them and their quotas, and one that is away opens nothing."""

import asyncio
import logging
import select
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import small_payload as small
from gated_app import Place
from postgres_server import PASSWORD, server
from psycopg.conninfo import conninfo_to_dict
from release_worlds import until
from serving_processes import running

from ai_assets.serving import postgres as postgres_connections
from ai_assets.serving.access.__main__ import main
from ai_assets.serving.access.gate import Asked, Gate
from ai_assets.serving.access.keys import AccessError, new_key
from ai_assets.serving.access.limits import Quota
from ai_assets.serving.access.postgres import KeyDatabase
from ai_assets.serving.access.rules import Need
from ai_assets.serving.postgres import parsed
from ai_assets.serving.problems import Refused

NOW = 1_000_000.0


@pytest.fixture(scope="module")
def frail() -> Iterator[Any]:
    """A database server that tests stop and start."""
    with server() as started:
        yield started


@pytest.fixture
def store(postgres: Any) -> Iterator[KeyDatabase]:
    """Keys that are not there yet."""
    made = KeyDatabase(postgres.log_of())
    yield made
    made._kept.close()


def session_of(store: KeyDatabase) -> int:
    """The number of its process."""
    return store._kept.done(lambda connection: connection.info.backend_pid)


def test_the_secret_is_in_no_value_of_the_tables(store: KeyDatabase, postgres: Any):
    key, token = new_key("ada", ["predict"], NOW)
    store.add(key)

    with psycopg.connect(postgres.url) as other:
        told = str(other.execute(f"SELECT * FROM {store._inside}.keys").fetchall())

    assert key.id in told and "ada" in told
    assert token.rpartition("_")[2] not in told


def test_keys_lie_in_a_schema_of_their_own_unless_the_url_names_one(postgres: Any):
    url = postgres.url
    KeyDatabase(url).add(new_key("ada", ["predict"], NOW)[0])

    with psycopg.connect(url) as other:
        found = other.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'access'"
        ).fetchall()

    assert {name for (name,) in found} == {"keys", "used", "revision"}
    assert len(KeyDatabase(f"{url}?schema=access").keys()) == 1
    assert KeyDatabase(f"{url}?schema=elsewhere").keys() == {}


def test_a_url_is_read_as_libpq_reads_it():
    url = "postgresql:///answers?host=%2Frun%2Fpg&schema=mine&options=-c%20geqo%3Doff&password=a%2Bb+c"

    conninfo, schema = parsed(url, "AI_ASSETS_KEYS")

    assert schema == "mine"
    assert conninfo_to_dict(conninfo).items() >= {
        "dbname": "answers", "host": "/run/pg", "options": "-c geqo=off", "password": "a+b+c",
    }.items()  # fmt: skip
    assert parsed("postgresql://u@h/d", "AI_ASSETS_KEYS", "theirs")[1] == "theirs"


def test_keys_that_were_made_anew_have_another_revision(store: KeyDatabase, postgres: Any):
    store.add(new_key("ada", ["predict"], NOW)[0])
    before = store.revision()
    with psycopg.connect(postgres.url, autocommit=True) as other:
        other.execute(f"DROP SCHEMA {store._inside} CASCADE")
    store.add(new_key("bob", ["predict"], NOW)[0])

    assert store.revision()[1] == before[1]
    assert store.revision() != before


def test_a_session_that_was_ended_is_made_anew(store: KeyDatabase, postgres: Any):
    store.add(new_key("ada", ["predict"], NOW)[0])
    postgres.end_session(session_of(store))

    assert [key.name for key in store.keys().values()] == ["ada"]
    assert store.lend("k", 0, 3, 10) == 3


def test_a_session_that_the_database_found_idle_for_too_long_is_made_anew(store: KeyDatabase):
    store.add(new_key("ada", ["predict"], NOW)[0])
    kept = store._kept.done(lambda connection: connection)
    kept.execute("SET idle_session_timeout = 50")
    # What it says last waits to be read.
    assert select.select([kept.fileno()], [], [], 5)[0]

    assert [key.name for key in store.keys().values()] == ["ada"]


def test_what_the_database_refuses_leaves_nothing_locked_behind(store: KeyDatabase, postgres: Any):
    key, _ = new_key("ada", ["predict"], NOW)
    store.add(key)
    session = session_of(store)
    with psycopg.connect(postgres.url, autocommit=True) as other:
        other.execute(f"ALTER TABLE {store._inside}.used RENAME TO gone")

    with pytest.raises(AccessError, match=r'The keys cannot be used: relation .*used" does not'):
        store.lend(key.id, 0, 1, 10)

    with psycopg.connect(postgres.url, autocommit=True) as other:
        locks = "SELECT count(*) FROM pg_locks WHERE pid = %s"
        end = time.monotonic() + 10  # the session ends a moment after its client has left
        while (held := other.execute(locks, [session]).fetchone()) != (0,):
            assert time.monotonic() < end, held
            time.sleep(0.02)
    assert set(store.keys()) == {key.id}
    assert session_of(store) != session


def test_who_may_not_make_the_tables_keeps_nobody_from_it(postgres: Any):
    place = postgres.log_of()
    with psycopg.connect(postgres.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE reader LOGIN PASSWORD 'small'")
    reader = KeyDatabase(place.replace(f"tester:{PASSWORD}", "reader:small"))
    maker = KeyDatabase(place)
    key, _ = new_key("ada", ["predict"], NOW)

    with pytest.raises(AccessError, match="permission denied for database"):
        reader.add(key)
    maker.add(key)

    assert set(maker.keys()) == {key.id}


def test_who_waits_too_long_for_the_connection_is_told(
    store: KeyDatabase, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_connections, "LONGEST_S", 0.1)

    with pytest.raises(AccessError, match="the database does not answer"):
        store._kept.done(lambda _: store.keys())

    assert store.keys() == {}


def test_nobody_passes_while_the_database_is_away_and_all_do_when_it_is_back(
    frail: Any, caplog: pytest.LogCaptureFixture
):
    place = Place(KeyDatabase(frail.log_of()))
    _, header = place.key("predict", quota=Quota(5000, 60))
    assert place.client.post("/predict", headers=header).status_code == 200

    frail.stop()
    try:
        # Known keys hold for the second; what is left of a block of a quota is the server's.
        within = place.client.post("/predict", headers=header)
        place.now += 1.1
        caplog.set_level(logging.WARNING)
        away = [place.client.post("/predict", headers=header) for _ in range(3)]
        Gate("keys", place.store).announce()
    finally:
        frail.start()
    place.now += 1.1
    back = place.client.post("/predict", headers=header)

    assert (within.status_code, back.status_code) == (200, 200)
    assert [(a.status_code, a.json()["error"]) for a in away] == [
        (503, "Keys cannot be checked now.")
    ] * 3
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    # Of three requests in a second one has asked.
    assert told[0] == (
        "keys cannot be read: The keys cannot be used: the database does not answer."
    )
    assert told[-1] == (
        "The keys cannot be used: the database does not answer. Until they can, every request is "
        "refused."
    )
    assert len(told) == 2 and PASSWORD not in "".join(told)


class SlowRevision:
    """A revision that is given when `go` is set, and takes seconds of the clock."""

    def __init__(self, store: KeyDatabase, takes_s: float = 0.0) -> None:
        self._read, self._takes_s, self._now = store.revision, takes_s, NOW
        self.looked, self.go = list[float](), threading.Event()
        store.revision = self._given  # type: ignore[method-assign]

    def clock(self) -> float:
        """The time now."""
        return self._now

    def _given(self) -> tuple[int, int]:
        self.looked.append(self._now)
        self.go.wait(5)
        self._now += self._takes_s
        return self._read()


def test_a_caller_that_gives_up_leaves_the_look_to_those_who_come(store: KeyDatabase):
    key, token = new_key("ada", ["predict"], NOW)
    store.add(key)
    slow = SlowRevision(store)
    gate = Gate("keys", store, clock=slow.clock)

    async def one_gives_up() -> str | None:
        asked = Asked([token], "10.0.0.1"), Need(True, "predict")
        first = asyncio.create_task(gate.admit(*asked))
        while not slow.looked:
            await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(gate.admit(*asked))
        await asyncio.sleep(0.05)
        slow.go.set()
        return await second

    assert asyncio.run(one_gives_up()) == key.id
    assert len(slow.looked) == 1


def test_those_who_waited_for_a_database_that_does_not_answer_do_not_wait_again(
    store: KeyDatabase,
):
    now, asked = [NOW], []
    gate = Gate("keys", store, clock=lambda: now[0])

    def silent() -> tuple[int, int]:
        asked.append(now[0])
        now[0] += 12  # as long as a statement may take
        raise AccessError("The keys cannot be used: the database does not answer.")

    store.revision = silent  # type: ignore[method-assign]

    async def one_after_another() -> list[int]:
        async def call() -> int:
            with pytest.raises(Refused) as refused:
                await gate.admit(Asked(["aia_1_2"], "10.0.0.1"), Need(True, "predict"))
            return refused.value.status

        return await asyncio.gather(*[call() for _ in range(5)])

    assert asyncio.run(one_after_another()) == [503] * 5
    assert asked == [NOW]


def test_one_request_looks_and_those_beside_it_wait_for_what_it_finds(store: KeyDatabase):
    key, token = new_key("ada", ["predict"], NOW)
    store.add(key)
    slow = SlowRevision(store)
    gate = Gate("keys", store, clock=slow.clock)

    async def all_at_once() -> list[str | None]:
        asked = Asked([token], "10.0.0.1")
        calls = [asyncio.create_task(gate.admit(asked, Need(True, "predict"))) for _ in range(20)]
        while not slow.looked:
            await asyncio.sleep(0.01)
        # The loop goes on meanwhile, and answers what needs no key.
        assert await gate.admit(Asked([], ""), Need(False, None)) is None
        slow.go.set()
        return await asyncio.gather(*calls)

    assert asyncio.run(all_at_once()) == [key.id] * 20
    assert len(slow.looked) == 1


def test_those_who_waited_for_a_slow_database_take_what_it_said(store: KeyDatabase):
    key, token = new_key("ada", ["predict"], NOW)
    store.add(key)
    slow = SlowRevision(store, takes_s=3)
    gate = Gate("keys", store, clock=slow.clock)

    async def all_at_once() -> list[str | None]:
        asked, need = Asked([token], "10.0.0.1"), Need(True, "predict")
        slow.go.clear()
        calls = [asyncio.create_task(gate.admit(asked, need)) for _ in range(20)]
        await asyncio.sleep(0)  # each has come now
        slow.go.set()
        return await asyncio.gather(*calls)

    async def twice() -> None:
        assert await all_at_once() == [key.id] * 20
        assert slow.looked == [NOW]
        # Who comes later is told nothing that old.
        assert await all_at_once() == [key.id] * 20
        assert slow.looked == [NOW, NOW + 3]

    asyncio.run(twice())


def test_two_servers_share_keys_and_a_quota(
    shared: Path,
    tmp_path: Path,
    postgres: Any,
    free_port: int,
    another_free_port: int,
    capsys: pytest.CaptureFixture[str],
):
    url, ports = postgres.log_of(), (free_port, another_free_port)
    make = ["--keys", url, "create", "--name", "ada", "--scope", "predict", "--quota", "40/day"]
    assert main(make) == 0
    header = {"X-API-Key": capsys.readouterr().out.strip()}
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": url,
    }

    with ExitStack() as servers:
        clients = []
        for port in ports:
            command = ["ai_assets.serving", "--bundle", str(shared / "payload")]
            (folder := tmp_path / str(port)).mkdir()
            own = {**environment, "AI_ASSETS_LOG": str(folder / "log.sqlite")}
            started = running(
                [*command, "--port", str(port)], f"http://127.0.0.1:{port}", folder, own
            )
            clients.append(servers.enter_context(started))

        def ask(number: int) -> int:
            client = clients[number % 2]
            return int(client.post("/predict", json=small.ROW, headers=header).status_code)

        with ThreadPoolExecutor(8) as callers:
            codes = list(callers.map(ask, range(60)))
        assert main(["--keys", url, "list"]) == 0
        listed = capsys.readouterr().out.splitlines()[1].split()
        assert main(["--keys", url, "revoke", listed[0]]) == 0

        def all_refuse() -> bool:
            return {ask(0), ask(1)} == {401}

        until(all_refuse)

    assert (codes.count(200), codes.count(429)) == (40, 20)
    assert listed[4:6] == ["40/day", "40"]
