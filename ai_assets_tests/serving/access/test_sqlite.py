"""The file of keys: nothing in it opens a server, and only its owner reads it."""

import stat
from pathlib import Path

import pytest

from ai_assets.serving.access.keys import new_key, split_token
from ai_assets.serving.access.sqlite import KeyFile

NOW = 1_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> KeyFile:
    """A file of keys that is not there yet."""
    return KeyFile(tmp_path / "keys" / "access.sqlite")


def test_the_secret_is_in_no_byte_of_the_files(store: KeyFile):
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


def test_only_the_owner_reads_the_file(store: KeyFile):
    store.add(new_key("ada", ["predict"], NOW)[0])

    assert [p.name for p in store.path.parent.iterdir()] == ["access.sqlite"]
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
