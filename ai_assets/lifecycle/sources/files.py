"""CSV, Parquet and NDJSON files: local paths, globs, and URLs of object stores."""

import codecs
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from glob import glob, has_magic
from itertools import zip_longest
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.errors import ColumnsError, DataError, did_you_mean, must_be
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.usual_form import as_usual
from ai_assets.lifecycle.sources.csv_text import (
    UNKNOWN_CHARACTER,
    check_decodes,
    check_not_utf16,
    decoding,
    without_repeats,
)
from ai_assets.lifecycle.sources.damage import bad_csv_line, broken_line, check_last_line
from ai_assets.lifecycle.sources.packed import END, decompressed, end_of, lines_of
from ai_assets.lifecycle.sources.request import Request, explained, without_secrets

OF_LINES = "text, with the same number of fields in each line"
OF_OBJECTS = "complete, with one JSON object a line"
Finder = Callable[[Iterable[bytes]], str | None]
_CHECKED: set[tuple[str, int, int]] = set()


def read_csv(request: Request) -> pl.LazyFrame:
    """CSV files, gzip included; every column as text."""
    return scan_csv(_places(request, "csv"), request)


def read_parquet(request: Request) -> pl.LazyFrame:
    """Parquet files, with the types that they have."""
    return scan_parquet(_places(request, "parquet"))


def read_ndjson(request: Request) -> pl.LazyFrame:
    """Files of one JSON object a line; every column as text, nested values as JSON."""
    return scan_ndjson(_places(request, "ndjson"), request)


def scan_csv(places: list[str], request: Request) -> pl.LazyFrame:
    """Every column as text: a value of the wrong type is for cleaning to judge, row by row."""
    source = request.source
    encoding = known_encoding(source.encoding)
    declared = {**request.table.columns, **request.table.plain}
    read = {*declared, source.path} if source.kind == "folder" else set(declared)
    frames = []
    for place in places:
        allowed = f"complete, and {encoding} text with a header line"
        with explained("CSV file", place, allowed), decoding(place, encoding):
            frames.append(without_blank_lines(_scan_csv(place, source, encoding, read)))
    types = {name: column.type for name, column in declared.items()}
    return as_usual(_together(frames, places), source.form.notation, types)


def _scan_csv(place: str, source: Source, encoding: str, read: Container[str]) -> pl.LazyFrame:
    end = b"" if _is_checked(place) else end_of(place)
    if encoding == "utf-8":
        check_not_utf16(place)
    content: str | bytes = place
    if not _as_it_is(place, encoding):
        content = _recoded(place, encoding)
        end = content[-END:]
    scan = partial(pl.scan_csv, content, infer_schema=False, separator=source.delimiter, glob=False)
    header = partial(scan, has_header=False, n_rows=1, truncate_ragged_lines=True)
    whole = scan(null_values=source.null_values)
    rows = without_repeats(whole, header, place, read)
    names = whole.collect_schema().names()
    if any(UNKNOWN_CHARACTER in name for name in names):
        check_decodes(place, encoding)
    check_last_line(end, place, source.delimiter, names)
    find = partial(bad_csv_line, delimiter=source.delimiter)
    return _checked(rows, "CSV file", place, f"complete {encoding} {OF_LINES}", find, content)


