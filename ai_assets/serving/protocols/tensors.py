"""Tensors of the Open Inference Protocol v2: from what came over the wire to columns, and back.

A tensor's elements come as a JSON list, as protobuf's typed lists, or raw: little-endian and
row-major, each text behind its length in four bytes.
"""

import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import did_you_mean
from ai_assets.serving.problems import Refused, printable

BYTES = "BYTES"
# More than any request has columns; each costs time before it is known whether it is one.
MOST_TENSORS = 2000
# Numpy's own bound is 64; a request needs two. The product of very many sizes would take seconds.
MOST_SIZES = 8
NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Spec:
    """What metadata says of a tensor. In a shape, -1 is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...] = (-1,)

    @property
    def columns(self) -> int | None:
        """Values of a row; None where that is no dimension."""
        return self.shape[1] if len(self.shape) > 1 else None

    def content(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor that came.

    Attributes:
        name: what it is called.
        datatype: of the protocol, such as `INT64`.
        shape: sizes of its dimensions.
        values: all elements, flat, in row-major order; null where JSON says so.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: pl.Series


@dataclass(frozen=True, eq=False)
class Output:
    """A tensor that goes: one value a row, [n], or several, [n, columns].

    Attributes:
        name: what it is called.
        datatype: of the protocol, such as `FP64`.
        values: the elements as Python has them, flat, in row-major order.
        columns: values of a row; None for one, which makes no dimension.
    """

    name: str
    datatype: str
    values: Sequence[Any]
    columns: int | None = None

    @property
    def shape(self) -> list[int]:
        """Sizes of its dimensions."""
        if self.columns is None:
            return [len(self.values)]
        return [len(self.values) // self.columns, self.columns]


def check_tensors(count: int) -> None:
    """Refuse very many tensors before the first is read.

    Raises:
        Refused: with 413.
    """
    if count > MOST_TENSORS:
        raise Refused(413, f"There must be at most {MOST_TENSORS} inputs, but there are {count}.")


def spec_of(name: Any, datatype: Any, shape: Any) -> Spec:
    """What the head of a tensor says, checked.

    Raises:
        Refused: it is not a name, a known datatype and a shape.
    """
    if not isinstance(name, str) or not name:
        raise Refused(400, "Each tensor must have a name, which is a text.")
    if not isinstance(datatype, str) or (datatype != BYTES and datatype not in NUMPY):
        known = [*NUMPY, BYTES]
        near = did_you_mean(datatype, known) if isinstance(datatype, str) else ""
        raise wrong(name, f"datatype must be one of {', '.join(known)}.{near}")
    if not isinstance(shape, list) or not all(type(s) is int and 0 <= s < 2**31 for s in shape):
        raise wrong(name, "shape must be a list of sizes, such as [1].")
    if len(shape) > MOST_SIZES:
        raise wrong(name, f"shape must have at most {MOST_SIZES} sizes, but has {len(shape)}.")
    return Spec(name, datatype, tuple(shape))


def from_list(spec: Spec, values: Any) -> Tensor:
    """A tensor of the elements of a JSON list, flat or nested as the shape.

    Raises:
        Refused: the elements are not as the head says.
    """
    if not isinstance(values, list):
        raise wrong(spec.name, "data must be a list.")
    for _ in spec.shape[1:]:
        if values and all(isinstance(item, list) for item in values):
            values = [element for item in values for element in item]
    _check_count(spec, len(values))
    # In Python a truth value is a number too.
    if spec.datatype != "BOOL" and bool in set(map(type, values)):
        raise wrong(spec.name, f"data must be of {spec.datatype}, but holds a truth value.")
    try:
        series = pl.Series(spec.name, values, _POLARS[spec.datatype], strict=True)
    except (TypeError, OverflowError, ValueError, UnicodeError, pl.exceptions.PolarsError):
        raise wrong(spec.name, f"data must be elements of {spec.datatype}.") from None
    return Tensor(spec.name, spec.datatype, spec.shape, series)


def from_raw(spec: Spec, content: bytes | memoryview) -> Tensor:
    """A tensor of raw bytes.

    Raises:
        Refused: the bytes are not as the head says.
    """
    if spec.datatype == BYTES:
        return from_texts(spec, raw_texts(spec, content))
    dtype = NUMPY[spec.datatype]
    expected = math.prod(spec.shape) * dtype.itemsize
    if len(content) != expected:
        raise wrong(
            spec.name,
            f"{spec.datatype} of shape {list(spec.shape)} must be {expected} bytes, but there are "
            f"{len(content)}.",
        )
    values: np.ndarray = np.frombuffer(content, dtype)
    if spec.datatype == "BOOL":
        # Any byte but 0 means true, as in C; numpy would keep it as it is.
        values = values.view(np.uint8) != 0
    if spec.datatype == "FP16":
        values = values.astype(np.float32)
    return Tensor(spec.name, spec.datatype, spec.shape, pl.Series(spec.name, values))


def from_texts(spec: Spec, texts: Sequence[bytes]) -> Tensor:
    """A tensor of texts, or of files where not all is UTF-8: its values are then bytes.

    Raises:
        Refused: they are not as many as the head says.
    """
    _check_count(spec, len(texts))
    series = pl.Series(spec.name, texts, pl.Binary)
    with suppress(pl.exceptions.PolarsError):
        series = series.cast(pl.String)
    return Tensor(spec.name, spec.datatype, spec.shape, series)


def raw_texts(spec: Spec, content: bytes | memoryview) -> Sequence[bytes]:
    """The texts of raw bytes, each behind its length.

    Raises:
        Refused: a length points behind the end, or there are more or fewer than the shape says.
    """
    content, count = bytes(content), math.prod(spec.shape)
    if alike := _alike(content, count):
        return alike
    texts: list[bytes] = []
    at, end = 0, len(content)
    read = _LENGTH.unpack_from
    while at < end:
        if at + 4 > end or (after := at + 4 + read(content, at)[0]) > end:
            raise wrong(spec.name, f"the bytes end within text {len(texts)}.")
        texts.append(content[at + 4 : after])
        at = after
        if len(texts) > count:
            break
    _check_count(spec, len(texts))
    return texts


def _alike(content: bytes, count: int) -> Sequence[bytes]:
    """The texts if all are of one length, as codes and instants are; else none."""
    size, rest = divmod(len(content), count) if count else (0, 1)
    if rest or size < 5:
        return []
    table = np.frombuffer(content, np.uint8).reshape(count, size)
    if not (table[:, :4].copy().view("<u4") == size - 4).all():
        return []
    texts = np.ascontiguousarray(table[:, 4:])
    # numpy's own texts of fixed size would lose zeros at the end.
    if not texts[:, -1].all():
        return []
    return list(texts.view(f"S{size - 4}").ravel().tolist())


def to_raw(output: Output) -> bytes:
    """The elements as raw bytes."""
    if output.datatype != BYTES:
        return np.array(output.values, NUMPY[output.datatype]).tobytes()
    framed = {text: _framed(text.encode()) for text in set(output.values)}
    return b"".join([framed[text] for text in output.values])


def _framed(text: bytes) -> bytes:
    return _LENGTH.pack(len(text)) + text


def wrong(name: str, words: str) -> Refused:
    """The refusal of a tensor."""
    return Refused(400, f"Input '{printable(name)}': {words}")


def _check_count(spec: Spec, count: int) -> None:
    expected = math.prod(spec.shape)
    if count != expected:
        found = "more" if count > expected else f"only {count}"
        raise wrong(
            spec.name,
            f"shape {list(spec.shape)} means {expected} elements, but there are {found}.",
        )


_POLARS: dict[str, Any] = {
    "BYTES": pl.String(), "BOOL": pl.Boolean(),
    "INT8": pl.Int8(), "INT16": pl.Int16(), "INT32": pl.Int32(), "INT64": pl.Int64(),
    "UINT8": pl.UInt8(), "UINT16": pl.UInt16(), "UINT32": pl.UInt32(), "UINT64": pl.UInt64(),
    "FP16": pl.Float32(), "FP32": pl.Float32(), "FP64": pl.Float64(),
}  # fmt: skip
