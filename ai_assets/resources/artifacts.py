"""Folders of files that a partition produced: stored once a content, found by a pointer.

A folder is copied beside its place and renamed into it; then the pointer, a small file, is
replaced. A process killed between leaves a folder that nothing points to, never half of one.
"""

import hashlib
import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from ai_assets.lifecycle.errors import DataError, MissingPartitionsError, did_you_mean


@dataclass(frozen=True)
class ArtifactVersion:
    """A saved artifact: its folder, and the digest of names and bytes of its files."""

    path: Path
    digest: str


def folder_digest(folder: Path) -> str:
    """SHA-256 over the files' relative names and contents, in hexadecimal."""
    total = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(2**20):
                content.update(chunk)
        line = json.dumps([file.relative_to(folder).as_posix(), content.hexdigest()])
        total.update(line.encode() + b"\n")
    return total.hexdigest()


def save(base: Path, key: str, folder: Path) -> ArtifactVersion:
    """Store a copy of the folder under `base`, and point the key to it.

    Raises:
        DataError: the folder does not exist.
    """
    if not folder.is_dir():
        raise DataError(f"An artifact must be a folder, but got '{folder}'.")
    contents, pointers = base / "contents", base / "pointers"
    contents.mkdir(parents=True, exist_ok=True)
    pointers.mkdir(parents=True, exist_ok=True)
    copy = contents / f".{uuid.uuid4().hex}"
    shutil.copytree(folder, copy)
    # Of the copy, not the original: what is named by a digest must have it.
    digest = folder_digest(copy)
    place = contents / digest
    try:
        copy.rename(place)
    except OSError:
        shutil.rmtree(copy)
        if not place.is_dir():
            raise
    pointer = pointers / quote(key, safe="")
    draft = pointers / f".{uuid.uuid4().hex}"
    draft.write_text(digest, encoding="utf-8")
    draft.replace(pointer)
    return ArtifactVersion(place, digest)


def find(base: Path, key: str, name: str) -> Path:
    """The folder that a key points to.

    Raises:
        MissingPartitionsError: nothing was saved under the key.
    """
    pointer = base / "pointers" / quote(key, safe="")
    if not pointer.is_file():
        which = "" if key == "_all" else f" for partition {key}"
        raise MissingPartitionsError(
            f"{name} has no artifact{which} yet.{did_you_mean(key, keys(base))} "
            "Materialize it first."
        )
    return base / "contents" / pointer.read_text(encoding="utf-8")


def keys(base: Path) -> list[str]:
    """The keys that point to an artifact."""
    pointers = base / "pointers"
    if not pointers.is_dir():
        return []
    return [unquote(p.name) for p in pointers.iterdir() if not p.name.startswith(".")]


def unfinished(base: Path, key: str) -> Path:
    """The file beside a key's artifact that work on the next one may keep its state in."""
    return base / "unfinished" / quote(key, safe="")
