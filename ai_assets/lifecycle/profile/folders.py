"""A folder of pictures or texts: its files, and the labels that subfolders or a table give them."""

import math
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.profile.sample import Sample
from ai_assets.lifecycle.profile.text import layout_of
from ai_assets.lifecycle.schema.files import SUFFIXES
from ai_assets.lifecycle.schema.sources import PATH
from ai_assets.lifecycle.sources.folder import paths_of

UNTOLD = "of the collection, not of who asks"
_TABLES = (".csv", ".parquet", ".pq")
_LABEL = "label"
_MOSTLY = 0.5
_SPARE = 0.01
_NAMES = {"image": "pictures", "text": "texts"}


def of_folder(folder: Path, kind: str, target: str | None, table: str | None) -> Sample:
    """The files of a folder with their labels, a row each.

    Args:
        folder: absolute.
        kind: image or text.
        target: what to call the labels; of a table the column that holds them.
        table: name of a CSV or Parquet file in the folder that lists the files; looked for where
            no subfolders are, if None.

    Raises:
        DataError: there are no files of the kind, or nothing says what is on them.
    """
    paths = sorted(paths_of(folder))
    items = [path for path in paths if path.lower().endswith(SUFFIXES[kind])]
    if not items:
        there = f"none of its {len(paths):,} files is one" if paths else "it is empty"
        raise DataError(
            f"--data must be a folder of {_NAMES[kind]} ({', '.join(SUFFIXES[kind])}), but in "
            f"'{folder}' {there}."
        )
    if table is None and not all("/" in path for path in items):
        table = _found(folder, paths, items, target)
    if table is not None:
        return _listed(folder, table, set(items))
    return _labelled(folder, kind, paths, items, target or _LABEL)


def _found(folder: Path, paths: list[str], items: list[str], target: str | None) -> str | None:
    """The one table in the folder itself; None where subfolders hold most of the files."""
    tables = [path for path in paths if "/" not in path and path.lower().endswith(_TABLES)]
    if len(tables) == 1:
        return tables[0]
    if sum("/" in path for path in items) > _MOSTLY * len(items) and not tables:
        return None
    what = f"there are {', '.join(tables)}: name one with --table" if tables else "there is neither"
    raise DataError(
        f"The files in '{folder}' must lie in subfolders named as what is on them, as cat/1.png, "
        f"or a CSV or Parquet table beside them must have a row for each, but {what}."
    )


def _labelled(folder: Path, kind: str, paths: list[str], items: list[str], target: str) -> Sample:
    """Labelled by the subfolder that each file lies in."""
    labels = [path.partition("/")[0] if "/" in path else None for path in items]
    names = sorted({label for label in labels if label is not None})
    if len(names) < 2:
        raise DataError(
            f"'{folder}' must have two or more subfolders, each named as what is on its files, but "
            f"has {', '.join(names)} alone."
        )
    frame = pl.DataFrame({PATH: items, target: pl.Series(labels, dtype=pl.String)})
    source = {"folder": str(folder), "label": target}
    others = len(paths) - len(items)
    notes = (
        (f"{others:,} of {len(paths):,} files are no {_NAMES[kind]}: rejected",) if others else ()
    )
    limit = math.ceil(100 * others / len(paths)) / 100 + _SPARE if others else None
    return Sample(
        frame, len(items), frame.lazy(), source, folder.name, notes, path=PATH, rejected=limit
    )


def _listed(folder: Path, table: str, items: set[str]) -> Sample:
    """Labelled by a table in the folder that has a row for each file."""
    file = folder / table
    if not file.is_file():
        near = [path.name for path in folder.iterdir() if path.is_file()]
        raise DataError(
            f"--table must be a CSV or Parquet file in '{folder}', but got '{table}'."
            f"{did_you_mean(table, near)}"
        )
    source: dict[str, Any] = {"folder": str(folder), "index": table}
    if table.lower().endswith(".csv"):
        layout = layout_of(file)
        if layout.encoding != "utf-8":
            raise DataError(f"'{file}' must be UTF-8, but it is {layout.encoding}.")
        frame = pl.read_csv(
            file, infer_schema=False, separator=layout.delimiter, null_values=["", "NA"]
        )
        source |= {"delimiter": layout.delimiter} if layout.delimiter != "," else {}
    else:
        frame = pl.read_parquet(file)
    path = _path_column(frame, items)
    if path is None:
        raise DataError(
            f"'{file}' must have a column with the path of each file, relative to '{folder}', as "
            f"{min(items)}, but none of {', '.join(frame.columns)} holds such."
        )
    if path != PATH:
        source["path"] = path
    missing = frame.filter(~pl.col(path).is_in(list(items))).height
    notes = (f"{missing:,} rows name a file that is not there",) if missing else ()
    limit = math.ceil(100 * missing / frame.height) / 100 + _SPARE if missing else None
    return Sample(
        frame, frame.height, frame.lazy(), source, folder.name, notes, path=path, rejected=limit
    )


def _path_column(frame: pl.DataFrame, items: set[str]) -> str | None:
    for name in frame.columns:
        if frame.schema[name] == pl.String:
            there = frame[name].is_in(list(items)).mean()
            if isinstance(there, float) and there > _MOSTLY:
                return name
    return None
