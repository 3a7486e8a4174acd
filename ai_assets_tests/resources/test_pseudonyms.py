"""The key of pseudonyms: one for an installation, and readable by its owner alone."""

import io
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_assets.lifecycle.cleaning.personal import pseudonym
from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.pseudonym import main
from ai_assets.resources.pseudonyms import VARIABLE, pseudonym_key


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def test_the_key_is_made_once_and_only_its_owner_reads_it(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: pseudonym_key(), range(16)))

    file = home / "keys" / "pseudonyms.key"
    assert keys == {file.read_bytes()} and len(file.read_bytes()) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_environment_goes_before_the_file_and_a_short_key_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "sixteen letters!")
    assert pseudonym_key() == b"sixteen letters!"
    assert not (home / "keys").exists()

    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(DeclarationError, match=f"{VARIABLE} must have at least 16 characters"):
        pseudonym_key()


def test_a_file_that_lost_its_key_is_refused(home: Path) -> None:
    file = home / "keys" / "pseudonyms.key"
    file.parent.mkdir()
    file.write_bytes(b"")

    with pytest.raises(DeclarationError, match=f"{file} must have at least 16 .*, but has 0"):
        pseudonym_key()


def test_the_key_is_on_the_disk_before_it_has_its_place_and_its_name_before_it_is_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def waited(opened: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(opened).st_mode) else "content")
        fsync(opened)

    def linked(draft: Path, place: Path) -> None:
        steps.append(f"link of {draft.stat().st_size} bytes")
        link(draft, place)

    monkeypatch.setattr(os, "fsync", waited)
    monkeypatch.setattr(os, "link", linked)
    pseudonym_key()

    assert steps == ["content", "link of 64 bytes", "folder"]


def test_the_command_tells_pseudonyms_of_arguments_and_of_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [pseudonym(value, pseudonym_key()) for value in ("4711", "0815")]

    assert main(["4711", "0815"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("4711\n0815\n"))
    assert main([]) == 0

    assert capsys.readouterr().out.splitlines() == expected * 2
