"""A file takes its place whole, and once, whoever else makes it meanwhile."""

import os
from pathlib import Path


def place_once(draft: Path, place: Path) -> None:
    """Give a finished file its place unless a file is there, which stays; the draft goes.

    Args:
        draft: on the same file system as the place.
        place: where it is to be.

    Raises:
        OSError: the folder knows no hard links; the place is as it was.
    """
    try:
        os.link(draft, place)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
