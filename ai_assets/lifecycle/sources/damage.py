"""What is wrong with a text file, where the library that reads it does not say."""

import csv
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ai_assets.lifecycle.errors import DataError


def check_last_line(end: bytes, place: str, delimiter: str, names: Sequence[str]) -> None:
    """Check that a CSV file was not cut off within its last line: missing fields pass for nulls.

    Only of a line without a break at its end: some programs leave out empty fields at the end of
    their lines.

    Args:
        end: the last bytes of the file, as UTF-8.
        place: the file, for the message.
        delimiter: between fields.
        names: of the columns. A line may lack the last ones without a name: there a header ends
            with a delimiter.

    Raises:
        DataError: the last line ends too early.
    """
    _, line_break, line = end.rpartition(b"\n")
    try:
        text = line.decode("utf-8").rstrip("\r\x1a")
    except UnicodeDecodeError:
        return  # whoever reads the line says so
    # An odd quote belongs to a field that began in a line before.
    if not line_break or not text.strip() or "\x00" in text or text.count('"') % 2:
        return
    found = len(next(csv.reader([text], delimiter=delimiter)))
    fields = max((at for at, name in enumerate(names, 1) if _is_named(name)), default=0)
    if found < fields:
        raise DataError(
            f"CSV file '{place}' must be complete, but its last line ends after {found} of "
            f"{fields} fields, without a line break: it was cut off, or is no row."
        )


def _is_named(column: str) -> bool:
    """Whether a header names it; polars numbers those without a name from the second on."""
    return bool(column) and not column.startswith("_duplicated_")


def bad_csv_line(lines: Iterable[bytes], delimiter: str) -> str | None:
    """Which line of a CSV file has more fields than its header, or opens a quote that never closes,
    in words that hold nothing of it; None of what is no text, which `decoding` tells."""
    reader = csv.reader(map(bytes.decode, lines), delimiter=delimiter, strict=True)
    header, begins = 0, 1
    try:
        for fields in reader:
            header = header or len(fields)
            if len(fields) > header:
                return f"line {begins} has {len(fields)} fields, and its header {header}"
            begins = reader.line_num + 1
    except UnicodeDecodeError:
        return None
    except csv.Error as error:
        if "field limit" in str(error):
            return None  # a text that is long, which says nothing of its quotes
        return f"the quotes of line {begins} are unbalanced"
    return None


def broken_line(lines: Iterable[bytes]) -> str | None:
    """Which line is no JSON object, and why, in words that hold nothing of it."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        except json.JSONDecodeError as error:
            return f"line {number} is none: {error.msg}, at character {error.colno}"
        except ValueError as error:
            return f"line {number} is none: {error}"
        if not isinstance(value, dict):
            return f"line {number} is none, but a {type(value).__name__}"
    return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"JSON has no {constant}")
