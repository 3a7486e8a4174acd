"""The signing key: made once, private, and the same for all processes."""

import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_assets.lifecycle.errors import BundleError
from ai_assets.resources.signer import Signer


def test_the_key_is_made_at_first_use_and_only_its_owner_may_read_it(state: Path):
    signer = Signer()

    assert not signer.path.exists()
    first = signer.public_key()

    assert signer.path == state / "keys" / "signing.pem"
    assert stat.S_IMODE(signer.path.stat().st_mode) == 0o600
    assert Signer().public_key() == first
    assert len(first) == 64


def test_the_environment_names_another_key(state: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("AI_ASSETS_SIGNING_KEY", str(tmp_path / "own.pem"))

    Signer().public_key()

    assert (tmp_path / "own.pem").exists()


def test_processes_that_start_together_agree_on_one_key(state: Path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: Signer().public_key(), range(8)))

    assert len(keys) == 1
    assert [p.name for p in (state / "keys").iterdir()] == ["signing.pem"]


def test_a_key_that_others_can_read_is_refused(state: Path):
    signer = Signer()
    signer.public_key()
    signer.path.chmod(0o644)

    with pytest.raises(BundleError, match="chmod 600"):
        signer.public_key()


def test_a_file_that_is_no_key_is_refused(tmp_path: Path):
    path = tmp_path / "key.pem"
    path.write_text("no key")
    path.chmod(0o600)

    with pytest.raises(BundleError, match="no private key"):
        Signer(key_path=str(path)).public_key()


def test_the_same_content_gets_the_same_seal(state: Path, tmp_path: Path):
    folder = tmp_path / "payload"
    folder.mkdir()
    (folder / "a.txt").write_text("a")

    first = Signer().sign(folder, {"product": "x"})
    seal = (folder / "signature.json").read_bytes()

    assert Signer().sign(folder, {"product": "x"}) == first
    assert (folder / "signature.json").read_bytes() == seal
    assert Signer().sign(folder, {"product": "y"}) != first


def test_a_command_shows_what_servers_are_to_trust(state: Path):
    command = [sys.executable, "-m", "ai_assets.resources.signer"]
    shown = [
        subprocess.run(
            command, env={**os.environ, "AI_ASSETS_HOME": str(state)}, capture_output=True,
            text=True, timeout=120, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip

    # The first made the key.
    assert shown == [Signer(key_path=str(state / "keys" / "signing.pem")).public_key() + "\n"] * 2
    assert re.fullmatch(r"[0-9a-f]{64}\n", shown[0])
