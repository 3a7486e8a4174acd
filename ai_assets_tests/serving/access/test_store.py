"""The file of keys: nothing in it opens a server, and servers that share it count together."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_assets.serving.access.keys import AccessError, new_key, split_token
from ai_assets.serving.access.limits import Quota, Rate
from ai_assets.serving.access.store import KeyStore

NOW = 1_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    """A file of keys that is not there yet."""
    return KeyStore(tmp_path / "keys" / "access.sqlite")


def test_a_key_comes_back_as_it_was_kept(store: KeyStore):
    key, _ = new_key("ada", ["predict", "admin"], NOW, Rate(5, 1), Quota(9, 60), NOW + 60)
    plain, _ = new_key("bob", ["explain"], NOW + 1)

    store.add(key)
    store.add(plain)

    assert store.keys() == {key.id: key, plain.id: plain}


def test_the_secret_is_in_no_byte_of_the_files(store: KeyStore):
    key, token = new_key("ada", ["predict"], NOW)
    _, secret = split_token(token) or ("", "")

    store.add(new_key("bob", ["predict"], NOW)[0])
    with store.opened() as database:
        # While somebody reads, what is written stays in the file beside it too.
        database.execute("SELECT * FROM keys").fetchall()
        store.add(key)
        content = b"".join(path.read_bytes() for path in store.path.parent.iterdir())

    assert key.id.encode() in content
    assert secret.encode() not in content
    assert token.encode() not in content


def test_only_the_owner_reads_the_file(store: KeyStore):
    store.add(new_key("ada", ["predict"], NOW)[0])

    assert [p.name for p in store.path.parent.iterdir()] == ["access.sqlite"]
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


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
    assert (store.used("k", 60), store.used("k", 120)) == (0, 4)


def test_servers_that_borrow_at_the_same_time_get_the_quota_together(store: KeyStore):
    store.add(new_key("ada", ["predict"], NOW)[0])

    with ThreadPoolExecutor(4) as servers:
        lent = list(servers.map(lambda _: KeyStore(store.path).lend("k", 0, 3, 40), range(20)))

    assert sum(lent) == 40


def test_commands_that_make_the_file_at_the_same_time_lose_no_key(store: KeyStore):
    keys = [new_key(f"k{i}", ["predict"], NOW)[0] for i in range(8)]

    with ThreadPoolExecutor(4) as commands:
        list(commands.map(KeyStore(store.path).add, keys))

    assert set(store.keys()) == {key.id for key in keys}
