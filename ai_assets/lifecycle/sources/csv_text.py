"""The text of a CSV file: decoded, and its header as it was written."""

import codecs
import re
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.sources.packed import PACKED, decompressed
from ai_assets.lifecycle.sources.request import without_secrets

# What polars makes of a second column of one name.
_SECOND = re.compile(r"_duplicated_\d+$")
UNKNOWN_CHARACTER = "\ufffd"
"""What polars makes of bytes of a header that are no text; those of rows it refuses."""


@contextmanager
def decoding(place: str, encoding: str) -> Iterator[None]:
    """Whatever fails because of bytes that are no text is told with their line.

    Libraries tell neither line nor bytes; so the file is read again, when something has failed.
    """
    try:
        yield
    except Exception:
        check_decodes(place, encoding)
        raise


def check_decodes(place: str, encoding: str) -> None:
    """Check that a local file is text in an encoding.

    Raises:
        DataError: some of its bytes are none; says which, and in which line.
    """
    if "://" in place:
        return
    if encoding == "utf-8":
        check_not_utf16(place)
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    for chunk in chain(decompressed(Path(place)), [b""]):
        if lines == 1 and chunk.startswith(PACKED):  # under a name that does not say so
            return
        before = decoder.getstate()
        try:
            lines += decoder.decode(chunk, final=not chunk).count("\n")
        except UnicodeDecodeError as error:
            decoder.setstate(before)
            good = chunk[: max(0, error.start - len(before[0]))]
            lines += decoder.decode(good).count("\n")
            raise _undecodable(place, encoding, lines, error) from None


def check_not_utf16(place: str) -> None:
    """Check that a local file does not begin as UTF-16 does: polars reads a zero between letters.

    Raises:
        DataError: it does.
    """
    if "://" in place:
        return
    with Path(place).open("rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError(
                f"CSV file '{place}' must be utf-8 text, but begins as UTF-16 does. If it is, "
                "declare `encoding: utf-16` of its source."
            )


def _undecodable(place: str, encoding: str, line: int, error: UnicodeDecodeError) -> DataError:
    wrong = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end])
    other = "latin-1" if encoding == "utf-8" else "utf-8"
    return DataError(
        f"CSV file '{place}' must be {encoding} text, but line {line} holds {wrong}, which is none."
        f" Is the file in another encoding? Then declare it as source.encoding, e.g. {other}."
    )


def without_repeats(
    rows: pl.LazyFrame, header: Callable[[], pl.LazyFrame], place: str, declared: Container[str]
) -> pl.LazyFrame:
    """The rows with one column of each name: of undeclared ones the first.

    Args:
        rows: as polars reads them, which gives a second column of one name a name of its own.
        header: reads the file's first line, as a row.
        place: where it is.
        declared: names of columns that somebody reads.

    Raises:
        DataError: a column that is declared, or that cannot be left out, is there twice, so that
            nobody knows which is meant.
    """
    try:
        names = rows.collect_schema().names()
    except pl.exceptions.DuplicateError:  # the name that polars would give is there as well
        names = []
    if names and not any(_SECOND.search(name) for name in names):
        return rows
    first: dict[str, int] = {}
    for number, name in enumerate(_written(names, header()), 1):
        if name in first and (name in declared or not names):
            raise _twice(place, name, first[name], number)
        first.setdefault(name, number)
    return rows.select(names[number - 1] for number in first.values())


def _written(names: list[str], header: pl.LazyFrame) -> list[str]:
    """The names as the file has them; by those of polars where blank lines stand above them."""
    row = [value or "" for value in header.collect().row(0)]
    if len(row) == len(names) or not names:
        return [row[0].removeprefix("\ufeff"), *row[1:]]
    bases = [_SECOND.sub("", name) for name in names]
    return [base if base in names else name for name, base in zip(names, bases, strict=True)]


def _twice(place: str, name: str, first: int, second: int) -> DataError:
    return DataError(
        f"The columns of CSV file '{without_secrets(place)}' must have different names, but "
        f"'{name}' is there twice (columns {first} and {second}): which of them is meant? Rename "
        "one of them in the file."
    )
