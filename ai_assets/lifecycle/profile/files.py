"""The files of a proposed product against those that are there."""

from difflib import unified_diff
from pathlib import Path

from ai_assets.lifecycle.errors import DataError


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a product's files.

    Raises:
        DataError: the folder may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"'{folder}' must be a folder to write to, but: {error.strerror}."
        ) from None


def change(folder: Path, files: dict[str, str]) -> str:
    """A unified diff from what is there to what is proposed; empty where they are the same."""
    parts: list[str] = []
    for name, text in files.items():
        file = folder / name
        there = file.read_text(encoding="utf-8") if file.is_file() else ""
        parts += unified_diff(
            there.splitlines(keepends=True),
            text.splitlines(keepends=True),
            f"{folder.name}/{name} (as it is)",
            f"{folder.name}/{name} (from the data)",
        )
    return "".join(parts)
