"""A folder of files, an item each: pictures for a column of type image, .txt for one of type text.

What there is, and which label it has, is told by the subfolders or by a table in the folder. Names
are held, and a file is opened when its row is due: a folder may be larger than memory. A file
that cannot be read leaves a row without an item that says why, for cleaning to reject.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import polars as pl
from polars.io.plugins import register_io_source

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.schema import files as said
from ai_assets.lifecycle.schema.files import MOST_BYTES, SUFFIXES, UNREAD
from ai_assets.lifecycle.sources.files import known_encoding, scan_csv, scan_parquet
from ai_assets.lifecycle.sources.request import Request

BATCH_BYTES = 8 * 2**20
_READERS = 8
# What the desktops of three systems leave behind in folders, besides names that begin with a dot.
_LEFT_BEHIND = {"Thumbs.db", "desktop.ini", "__MACOSX"}


class _Item(NamedTuple):
    """The content of one file, or why there is none."""

    value: bytes | str | None
    unread: str | None


def read_folder(request: Request) -> pl.LazyFrame:
    """The items of a folder: their path, the label of their subfolder or the table's columns.

    The rows are in the order of the paths, or of the table. Names that begin with a dot are not
    looked at, and no link is followed that leads out of the folder.

    Raises:
        DataError: the folder or its table is missing, or it holds no file of the kind.
    """
    source, item = request.source, request.table.item_of_files
    assert item is not None  # Table refuses a folder without a column for its items
    folder = _folder(request)
    if source.index is None:
        names = _walked(folder, request, SUFFIXES[request.table.columns[item].type])
    else:
        names = _indexed(folder, request, item)
    return _with_items(names, _Files(folder, request, item))


def _folder(request: Request) -> Path:
    place = request.located(request.source.folder or "", "folder")
    if "://" in place:
        raise DataError(f"source.folder must be a folder of this machine, but got '{place}'.")
    path = Path(place)
    if path.is_dir():
        return path.resolve()
    near = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    what = "is a file" if path.is_file() else "does not exist"
    raise DataError(
        f"source.folder must be a folder, but '{path}' {what}.{did_you_mean(path.name, near)}"
    )


def _walked(folder: Path, request: Request, suffixes: tuple[str, ...]) -> pl.DataFrame:
    paths = sorted(paths_of(folder))
    if not any(path.lower().endswith(suffixes) for path in paths):
        there = f"none of its {len(paths):,} files is one" if paths else "it is empty"
        raise DataError(
            f"source.folder must hold at least one file of {', '.join(suffixes)}, but got "
            f"'{folder}': {there}."
        )
    columns = {request.source.path: pl.Series(paths, dtype=pl.String)}
    if request.source.label is not None:
        parts = (PurePosixPath(path).parts for path in paths)
        labels = [part[0] if len(part) > 1 else None for part in parts]
        columns[request.source.label] = pl.Series(labels, dtype=pl.String)
    return pl.DataFrame(columns)


def paths_of(folder: Path) -> Iterator[str]:
    """The files of a folder and its subfolders that are looked at, relative to it."""
    for place, folders, files in os.walk(folder):
        # A link to a folder is shown as what it is, a file that is not read.
        linked = [name for name in folders if Path(place, name).is_symlink()]
        folders[:] = [name for name in folders if _is_shown(name)]
        for name in [*files, *linked]:
            if _is_shown(name):
                yield Path(place, name).relative_to(folder).as_posix()


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name not in _LEFT_BEHIND


def _indexed(folder: Path, request: Request, item: str) -> pl.DataFrame:
    source = request.source
    place = str(folder / request.filled(source.index or "", "index"))
    if not Path(place).is_file():
        near = [p.name for p in folder.iterdir() if p.is_file()]
        raise DataError(
            f"source.index must be a CSV or Parquet file in '{folder}', but there is no "
            f"'{source.index}'.{did_you_mean(str(source.index), near)}"
        )
    is_parquet = place.lower().endswith((".parquet", ".pq"))
    rows = scan_parquet([place]) if is_parquet else scan_csv([place], request)
    there = rows.collect_schema().names()
    if source.path not in there:
        raise DataError(
            f"source.path must name the column of '{source.index}' that holds the path of each "
            f"file, but got '{source.path}'.{did_you_mean(source.path, there)}"
        )
    for name in (item, UNREAD):
        if name in there:
            raise DataError(
                f"'{source.index}' must leave the column '{name}' to the files that it names, but "
                "has one."
            )
    return rows.with_columns(pl.col(source.path).cast(pl.String)).collect()


class _Files:
    """Reads the files of one folder as the values of one column."""

    def __init__(self, folder: Path, request: Request, item: str) -> None:
        column = request.table.columns[item]
        self.path, self.item = request.source.path, item
        self.dtype = pl.Binary() if column.type == "image" else TYPES[column.type]
        self._folder, self._suffixes = folder, SUFFIXES[column.type]
        self._encoding = None if column.type == "image" else known_encoding(request.source.encoding)

    def read(self, path: str | None) -> _Item:
        """One file, by its path relative to the folder."""
        if not path:
            return _Item(None, said.NO_PATH)
        # Tables are also written where a path's parts are parted by a backslash.
        given = self._folder / PurePosixPath(path.replace("\\", "/"))
        try:
            found = given.resolve()
            if not found.is_relative_to(self._folder):
                return _Item(None, self._why_outside(given))
            if not given.name.lower().endswith(self._suffixes):
                return _Item(None, said.OTHER_KIND)
            if not found.is_file():
                return _Item(None, said.UNREADABLE if found.exists() else said.NO_FILE)
            if found.stat().st_size > MOST_BYTES:
                return _Item(None, said.TOO_LARGE)
            return self._decoded(found.read_bytes())
        except (OSError, ValueError, RuntimeError):  # a null byte, a circle of links
            return _Item(None, said.UNREADABLE)

    def _why_outside(self, given: Path) -> str:
        """Whether the path itself leads out, or a link on its way."""
        written = Path(os.path.normpath(given))
        return said.LINKED if written.is_relative_to(self._folder) else said.OUTSIDE

    def _decoded(self, content: bytes) -> _Item:
        if self._encoding is None:
            return _Item(content, None)
        try:
            return _Item(content.decode(self._encoding).removeprefix("\ufeff"), None)
        except UnicodeDecodeError:
            return _Item(None, said.NOT_TEXT)


def _with_items(names: pl.DataFrame, files: _Files) -> pl.LazyFrame:
    """The rows with what their files hold, a few megabytes at a time."""
    own = {files.item, UNREAD}
    schema = pl.Schema({**names.schema, files.item: files.dtype, UNREAD: pl.String()})

    def read(
        columns: list[str] | None, where: pl.Expr | None, limit: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        # Nothing lazy in here: polars waits for this, and would wait for itself.
        wanted = schema.names() if columns is None else columns
        asked = set(where.meta.root_names()) if where is not None else set()
        rows = names
        if where is not None and not own & asked:
            # Rows of other partitions are told by their columns: their files stay closed.
            rows, where = names.filter(where), None
        for frame in _read(rows, files) if own & {*wanted, *asked} else [rows]:
            kept = frame if where is None else frame.filter(where)
            kept = kept if limit is None else kept.head(limit)
            yield kept.select(wanted)
            if limit is not None and (limit := limit - kept.height) <= 0:
                return

    return register_io_source(read, schema=schema)


def _read(rows: pl.DataFrame, files: _Files) -> Iterator[pl.DataFrame]:
    """The rows with their items, in batches of about `BATCH_BYTES`."""
    start, size, items = 0, 0, list[_Item]()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="files") as pool:
        # A few at a time: a pool that is given all of them would read ahead without bound.
        for paths in rows.select(files.path).iter_slices(_READERS):
            for item in pool.map(files.read, paths.to_series()):
                items.append(item)
                size += len(item.value or b"")
            if size > BATCH_BYTES:
                yield _joined(rows[start : start + len(items)], items, files)
                start, size, items = start + len(items), 0, []
    if items:
        yield _joined(rows[start:], items, files)


def _joined(rows: pl.DataFrame, items: list[_Item], files: _Files) -> pl.DataFrame:
    return rows.with_columns(
        pl.Series(files.item, [item.value for item in items], files.dtype),
        pl.Series(UNREAD, [item.unread for item in items], pl.String()),
    )
