"""Rows of a file to look at: all of them, or some from everywhere in it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean, must_be
from ai_assets.lifecycle.profile.text import Layout, check_names, layout_of, ragged, ragged_line

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
MOST_ROWS = 200_000
"""Rows that are looked at; of a longer file blocks from everywhere in it."""
_BLOCKS = 40
_RESERVED = ("_row_id", "_partition", "prediction_time")
_TEMPLATE = "{}$"


@dataclass(frozen=True)
class Sample:
    """Rows of a file, and how the whole is read.

    Attributes:
        frame: the rows; of CSV every column as text, missing where nothing stands.
        rows: how many the file has.
        whole: all of it, lazily.
        source: what `source:` declares, with the absolute path.
        name: of the file or folder.
    """

    frame: pl.DataFrame
    rows: int
    whole: pl.LazyFrame
    source: dict[str, Any]
    name: str

    @property
    def is_part(self) -> bool:
        """Whether only some rows were looked at."""
        return self.frame.height < self.rows


def read_sample(path: Path, most: int = MOST_ROWS) -> Sample:
    """Look at a CSV file, a Parquet file or a folder of Parquet files.

    Raises:
        DataError: it is not there, may not be read, is of another format, or is broken.
    """
    _check_place(path)
    path = path.resolve()
    if path.is_dir() or path.suffix.lower() in (".parquet", ".pq"):
        return _of_parquet(path, most)
    return _of_csv(path, most)


def _check_place(path: Path) -> None:
    try:
        there = path.exists()
    except PermissionError:
        there = True
    if not there:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"--data must be a file or folder that exists, but got '{path}'."
                        f"{did_you_mean(path.name, beside)}")  # fmt: skip
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise DataError(f"'{path}' must be readable, but you have no permission to read it.")
    if found := sorted(set(_TEMPLATE) & set(str(path.absolute()))):
        raise DataError(
            f"The path of the data must be without {' and '.join(found)}, which stand for "
            f"variables in a declaration, but got '{path}'."
        )
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise DataError(must_be("The suffix of --data", SUFFIXES, path.suffix or path.name))


def _of_csv(path: Path, most: int) -> Sample:
    if path.stat().st_size == 0:
        raise DataError(f"File '{path}' must have a header line and rows, but it is empty.")
    layout = layout_of(path)
    given: Any = path
    if layout.encoding != "utf-8":
        given = path.read_text(encoding=layout.encoding).encode()
    rows = pl.scan_csv(
        given, infer_schema=False, separator=layout.delimiter, null_values=["", "NA"], glob=False
    )
    source: dict[str, Any] = {"csv": str(path)}
    if layout.delimiter != ",":
        source["delimiter"] = layout.delimiter
    if layout.encoding != "utf-8":
        source["encoding"] = layout.encoding
    try:
        return _sampled(rows, source, path, most)
    except pl.exceptions.PolarsError as error:
        raise _broken(path, layout, error) from None


def _broken(path: Path, layout: Layout, error: Exception) -> DataError:
    if found := ragged_line(path, layout):
        return ragged(path, *found, layout)
    reason = str(error).strip().splitlines()[0]
    return DataError(f"File '{path}' must be CSV that can be read to its end, but: {reason}")


def _of_parquet(path: Path, most: int) -> Sample:
    place = str(path)
    if path.is_dir():
        pattern = next((p for p in ("*.parquet", "**/*.parquet") if any(path.glob(p))), None)
        if pattern is None:
            raise DataError(f"Folder '{path}' must hold .parquet files, but it has none.")
        place = f"{place}/{pattern}"
    try:
        rows = pl.scan_parquet(place, hive_partitioning=False)
        check_names(tuple(rows.collect_schema().names()), path)
        return _sampled(rows, {"parquet": place}, path, most)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"'{path}' must be complete Parquet with the same columns in each file, but: {reason}"
        ) from None


def _sampled(rows: pl.LazyFrame, source: dict[str, Any], path: Path, most: int) -> Sample:
    total = int(rows.select(pl.len()).collect(engine="streaming").item())
    if total == 0:
        raise DataError(f"'{path}' must have rows, but it has none.")
    names = rows.collect_schema().names()
    if taken := [name for name in names if name.casefold() in _RESERVED]:
        raise DataError(
            f"A column of '{path}' must not be named {taken[0]}, which the stages use; rename it."
        )
    if total <= most:
        frame = rows.collect()
    elif "csv" in source:
        step = -(-total // most)
        # Spread by the golden ratio, not every n-th row: tables come in patterns.
        spread = pl.col("_row_id").cast(pl.UInt64) * 2_654_435_769 % 2**32
        picked = rows.with_row_index("_row_id").filter(spread < 2**32 // step)
        frame = picked.drop("_row_id").collect(engine="streaming")
    else:
        size, gap = most // _BLOCKS, (total - most // _BLOCKS) / (_BLOCKS - 1)
        blocks = [rows.slice(round(i * gap), size).collect() for i in range(_BLOCKS)]
        frame = pl.concat(blocks)
    return Sample(frame, total, rows, source, path.name)