def without_blank_lines(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows of CSV that have a value: polars reads a blank line as a row of nulls.

    Columns are asked in pairs, and pairs of pairs: over 2,000 of them, polars takes twenty seconds
    to plan what `any_horizontal` makes, one "or" within the other.
    """
    has_value = [pl.nth(i).is_not_null() for i in range(len(rows.collect_schema()))]
    while len(has_value) > 1:
        pairs = zip_longest(has_value[::2], has_value[1::2])
        has_value = [left if right is None else left | right for left, right in pairs]
    return rows.filter(*has_value)


def scan_parquet(places: list[str]) -> pl.LazyFrame:
    """The files one after the other; they must have the same columns."""
    frames = []
    for place in places:
        with explained("Parquet file", place, "a complete Parquet file"):
            rows = pl.scan_parquet(place, glob=False)
            rows.collect_schema()
            frames.append(rows)
    return _together(frames, places)


def scan_ndjson(places: list[str], request: Request) -> pl.LazyFrame:
    """Every column as text, so that partitions cannot differ in the types that were guessed.

    A file without a line has no rows: it has no header that would tell its columns.
    """
    filled = [place for place in places if "://" in place or not _is_blank(place)]
    frames = []
    for place in filled:
        with _line_named("NDJSON file", place, OF_OBJECTS, broken_line, place):
            names = pl.scan_ndjson(place, infer_schema_length=None).collect_schema().names()
        rows = pl.scan_ndjson(place, schema={name: pl.String() for name in names})
        frames.append(_checked(rows, "NDJSON file", place, OF_OBJECTS, broken_line, place))
    if not frames:
        names = [*request.table.columns, *request.table.plain]
        return pl.LazyFrame(schema=dict.fromkeys(names, pl.String()))
    return _together(frames, filled)


def _is_blank(place: str) -> bool:
    """Whether a local file holds no line; a packed one is read to its end, whatever it holds."""
    with explained("NDJSON file", place, OF_OBJECTS):
        if _is_checked(place) or end_of(place).strip():
            return False
        return not any(chunk.strip() for chunk in decompressed(Path(place)))


def _checked(
    rows: pl.LazyFrame, what: str, place: str, allowed: str, find: Finder, given: str | bytes
) -> pl.LazyFrame:
    """Read a local file through once, so that a broken line is reported with the file's name.

    Once a process and state of the file: each further partition finds it checked.
    """
    if "://" not in place and (seen := _state(place)) not in _CHECKED:
        with _line_named(what, place, allowed, find, given):
            rows.select(pl.all().count()).collect(engine="streaming")
        _CHECKED.add(seen)
    return rows


def _is_checked(place: str) -> bool:
    """Whether a local file was read to its end as it is now."""
    return "://" not in place and _state(place) in _CHECKED


def _state(place: str) -> tuple[str, int, int]:
    state = Path(place).stat()
    return place, state.st_mtime_ns, state.st_size


@contextmanager
def _line_named(
    what: str, place: str, allowed: str, find: Finder, given: str | bytes
) -> Iterator[None]:
    """Say which line of a local file cannot be read: polars does not."""
    with explained(what, place, allowed):
        try:
            yield
        except Exception:
            wrong = None if "://" in place else find(lines_of(place, given))
            if wrong is None:
                raise
            raise DataError(f"{what} '{place}' must be {allowed}, but {wrong}.") from None


def _together(frames: list[pl.LazyFrame], places: list[str]) -> pl.LazyFrame:
    first = frames[0].collect_schema()
    for frame, place in zip(frames, places, strict=True):
        if set(frame.collect_schema()) != set(first):
            raise _different(place, set(frame.collect_schema()), places[0], set(first))
    return frames[0] if len(frames) == 1 else pl.concat([f.select(list(first)) for f in frames])


def _different(place: str, columns: set[str], other: str, others: set[str]) -> ColumnsError:
    one, two = without_secrets(place), without_secrets(other)
    lacking = [(one, two, c) for c in others - columns] + [(two, one, c) for c in columns - others]
    return ColumnsError(
        f"Files of one source must have the same columns, but '{one}' and '{two}' differ in "
        f"{', '.join(sorted(columns ^ others))}.",
        [
            f"the file '{Path(file).name}' lacks '{c}', which '{Path(beside).name}' has"
            for file, beside, c in sorted(lacking)
        ],
    )


def _places(request: Request, kind: str) -> list[str]:
    place = request.located(getattr(request.source, kind), kind)
    if "://" in place:
        if place.startswith(("http://", "https://")):
            raise DataError(
                f"source.{kind} must be a path or the URL of an object store, but got "
                f"'{without_secrets(place)}'. Use source.http for {place.split(':')[0]} addresses."
            )
        return [place]
    if has_magic(place) and not Path(place).exists():
        # Path.glob wants the part without magic apart; patterns here are whole.
        found = sorted(glob(place, recursive=True))  # noqa: PTH207
        if not found:
            raise DataError(f"source.{kind} must match at least one file, but got '{place}'.")
        return found
    path = Path(place)
    if path.is_dir():
        raise DataError(
            f"source.{kind} must be a file or a glob, but '{place}' is a folder. "
            f"Did you mean '{place}/*.{kind}'?"
        )
    if not path.exists():
        raise _missing(path, kind)
    return [place]


def _missing(path: Path, kind: str) -> DataError:
    if not path.parent.is_dir():
        return DataError(
            f"source.{kind} must be a file that exists, but got '{path}': "
            f"the folder '{path.parent}' does not exist."
        )
    if path.is_symlink():
        return DataError(
            f"source.{kind} must be a file that exists, but '{path}' is a link to "
            f"'{path.readlink()}', which does not."
        )
    beside = [p.name for p in path.parent.iterdir()]
    return DataError(
        f"source.{kind} must be a file that exists, but got '{path}'."
        f"{did_you_mean(path.name, beside)}"
    )


def known_encoding(name: str) -> str:
    """The one name of a text encoding.

    Raises:
        DataError: there is no such encoding.
    """
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        message = must_be("source.encoding", "a text encoding such as 'utf-8'", name)
        raise DataError(message) from error


def _as_it_is(place: str, encoding: str) -> bool:
    """Whether polars can read the bytes: UTF-8, and compressed by gzip or zstd if at all."""
    return encoding == "utf-8" and not place.endswith(".xz")


def _recoded(place: str, encoding: str) -> bytes:
    """polars reads UTF-8 alone, so other encodings are converted in memory."""
    text = b"".join(decompressed(Path(place))).decode(encoding)
    return text.removeprefix("\ufeff").encode("utf-8")
