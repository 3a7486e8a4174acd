"""The bytes of a local file, unpacked as its name says."""

import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ai_assets.lifecycle.errors import DataError

END = 2**16
"""How many bytes the end of a file is looked at."""
PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")
"""How gzip and zstd begin, and no text in UTF-8."""
_CHUNK = 2**20


def decompressed(path: Path) -> Iterator[bytes]:
    """The content of a file, in pieces.

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
        ) from None


def end_of(place: str) -> bytes:
    """The last bytes of a local file's text; none where it is packed under another name.

    A truncated gzip would pass for a shorter file, so it is read to its end.
    """
    if "://" in place:
        return b""
    path, end = Path(place), b""
    if place.endswith((".gz", ".xz", ".zst")):
        for chunk in decompressed(path):
            end = (end + chunk)[-END:]
        return end
    with path.open("rb") as stream:
        if stream.read(4).startswith(PACKED):
            return b""
        stream.seek(max(0, path.stat().st_size - END))
        return stream.read()


def lines_of(place: str, content: str | bytes) -> Iterator[bytes]:
    """The lines of what is read; none where that is packed under another name."""
    if isinstance(content, bytes):
        yield from content.split(b"\n")
    elif end_of(place):
        rest = b""
        for chunk in decompressed(Path(place)):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        yield rest


def _zstd(path: Path, _: str) -> Any:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")
