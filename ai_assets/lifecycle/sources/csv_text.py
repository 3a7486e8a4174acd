"""The text of a CSV file: unpacked and decoded."""

import codecs
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from ai_assets.lifecycle.errors import DataError

_CHUNK = 2**20
# How gzip and zstd begin, and no text in UTF-8.
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
UNKNOWN_CHARACTER = "\ufffd"
"""What polars makes of bytes of a header that are no text; those of rows it refuses."""


def decompressed(path: Path) -> Iterator[bytes]:
    """The content of a file, unpacked as its name says.

    Raises:
        DataError: what is compressed is damaged, or its end is missing.
    """
    opener: Any = {".gz": gzip.open, ".xz": lzma.open, ".zst": _zstd}.get(path.suffix, open)
    try:
        with opener(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise DataError(
            f"File '{path}' must be complete, but its end is missing: {error}"
        ) from error


def _zstd(path: Path, _: str) -> Any:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")


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
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    for chunk in chain(decompressed(Path(place)), [b""]):
        if lines == 1 and chunk.startswith(_PACKED):  # under a name that does not say so
            return
        before = decoder.getstate()
        try:
            lines += decoder.decode(chunk, final=not chunk).count("\n")
        except UnicodeDecodeError as error:
            decoder.setstate(before)
            good = chunk[: max(0, error.start - len(before[0]))]
            lines += decoder.decode(good).count("\n")
            raise _undecodable(place, encoding, lines, error) from None


def _undecodable(place: str, encoding: str, line: int, error: UnicodeDecodeError) -> DataError:
    wrong = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end])
    other = "latin-1" if encoding == "utf-8" else "utf-8"
    return DataError(
        f"CSV file '{place}' must be {encoding} text, but line {line} holds {wrong}, which is none."
        f" Is the file in another encoding? Then declare it as source.encoding, e.g. {other}."
    )
