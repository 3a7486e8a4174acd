"""A file takes its place whole, and once, whoever else makes it meanwhile."""

import os
from pathlib import Path


def place_once(draft: Path, place: Path) -> None:
    """Give a finished file its place unless a file is there, which stays; the draft goes.

    Its content is on the disk before it has the place. That it has it is so once its folder is, too
    (`to_disk`).

    Args:
        draft: on the same file system as the place.
        place: where it is to be.

    Raises:
        OSError: the folder knows no hard links; the place is as it was.
    """
    try:
        to_disk(draft)
        os.link(draft, place)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def to_disk(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, would outlast a power failure."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
