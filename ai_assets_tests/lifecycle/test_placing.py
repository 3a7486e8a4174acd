"""A file takes its place once, and leaves nothing beside it."""

import errno
import os
from pathlib import Path

import pytest

from ai_assets.lifecycle.placing import place_once


def draft(folder: Path, content: str) -> Path:
    file = folder / f".draft of {content}"
    file.write_text(content, encoding="utf-8")
    return file


def test_of_two_that_make_a_file_the_first_gives_it_its_content_and_no_draft_stays(
    tmp_path: Path,
) -> None:
    place = tmp_path / "key"
    first, second = draft(tmp_path, "first"), draft(tmp_path, "second")

    place_once(first, place)
    assert place.read_text(encoding="utf-8") == "first"
    assert sorted(tmp_path.iterdir()) == [second, place]

    place_once(second, place)
    assert place.read_text(encoding="utf-8") == "first"
    assert list(tmp_path.iterdir()) == [place]


def test_a_place_that_cannot_be_had_is_an_error_and_no_draft_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        place_once(draft(tmp_path, "first"), tmp_path / "no such folder" / "key")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_knows_no_links_is_told_as_it_says_it_and_the_place_stays_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = OSError(errno.EPERM, os.strerror(errno.EPERM))

    def link(*_: object) -> None:
        raise refused

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(PermissionError) as raised:
        place_once(draft(tmp_path, "first"), tmp_path / "key")

    assert raised.value is refused
    assert list(tmp_path.iterdir()) == []
