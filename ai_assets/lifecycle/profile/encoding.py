"""In which encoding a text file is written, from all of its bytes."""

import codecs
from pathlib import Path
from typing import IO

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.profile.formats import opened

_CHUNK = 2**20
# Control characters that no text has, whatever its single-byte encoding.
_BINARY = bytes(sorted(set(range(32)) - {9, 10, 12, 13, 27}))
_MOSTLY_BINARY = 0.02
_WIDE = 0.3


def encoding_of(path: Path) -> str:
    """utf-8 if all of it is; else what its first bytes, or single bytes, allow.

    Raises:
        DataError: it holds bytes that no text has, or is written in two encodings.
    """
    with opened(path) as stream:
        start = stream.read(_CHUNK)
        wide = _wide(start)
        if wide:
            return _decodable(path, wide)
        found = _single(start, stream, path)
    if found == "utf-8":
        return found
    _check_not_mixed(path)
    return _decodable(path, "cp1252", "latin-1")


def _wide(start: bytes) -> str:
    """An encoding of two or four bytes a character; empty of others."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Of western text in UTF-16 every other byte is null.
    even, odd = start[::2], start[1::2]
    if odd and odd.count(0) > _WIDE * len(odd) and even.count(0) == 0:
        return "utf-16-le"
    if even and even.count(0) > _WIDE * len(even) and odd.count(0) == 0:
        return "utf-16-be"
    return ""


def _single(start: bytes, stream: IO[bytes], path: Path) -> str:
    """utf-8, or an empty text where the bytes are not."""
    decoder, is_utf8, lines, chunk = codecs.getincrementaldecoder("utf-8")(), True, 0, start
    while chunk:
        if len(rest := chunk.translate(None, _BINARY)) < len(chunk):
            raise _not_text(path, chunk, len(chunk) - len(rest), lines)
        lines += chunk.count(b"\n")
        try:
            if is_utf8:
                decoder.decode(chunk)
        except UnicodeDecodeError:
            is_utf8 = False
        chunk = stream.read(_CHUNK)
    try:
        decoder.decode(b"", final=is_utf8)
    except UnicodeDecodeError:
        is_utf8 = False
    return "utf-8" if is_utf8 else ""


def _not_text(path: Path, chunk: bytes, odd: int, lines: int) -> DataError:
    if odd > _MOSTLY_BINARY * len(chunk):
        return DataError(
            f"File '{path}' must be text, but it holds bytes that no text has. Is it of another "
            "format, or compressed?"
        )
    at = next(i for i, byte in enumerate(chunk) if byte in _BINARY)
    line = lines + chunk.count(b"\n", 0, at) + 1
    return DataError(
        f"File '{path}' must be text, but line {line} holds byte 0x{chunk[at]:02x}, which no text "
        "has. Was the file damaged? Write it anew, or take the byte out."
    )


def _check_not_mixed(path: Path) -> None:
    """Check that not some lines are UTF-8 and others not, as where files were put together."""
    utf8 = other = 0
    with opened(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                utf8 = utf8 or number
            except UnicodeDecodeError:
                other = other or number
            if utf8 and other:
                raise DataError(
                    f"File '{path}' must be in one encoding, but line {utf8} is UTF-8 and line "
                    f"{other} is not. Were two files put together? Save each as UTF-8 first."
                )


def _decodable(path: Path, *encodings: str) -> str:
    for encoding in encodings:
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with opened(path) as stream:
                while chunk := stream.read(_CHUNK):
                    decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeError:
            continue
        return encoding
    raise DataError(
        f"File '{path}' must be text in a known encoding, but it is none of utf-8, "
        f"{', '.join(encodings)}. Save it as UTF-8."
    )
