"""The files of a proposed product against those that are there, with what a person made of them."""

import json
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.profile.merging import merged

WRITTEN = ".scaffolded.json"
"""Beside a product's files: what had been written from the data, before anybody changed it."""


@dataclass(frozen=True)
class Change:
    """What the data would change in a product that is there.

    Attributes:
        files: the files as they would be, by name.
        diff: from what is there to that; empty where nothing would change.
        kept: lines that a person had changed and the data would have otherwise, with the data's.
    """

    files: dict[str, str]
    diff: str
    kept: tuple[tuple[str, str], ...]


def write(folder: Path, files: dict[str, str], proposed: dict[str, str] | None = None) -> None:
    """Write a product's files.

    Args:
        folder: of the product.
        files: by name.
        proposed: what the data says, where a person's changes are among the files.

    Raises:
        DataError: the folder may not be written.
    """
    told = json.dumps(proposed or files, indent=1, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {**files, WRITTEN: told}.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"'{folder}' must be a folder to write to, but: {error.strerror}."
        ) from None


def change(folder: Path, proposed: dict[str, str]) -> Change:
    """What the data changed since the product was written, and nothing that a person did since.

    Of a product of which nobody knows what had been written, all that differs.

    Args:
        folder: of the product.
        proposed: what the data says, by name of the file.
    """
    before = _written(folder)
    files, parts, kept = {}, list[str](), list[tuple[str, str]]()
    for name, text in proposed.items():
        file = folder / name
        there = file.read_text(encoding="utf-8") if file.is_file() else ""
        files[name] = text
        if there and name in before:
            found = merged(before[name], there, text, named=name.endswith(".yaml"))
            files[name] = found.text
            kept += found.kept
        parts += unified_diff(
            there.splitlines(keepends=True),
            files[name].splitlines(keepends=True),
            f"{folder.name}/{name} (as it is)",
            f"{folder.name}/{name} (from the data)",
        )
    return Change(files, "".join(parts), tuple(kept))


def _written(folder: Path) -> dict[str, str]:
    try:
        told = json.loads((folder / WRITTEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
