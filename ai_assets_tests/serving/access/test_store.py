"""Where keys lie: a file or a database keeps them alike, and who shares it counts together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving import place as place_module
from ai_assets.serving.access.keys import AccessError, new_key
from ai_assets.serving.access.limits import Quota, Rate
from ai_assets.serving.access.store import KeyStore, key_store

NOW = 1_000_000.0
Opened = Callable[[], KeyStore]


@pytest.fixture(params=["file", "database"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Opens keys that are not there yet; a second time as another server does."""
    if request.param == "file":
        where = str(tmp_path / "keys" / "access.sqlite")
    else:
        where = request.getfixturevalue("postgres").log_of()
    return lambda: key_store(where)


@pytest.fixture
def store(opened: Opened) -> KeyStore:
    """Keys that are not there yet."""
    return opened()


def test_before_the_first_key_there_is_none(store: KeyStore):
    assert (store.keys(), store.revision(), store.used("k", 0)) == ({}, (0, 0), 0)


def test_a_key_comes_back_as_it_was_kept(store: KeyStore):
    key, _ = new_key("ada", ["predict", "admin"], NOW, Rate(5, 1), Quota(9, 60), NOW + 60)
    plain, _ = new_key("bob", ["explain"], NOW + 1)

    store.add(key)
    store.add(plain)

    assert store.keys() == {key.id: key, plain.id: plain}


def test_a_revoked_key_stays_revoked_from_the_first_time(store: KeyStore):
    key, _ = new_key("ada", ["predict"], NOW)
    store.add(key)

    assert store.revoke(key.id, NOW + 1).revoked_at == NOW + 1
    assert store.revoke(key.id, NOW + 2).revoked_at == NOW + 1


def test_a_key_that_is_not_there_cannot_be_revoked(store: KeyStore):
    with pytest.raises(
        AccessError, match=r"There is no key 'abc' .* none, for there is no key yet"
    ):
        store.revoke("abc", NOW)


def test_each_change_of_a_key_has_another_revision_and_counting_has_not(store: KeyStore):
    key, _ = new_key("ada", ["predict"], NOW)
    seen = [store.revision()]
    store.add(key)
    seen.append(store.revision())
    store.lend(key.id, 0, 1, 10)
    assert store.revision() == seen[-1]
    store.revoke(key.id, NOW)
    seen.append(store.revision())

    assert len(set(seen)) == 3


def test_what_is_lent_is_never_more_than_the_window_has(store: KeyStore):
    store.add(new_key("ada", ["predict"], NOW)[0])

    assert [store.lend("k", 60, 4, 10) for _ in range(4)] == [4, 4, 2, 0]
    assert store.used("k", 60) == 10
    assert store.lend("k", 120, 4, 10) == 4
    assert store.used("k", 120) == 4


def test_a_server_whose_clock_is_behind_does_not_count_the_window_anew(store: KeyStore):
    store.add(new_key("ada", ["predict"], NOW)[0])
    for window in (0, 60):
        store.lend("k", window, 10, 10)

    assert (store.lend("k", 120, 4, 10), store.lend("k", 60, 4, 10)) == (4, 0)
    assert [store.used("k", window) for window in (0, 60, 120)] == [0, 10, 4]


def test_servers_that_borrow_at_the_same_time_get_the_quota_together(
    store: KeyStore, opened: Opened
):
    store.add(new_key("ada", ["predict"], NOW)[0])

    with ThreadPoolExecutor(4) as servers:
        lent = list(servers.map(lambda _: opened().lend("k", 0, 3, 40), range(20)))

    assert sum(lent) == 40


def test_commands_that_make_the_store_at_the_same_time_lose_no_key(store: KeyStore, opened: Opened):
    keys = [new_key(f"k{i}", ["predict"], NOW)[0] for i in range(8)]

    with ThreadPoolExecutor(4) as commands:
        list(commands.map(lambda key: opened().add(key), keys))

    assert set(store.keys()) == {key.id for key in keys}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("mysql://u:hidden@db/keys", "AI_ASSETS_KEYS must be a path, .* but got 'mysql://…'"),
        ("postgresql://u:hidden@db/k?nonsense=1", "AI_ASSETS_KEYS must be postgresql://"),
        ("postgresql://u:hidden@db/k?schema=My Keys", "schema of AI_ASSETS_KEYS must be"),
    ],
)
def test_a_place_that_is_none_is_told_without_its_password(place: str, words: str):
    with pytest.raises(BundleError, match=words) as told:
        key_store(place)

    assert "hidden" not in str(told.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(place_module.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(BundleError, match="Keys in PostgreSQL needs a package") as told:
        key_store("postgresql://u@db/k")

    assert "pip install 'psycopg[binary]'" in str(told.value)
