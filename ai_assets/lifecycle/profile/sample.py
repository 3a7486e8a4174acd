"""Rows of a file to look at: all of them, or some from everywhere in it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.profile.formats import (
    check_is_rows,
    check_parquet,
    damaged,
    is_compressed,
    opened,
)
from ai_assets.lifecycle.profile.notation import Found, notation_of
from ai_assets.lifecycle.profile.text import (
    DELIMITER_NAMES,
    Layout,
    check_header,
    first_problem,
    layout_of,
)
from ai_assets.lifecycle.schema.notation import Notation
from ai_assets.lifecycle.sources.files import without_blank_lines

MOST_ROWS = 200_000
"""Rows that are looked at; of a longer file blocks from everywhere in it."""
LAYOUT = ("delimiter", "encoding", "decimal", "thousands", "dates")
"""What `source:` declares of how CSV is written."""
_BLOCKS = 40
_RESERVED = ("_row_id", "_partition", "known_at", "prediction_time")


@dataclass(frozen=True)
class Sample:
    """Rows of a file, and how the whole is read.

    Attributes:
        frame: the rows; of CSV every column as text, missing where nothing stands.
        rows: how many the file has.
        whole: all of it, lazily.
        source: what `source:` declares, with the absolute path.
        name: of the file, folder or table; without a suffix a name for the table.
        notes: how it is read, where that is not as usual; in words.
        held: what must live as long as the rows, as the folder of a file that was downloaded.
        path: of a folder of files: the column with the path of each.
        rejected: share of rows that may be rejected, where more are known to be than is usual.
    """

    frame: pl.DataFrame
    rows: int
    whole: pl.LazyFrame
    source: dict[str, Any]
    name: str
    notes: tuple[str, ...] = ()
    held: Any = None
    path: str | None = None
    rejected: float | None = None

    @property
    def is_part(self) -> bool:
        """Whether only some rows were looked at."""
        return self.frame.height < self.rows

    @property
    def has_words(self) -> bool:
        """Whether the source can be told which words mean missing, as that of CSV."""
        kinds = {"csv", "index"} & set(self.source)
        return bool(kinds) or self.source.get("http", {}).get("format") == "csv"


def of_csv(path: Path, most: int) -> Sample:
    """Rows of a CSV file, compressed or not.

    Raises:
        DataError: it is empty, no CSV, or broken.
    """
    layout = layout_of(path)
    given: Any = path
    if layout.encoding != "utf-8":
        with opened(path) as stream:
            given = stream.read().decode(layout.encoding).removeprefix("\ufeff").encode()
    rows = pl.scan_csv(
        given, infer_schema=False, separator=layout.delimiter, null_values=["", "NA"], glob=False
    )
    source = {"csv": str(path), **layout_source(layout)}
    try:
        lines = int(rows.select(pl.len()).collect(engine="streaming").item())
        found = sampled(without_blank_lines(rows), source, str(path), path.name, most)
    except pl.exceptions.PolarsError as error:
        raise first_problem(path, layout) or _broken(path, error) from None
    except OSError as error:
        raise damaged(path, error) if is_compressed(path) else error from None
    return replace(found, notes=(*notes_of(layout, lines - found.rows), *found.notes))


def layout_source(layout: Layout) -> dict[str, str]:
    """What `source:` declares of a layout."""
    told = {}
    if layout.delimiter != ",":
        told["delimiter"] = layout.delimiter
    if layout.encoding != "utf-8":
        told["encoding"] = layout.encoding
    return told


def notes_of(layout: Layout, blank: int = 0) -> tuple[str, ...]:
    """How a CSV file is read, where that is not as usual."""
    notes = []
    if layout.encoding != "utf-8":
        notes.append(f"its text is {layout.encoding}, not UTF-8")
    if layout.delimiter != ",":
        notes.append(f"its fields are split by {DELIMITER_NAMES[layout.delimiter]}")
    if blank > 0:
        notes.append(f"{blank:,} blank lines are left out")
    return tuple(notes)


def of_parquet(path: Path, most: int) -> Sample:
    """Rows of a Parquet file, or of a folder of them.

    Raises:
        DataError: there is none, it is broken, or the files have different columns.
    """
    place = str(path)
    if path.is_dir():
        pattern = next((p for p in ("*.parquet", "**/*.parquet") if any(path.glob(p))), None)
        if pattern is None:
            raise DataError(
                f"Folder '{path}' must hold .parquet files, but it has none{_instead(path)}."
            )
        for file in sorted(path.glob(pattern)):
            check_parquet(file)
        place = f"{place}/{pattern}"
    else:
        check_parquet(path)
    try:
        rows = pl.scan_parquet(place, hive_partitioning=False)
        rows.collect_schema()
        return sampled(rows, {"parquet": place}, str(path), path.name, most)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"'{path}' must be complete Parquet with the same columns in each file, but: {reason}"
        ) from None


def of_ndjson(path: Path, rows: pl.LazyFrame, most: int) -> Sample:
    """Rows of a file of one JSON object a line.

    Args:
        path: of the file.
        rows: all of it, every column as text.
        most: rows to look at.
    """
    return sampled(rows, {"ndjson": str(path)}, str(path), path.name, most)


def check_ndjson(path: Path) -> None:
    """Check that each line of a file is a JSON object, up to the first that is not.

    Raises:
        DataError: one is not; says which.
    """
    import json

    check_is_rows(path)
    objects = 0
    with opened(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            if number == 1 and line.lstrip().startswith(b"["):
                raise DataError(
                    f"File '{path}' must be one JSON object a line, but it is a JSON array. Write "
                    "each of its objects in a line of its own."
                )
            try:
                told = json.loads(line)
            except ValueError as error:
                what = getattr(error, "msg", "it is not UTF-8")
                raise DataError(
                    f"Each line of '{path}' must be a JSON object, but line {number} is not: {what}"
                    ". Does an object go over several lines?"
                ) from None
            if not isinstance(told, dict):
                raise DataError(
                    f"Each line of '{path}' must be a JSON object, but line {number} is "
                    f"{line.decode(errors='replace').strip()[:40]!r}."
                )
            objects += 1
    if not objects:
        raise DataError(f"File '{path}' must have a JSON object in each line, but it is empty.")


def sampled(rows: pl.LazyFrame, source: dict[str, Any], place: str, name: str, most: int) -> Sample:
    """Rows to look at of all rows.

    Args:
        rows: all, lazily.
        source: what `source:` declares.
        place: where they are, for people.
        name: of the file, folder or table.
        most: how many to look at.

    Raises:
        DataError: there is none, or the columns cannot be told apart.
    """
    names = rows.collect_schema().names()
    check_header(tuple(names), place)
    if taken := [column for column in names if column.casefold() in _RESERVED]:
        raise DataError(
            f"A column of '{place}' must not be named {taken[0]}, which the stages use; rename it."
        )
    total = int(rows.select(pl.len()).collect(engine="streaming").item())
    if total == 0:
        raise DataError(f"'{place}' must have rows, but it has none.")
    if total <= most:
        frame = rows.collect()
    elif "parquet" not in source:
        step = -(-total // most)
        # Spread by the golden ratio, not every n-th row: tables come in patterns.
        spread = pl.col("_row_id").cast(pl.UInt64) * 2_654_435_769 % 2**32
        picked = rows.with_row_index("_row_id").filter(spread < 2**32 // step)
        frame = picked.drop("_row_id").collect(engine="streaming")
    else:
        size, gap = most // _BLOCKS, (total - most // _BLOCKS) / (_BLOCKS - 1)
        blocks = [rows.slice(round(i * gap), size).collect() for i in range(_BLOCKS)]
        frame = pl.concat(blocks)
    found = Found(Notation())
    if "csv" in source:
        found = notation_of(frame, source.get("delimiter", ","))
    looked_at, told = found.usual(frame.lazy()).collect(), {**source, **found.source()}
    return Sample(looked_at, total, found.usual(rows), told, name, found.notes())


def _broken(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0]
    return DataError(f"File '{path}' must be CSV that can be read to its end, but: {reason}")


def _instead(folder: Path) -> str:
    """What a folder without Parquet holds."""
    there = sorted(p.name for p in folder.iterdir())
    if not there:
        return ": it is empty"
    shown = ", ".join(there[:3]) + (", …" if len(there) > 3 else "")
    return f"; it holds {shown}. Of other files give one"
