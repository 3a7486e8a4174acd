"""A landing folder: whole files arrive in it, each a snapshot or a part of the table.

The contract with whoever puts files there: a file is complete once neither its content nor its name
has changed for a while (`settled`), or write it under a name that is not looked at (it begins with
a dot or ends in .part or .tmp) and rename it. Nothing in the folder is ever moved, changed or
removed: a file that cannot be read stays where it is, and its run fails by its name.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.schema.sources import Landing
from ai_assets.lifecycle.sources.casts import text_of
from ai_assets.lifecycle.sources.files import scan_csv, scan_ndjson, scan_parquet
from ai_assets.lifecycle.sources.python import rows_of_function
from ai_assets.lifecycle.sources.request import Request

FORMATS = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_UNFINISHED = (".part", ".tmp")
_NANOSECONDS = 10**9


@dataclass(frozen=True)
class Landed:
    """A file that has landed: where it is, its bytes, and when it last changed, in ns since 1970.

    A change is one of its content or of its name: copying with the old times does not hide it.
    """

    path: Path
    size: int
    modified: int
    changed: int

    @classmethod
    def at(cls, path: Path) -> "Landed":
        """The file as it is at this moment."""
        state = path.stat()
        changed = max(state.st_mtime_ns, state.st_ctime_ns)
        return cls(path, state.st_size, state.st_mtime_ns, changed)


@dataclass(frozen=True)
class Look:
    """What a look into the folder found.

    Attributes:
        complete: The files that have settled, oldest first: by the time of their content, then by
            name.
        unsettled: Names of those that may still be written.
        ignored: Names of those with an ending that nothing here reads.
    """

    complete: list[Landed]
    unsettled: list[str]
    ignored: list[str]


def look_into(folder: Path, landing: Landing, now: float | None = None) -> Look:
    """The files of the folder itself, not of its subfolders; none of a folder that is not there.

    Args:
        folder: where files land.
        landing: says how long a file must have stayed as it is.
        now: seconds since 1970; default: the clock's.
    """
    moment = time.time() if now is None else now
    before = int((moment - landing.settled.total_seconds()) * _NANOSECONDS)
    complete, unsettled, ignored = [], [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            if path.name.startswith(".") or not path.is_file():
                continue
            found = Landed.at(path)
        except OSError:  # gone since, or renamed
            continue
        if path.name.lower().endswith(_UNFINISHED) or found.changed > before:
            unsettled.append(path.name)
        elif format_of(path) is None:
            ignored.append(path.name)
        else:
            complete.append(found)
    complete.sort(key=lambda file: (file.modified, file.path.name))
    return Look(complete, unsettled, ignored)


def format_of(path: Path) -> str | None:
    """How a file is read, by the ending of its name; None of others."""
    name = path.name.lower()
    return next((kind for ending, kind in FORMATS.items() if name.endswith(ending)), None)


def taken(landing: Landing, look: Look) -> tuple[Landed, ...]:
    """The files that are the table now: the newest, or all of them, oldest first."""
    return tuple(look.complete if landing.rows == "all" else look.complete[-1:])


def identity(files: Sequence[Landed]) -> str:
    """A name for files as they are, the same as long as none is changed, added or removed."""
    parts = [f"{file.path.name}\0{file.size}\0{file.modified}" for file in files]
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def content_digest(file: Landed) -> str:
    """SHA-256 of a file's bytes, as `sha256sum` tells it."""
    with file.path.open("rb") as opened:
        digest = sha256()
        while chunk := opened.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def check_unchanged(files: Sequence[Landed]) -> None:
    """Check that files are as they were when they were taken.

    Raises:
        DataError: one was changed or removed while it was read.
    """
    for file in files:
        try:
            same = Landed.at(file.path) == file
        except OSError:
            same = False
        if not same:
            raise DataError(
                f"File '{file.path}' must stay as it is while it is read, but was changed or "
                "removed. Write to another name and rename it when it is complete."
            )


def read_landing(request: Request) -> pl.LazyFrame:
    """The rows of the files that were taken, or what `first` gives before any has landed.

    Every column as text, so that the next file may be of another format.

    Raises:
        DataError: no file has landed and there is no `first`, or the files differ in format.
    """
    landing = request.source.landing
    assert landing is not None
    files = request.landed
    if not files:
        if landing.first is None:
            raise DataError(
                "source.landing must have a complete file to read, but none has landed yet. Put "
                f"one there that ends in {', '.join(FORMATS)}, or declare `first`."
            )
        return _as_text(rows_of_function(landing.first, request, "landing.first"))
    formats = sorted({str(format_of(file.path)) for file in files})
    if len(formats) > 1:
        raise DataError(must_be("the files of a landing folder", "of one format", formats))
    places = [str(file.path) for file in files]
    if formats == ["csv"]:
        return scan_csv(places, request)
    return _as_text(
        scan_parquet(places) if formats == ["parquet"] else scan_ndjson(places, request)
    )


def _as_text(rows: pl.LazyFrame) -> pl.LazyFrame:
    # NaN in a column of numbers is how some say missing; as text it would be a broken number.
    rows = rows.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))
    return rows.select(text_of(name, kind) for name, kind in rows.collect_schema().items())
