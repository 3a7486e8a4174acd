"""How a text file is laid out: delimiter, header, lines; and what is wrong with it, in words."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.profile.encoding import encoding_of
from ai_assets.lifecycle.profile.formats import check_is_rows, opened

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_HEAD = 2**20
_LINES = 2_000


@dataclass(frozen=True)
class Layout:
    """How the fields of a CSV file are told apart.

    Attributes:
        encoding: as Python names it.
        delimiter: one character.
        names: of the columns.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]


def layout_of(path: Path) -> Layout:
    """Encoding, delimiter and column names of a CSV file, from its bytes.

    Raises:
        DataError: it is empty, is no text, has no delimiter, a header that names no columns, two
            columns of one name, or a line among the first 2,000 with another number of fields than
            the header.
    """
    check_is_rows(path)
    encoding = encoding_of(path)
    with _decoded(path, encoding) as stream:
        head = stream.read(_HEAD)
        whole = not stream.read(1)
    if not whole and "\n" in head:
        head = head[: head.rindex("\n")]
    return layout_of_text(head, str(path), encoding, whole=whole)


def layout_of_text(head: str, place: str, encoding: str = "utf-8", *, whole: bool) -> Layout:
    """Delimiter and column names from the first lines of a CSV file.

    Args:
        head: the lines.
        place: the file, for people.
        encoding: of the file.
        whole: whether the file has no more lines.

    Raises:
        DataError: see `layout_of`.
    """
    head = head.removeprefix("\ufeff")
    if not head.strip():
        what = "holds blank lines only" if head else "is empty"
        raise DataError(f"File '{place}' must have a header line and rows, but it {what}.")
    _check_lines(head, place)
    delimiter = _delimiter(head, place)
    rows, problem = _fields(head, delimiter, _LINES)
    if problem is not None and (whole or not _is_unclosed(problem[1])):
        raise _of_quotes(*problem, place)
    layout = Layout(encoding, delimiter, tuple(rows[0][1]))
    check_header(layout.names, place)
    _check_lengths(rows, layout, place)
    return layout


def check_header(names: tuple[str, ...], place: str) -> None:
    """Check that each column has a name, and can be told from the others, in SQL too.

    The first may go without: tools write the number of a row so.

    Raises:
        DataError: one has none, all are numbers, two have one name, or two differ in the case of
            letters only.
    """
    for number, name in enumerate(names, 1):
        if number > 1 and not name.strip():
            raise DataError(
                f"Each column of '{place}' must have a name in the header, but number {number} of "
                f"{len(names)} has none."
            )
    if len(names) > 1 and all(_is_number(name) for name in names):
        shown = ", ".join(names[:6])
        raise DataError(
            f"The first line of '{place}' must name the columns, but it holds numbers: {shown}. "
            "Put a header line above it."
        )
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        folded = name.casefold()
        if folded in seen:
            first = names[seen[folded] - 1]
            how = "twice" if first == name else f"beside '{first}', which SQL takes for the same"
            raise DataError(
                f"The columns of '{place}' must have different names, but '{name}' is there {how} "
                f"(columns {seen[folded]} and {number})."
            )
        seen[folded] = number


def first_problem(path: Path, layout: Layout) -> DataError | None:
    """What is wrong with the first line that is no row of the header's fields; None of good files.

    Reads the whole file.
    """
    with _decoded(path, layout.encoding) as stream:
        reader = csv.reader(stream, delimiter=layout.delimiter, strict=True)
        begins = 1
        try:
            for fields in reader:
                if fields and len(fields) != len(layout.names):
                    return _ragged(str(path), begins, len(fields), layout)
                begins = reader.line_num + 1
        except csv.Error as error:
            return _of_quotes(begins, error, str(path))
    return None


@contextmanager
def _decoded(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    with opened(path) as stream:
        yield io.TextIOWrapper(stream, encoding=encoding, newline="", errors="replace")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ragged(place: str, line: int, fields: int, layout: Layout) -> DataError:
    return DataError(
        f"Each line of '{place}' must have the {len(layout.names)} fields of its header, but line "
        f"{line} has {fields}. Is a text that holds a {DELIMITER_NAMES[layout.delimiter]} without "
        "quotes?"
    )


def _is_unclosed(error: csv.Error) -> bool:
    return "unexpected end" in str(error) or "field limit" in str(error)


def _of_quotes(line: int, error: csv.Error, place: str) -> DataError:
    """What to say of the record that begins in a line and whose quotes are wrong."""
    if _is_unclosed(error):
        return DataError(
            f"Each quote in '{place}' must be closed, but one that opens in line {line} is not: it "
            "swallows the rest of the file."
        )
    return DataError(
        f"A quote in '{place}' must close a whole field, but in line {line} text follows it. "
        "Double the quotes inside a text."
    )


def _check_lines(head: str, place: str) -> None:
    """Check that lines end as they do in CSV, and that the first is no note to Excel."""
    if "\r" in head and "\n" not in head:
        raise DataError(
            f"The lines of '{place}' must end with a line feed, but they end with a carriage "
            "return alone, as on old Macs. Save it with the line ends of today."
        )
    first = head.lstrip().splitlines()[0]
    if first.lower().startswith("sep=") and len(first) <= len("sep=") + 1:
        raise DataError(
            f"The first line of '{place}' must name the columns, but it is '{first}', a note to "
            "Excel. Take the line out."
        )
    if first.startswith(("{", "[")):
        what = "a JSON array" if first.startswith("[") else "JSON"
        raise DataError(
            f"File '{place}' must be rows of text, but it is {what}: write one object a line and "
            "let its name end in .ndjson."
        )


def _fields(
    text: str, delimiter: str, most: int
) -> tuple[list[tuple[int, list[str]]], tuple[int, csv.Error] | None]:
    """Number of its first line and the fields, of each record that is not blank.

    Also the line of the record whose quotes are wrong, and how, where there is one.
    """
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for fields in reader:
            if fields:
                found.append((begins, fields))
            begins = reader.line_num + 1
            if len(found) >= most:
                break
    except csv.Error as error:
        return found, (begins, error)
    return found, None


def _delimiter(head: str, place: str) -> str:
    """The one that splits most records into as many fields as the header, two or more."""
    best, most = "", (0.0, 0)
    for delimiter in DELIMITERS:
        counts = [len(fields) for _, fields in _fields(head, delimiter, 200)[0]]
        if not counts or counts[0] < 2:
            continue
        alike = Counter(counts)[counts[0]] / len(counts)
        if (round(alike, 1), counts[0]) > most:
            best, most = delimiter, (round(alike, 1), counts[0])
    if best:
        return best
    line = head.lstrip().splitlines()[0][:80]
    raise DataError(
        f"The header of '{place}' must name two or more columns, split by one of "
        f"{', '.join(DELIMITER_NAMES.values())}, but it is '{line}'. Is the delimiter another one?"
    )


def _check_lengths(rows: list[tuple[int, list[str]]], layout: Layout, place: str) -> None:
    if len(rows) < 2:
        raise DataError(f"File '{place}' must have rows below its header, but it has none.")
    for line, fields in rows:
        if len(fields) != len(layout.names):
            raise _ragged(place, line, len(fields), layout)
