"""What a file is by its first bytes, whatever its name; and its content, decompressed."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ai_assets.lifecycle.errors import DataError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PARQUET = b"PAR1"
_LONGEST = 512
_MARKS = (
    (b"%PDF", "a PDF document", "copy its table into a spreadsheet and save that as CSV"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it and give the file inside"),
    (b"PK\x05\x06", "an empty ZIP archive", "give a file of rows"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "open it and save the sheet as CSV"),
    (b"SQLite format 3\0", "an SQLite database", "give --data sqlite:///<path> --table <name>"),
    (_PARQUET, "Parquet", "let its name end in .parquet"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"ORC", "an ORC file", "save it as Parquet"),
    (b"Obj\x01", "an Avro file", "save it as Parquet"),
    (b"\x89HDF", "an HDF5 file", "save the table inside as Parquet"),
    (b"\x89PNG", "a PNG picture", "give a folder of pictures with --kind image"),
    (b"\xff\xd8\xff", "a JPEG picture", "give a folder of pictures with --kind image"),
    (b"GIF8", "a GIF picture", "give a folder of pictures with --kind image"),
    (b"\x7fELF", "a program", "give a file of rows"),
    (b"MZ\x90", "a program", "give a file of rows"),
    (b"\x80\x04\x95", "a Python pickle", "load it and save the table as Parquet"),
    (b"BZh", "compressed by bzip2", "unpack it, or compress it with gzip or zstd"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it, or compress it with gzip or zstd"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it and give the file inside"),
    (b"Rar!", "a RAR archive", "unpack it and give the file inside"),
    (b"ustar", "a tar archive", "unpack it and give the file inside"),
)
_OFFSET_OF_TAR = 257
_TEXTS = (
    ("<!doctype html", "an HTML page", "download the table itself; a login page looks so too"),
    ("<html", "an HTML page", "download the table itself; a login page looks so too"),
    ("<?xml", "XML", "save it as CSV"),
    ("{\\rtf", "a document in RTF", "save its table as CSV"),
)


def check_is_rows(path: Path) -> None:
    """Check that a file of text is none of the formats that are often named `.csv`.

    Raises:
        DataError: it is one; says which, and what to do.
    """
    with opened(path) as stream:
        head = stream.read(_LONGEST)
    for mark, what, do in _MARKS:
        if head.startswith(mark) or (mark == b"ustar" and head[_OFFSET_OF_TAR:].startswith(mark)):
            if mark == b"PK\x03\x04" and (inside := _office(head, path)):
                what, do = inside, "open it and save the sheet as CSV"
            raise DataError(f"File '{path}' must be rows of text, but it is {what}: {do}.")
    plain = head.decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t").lower()
    for start, what, do in _TEXTS:
        if plain.startswith(start):
            raise DataError(f"File '{path}' must be rows of text, but it is {what}: {do}.")


def check_parquet(path: Path) -> None:
    """Check that a file begins and ends as Parquet does.

    Raises:
        DataError: it is empty, of another format, or its end is missing.
    """
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"'{path}' must be complete Parquet, but the file is empty.")
    with path.open("rb") as stream:
        head = stream.read(len(_PARQUET))
        stream.seek(max(0, size - len(_PARQUET)))
        tail = stream.read()
    if head != _PARQUET:
        raise DataError(
            f"'{path}' must be complete Parquet, but does not begin as such. Is it CSV? Then its "
            "name must end in .csv."
        )
    if tail != _PARQUET:
        raise DataError(
            f"'{path}' must be complete Parquet, but its end is missing: was it still being "
            "written, or copied in part?"
        )


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, decompressed if gzip or zstd made it.

    Raises:
        DataError: what is compressed is damaged, or its end is missing.
    """
    with path.open("rb") as raw:
        start = raw.read(len(_ZSTD))
    try:
        if start.startswith(_GZIP):
            with gzip.open(path, "rb") as stream:
                yield stream  # type: ignore[misc]
        elif start == _ZSTD:
            import pyarrow as pa

            with pa.input_stream(str(path), compression="zstd") as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path, error) from None
    except OSError as error:
        if start == _ZSTD and error.errno is None:
            raise damaged(path, error) from None
        raise


def damaged(path: Path, error: Exception) -> DataError:
    """What to say of a compressed file that cannot be read to its end."""
    reason = str(error).strip().splitlines()[0]
    return DataError(
        f"File '{path}' must be complete, but what is compressed in it is damaged: {reason}. Was "
        "it copied or downloaded in part?"
    )


def is_compressed(path: Path) -> bool:
    """Whether gzip or zstd made the file."""
    with path.open("rb") as stream:
        start = stream.read(len(_ZSTD))
    return start.startswith(_GZIP) or start == _ZSTD


def _office(head: bytes, path: Path) -> str:
    """What kind of office document a ZIP archive is; empty of others."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "an Excel workbook" if b"xl/" in head or b"[Content_Types]" in head else ""
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook"
    return "an OpenDocument file" if "mimetype" in names else ""
