"""How a text file is written: encoding, delimiter, header; and what is wrong with it, in words."""

import codecs
import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ai_assets.lifecycle.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
_HEAD = 2**20
_LINES = 2_000
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
# Control characters that no text has, whatever its single-byte encoding.
_BINARY = bytes(sorted(set(range(32)) - {9, 10, 12, 13, 27}))


@dataclass(frozen=True)
class Layout:
    """How the fields of a CSV file are told apart."""

    encoding: str
    delimiter: str
    names: tuple[str, ...]


def layout_of(path: Path) -> Layout:
    """Encoding, delimiter and column names of a CSV file, from its bytes.

    Raises:
        DataError: it is empty, is no text, has no delimiter, two columns of one name, or a line
            among the first 2,000 with another number of fields than the header.
    """
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="", errors="replace") as stream:
        head = stream.read(_HEAD)
        whole = not stream.read(1)
    if not head.strip("\ufeff \r\n\t"):
        raise DataError(f"File '{path}' must have a header line and rows, but it is empty.")
    head = head.removeprefix("\ufeff")
    if not whole and "\n" in head:
        head = head[: head.rindex("\n")]
    delimiter = _delimiter(head, path)
    rows = _fields(head, delimiter, _LINES)
    layout = Layout(encoding, delimiter, tuple(rows[0][1]))
    check_names(layout.names, path)
    _check_lengths(rows, layout, path)
    return layout


def check_names(names: tuple[str, ...], path: Path) -> None:
    """Check that each column can be told from the others, in SQL too.

    Raises:
        DataError: two have one name, or differ in the case of letters only.
    """
    seen: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        folded = name.casefold()
        if folded in seen:
            first = names[seen[folded] - 1]
            how = "twice" if first == name else f"beside '{first}', which SQL takes for the same"
            raise DataError(
                f"The columns of '{path}' must have different names, but '{name}' is there {how} "
                f"(columns {seen[folded]} and {place})."
            )
        seen[folded] = place


def ragged_line(path: Path, layout: Layout) -> tuple[int, int] | None:
    """The number of the first line with more or fewer fields than the header, and how many."""
    with path.open(encoding=layout.encoding, newline="", errors="replace") as stream:
        reader = csv.reader(stream, delimiter=layout.delimiter)
        for fields in reader:
            if fields and len(fields) != len(layout.names):
                return reader.line_num, len(fields)
    return None


def ragged(path: Path, line: int, fields: int, layout: Layout) -> DataError:
    """What to say of a line that has another number of fields."""
    return DataError(
        f"Each line of '{path}' must have the {len(layout.names)} fields of its header, but line "
        f"{line} has {fields}. Is a text that holds a {_NAMES[layout.delimiter]} without quotes?"
    )


def _encoding(path: Path) -> str:
    """utf-8 if all of it is; else what its first bytes, or single bytes, allow."""
    with path.open("rb") as stream:
        start = stream.read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return _decodable(path, "utf-16")
        stream.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        is_utf8 = True
        while chunk := stream.read(_HEAD):
            if len(chunk.translate(None, _BINARY)) < len(chunk):
                raise DataError(
                    f"File '{path}' must be text, but it holds bytes that no text has. Is it of "
                    "another format, or compressed?"
                )
            if is_utf8:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    is_utf8 = False
        try:
            decoder.decode(b"", final=is_utf8)
        except UnicodeDecodeError:
            is_utf8 = False
    return "utf-8" if is_utf8 else _decodable(path, "cp1252", "latin-1")


def _decodable(path: Path, *encodings: str) -> str:
    for encoding in encodings:
        try:
            with path.open(encoding=encoding) as stream:
                while stream.read(_HEAD):
                    pass
        except (UnicodeError, ValueError):
            continue
        return encoding
    raise DataError(
        f"File '{path}' must be text in a known encoding, but it is none of utf-8, "
        f"{', '.join(encodings)}. Save it as UTF-8."
    )


def _fields(text: str, delimiter: str, most: int) -> list[tuple[int, list[str]]]:
    """Number of its last line and the fields, of each record that is not blank."""
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    found = []
    try:
        for fields in reader:
            if fields:
                found.append((reader.line_num, fields))
            if len(found) >= most:
                break
    except csv.Error:
        pass
    return found


def _delimiter(head: str, path: Path) -> str:
    """The one that splits most records into as many fields as the header, two or more."""
    best, most = "", (0.0, 0)
    for delimiter in DELIMITERS:
        counts = [len(fields) for _, fields in _fields(head, delimiter, 200)]
        if not counts or counts[0] < 2:
            continue
        alike = Counter(counts)[counts[0]] / len(counts)
        if (round(alike, 1), counts[0]) > most:
            best, most = delimiter, (round(alike, 1), counts[0])
    if best:
        return best
    line = head.splitlines()[0][:80]
    raise DataError(
        f"The header of '{path}' must name two or more columns, split by one of "
        f"{', '.join(_NAMES.values())}, but it is '{line}'. Is the delimiter another one?"
    )


def _check_lengths(rows: list[tuple[int, list[str]]], layout: Layout, path: Path) -> None:
    if len(rows) < 2:
        raise DataError(f"File '{path}' must have rows below its header, but it has none.")
    for line, fields in rows:
        if len(fields) != len(layout.names):
            raise ragged(path, line, len(fields), layout)
