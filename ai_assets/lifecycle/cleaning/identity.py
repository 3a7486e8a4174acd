"""Hashes of rows that are the same in every process and with every version of the libraries.

Numbers are hashed from their bits by splitmix64, texts by md5 in DuckDB; both are fixed for ever,
unlike the hash functions of the frame libraries.
"""

import hashlib
import json
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ai_assets.lifecycle.schema.repeats import repeats_of

if TYPE_CHECKING:
    import duckdb

_FEW = 5_000
# Longer texts are hardly said twice, and would fill the memory that others are found again in.
_SHORT = 256
_LOCAL = threading.local()
_STEP = np.uint64(0x9E3779B97F4A7C15)
_LANE = np.uint64(0xBB67AE8584CAA73B)


def row_hashes(frame: pl.DataFrame, columns: list[str]) -> np.ndarray:
    """One uint64 [n] a row, over names and values of the columns; a missing value adds nothing.

    So a column that holds nothing but nulls does not change the hashes, nor does their order.
    """
    sums = np.zeros(frame.height, dtype=np.uint64)
    # All columns in one go: a call of polars costs more than its work on a small column.
    given = frame.select(columns)
    plain = given.select(_plain(name, kind) for name, kind in given.schema.items())
    with np.errstate(over="ignore"):
        for name, values, column in zip(columns, plain, given, strict=True):
            sums += _column_hashes(values, column, name)
        return _mix(sums + _STEP)


def row_ids(hashes: np.ndarray, occurrence: np.ndarray | None = None) -> pl.Series:
    """`_row_id` Int64 [n]; the occurrence [n] (0, 1, …) tells rows of one content apart."""
    if occurrence is not None:
        again = occurrence > 0
        if again.any():
            with np.errstate(over="ignore"):
                counted = _mix(hashes[again] + occurrence[again].astype(np.uint64) * _STEP)
            hashes = hashes.copy()
            hashes[again] = counted
    return pl.Series("_row_id", hashes.view(np.int64))


def repeated(hashes: np.ndarray) -> np.ndarray:
    """Which hashes [n] occur more than once, as booleans [n]."""
    several = repeats_of(pl.Series(hashes))
    if not len(several):
        return np.zeros(len(hashes), dtype=bool)
    return pl.Series(hashes).is_in(pl.Series(several).unique().implode()).to_numpy()


def occurrences(hashes: np.ndarray) -> np.ndarray:
    """How many equal hashes stand before each, as int64 [n]."""
    counts, several = np.zeros(len(hashes), dtype=np.int64), repeated(hashes)
    before = pl.int_range(pl.len(), dtype=pl.Int64).over("h")
    counts[several] = pl.DataFrame({"h": hashes[several]}).select(before).to_series().to_numpy()
    return counts


class Digest:
    """A digest of rows that depends neither on their order, nor on how they come in batches.

    A column without any value counts as absent, so that admitting a new column to a table leaves
    the digests of its earlier partitions as they were.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._sums = [0, 0]
        self._types: dict[str, str] = {}

    def add(self, frame: pl.DataFrame) -> None:
        """Count rows in."""
        hashes = row_hashes(frame, frame.columns)
        self._sums[0] = (self._sums[0] + int(hashes.sum(dtype=np.uint64))) % 2**64
        self._sums[1] = (self._sums[1] + int(_mix(hashes ^ _LANE).sum(dtype=np.uint64))) % 2**64
        self.rows += frame.height
        for column in frame:
            if column.null_count() < frame.height:
                self._types[column.name] = str(column.dtype)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        content = json.dumps([self.rows, *self._sums, sorted(self._types.items())])
        return hashlib.sha256(content.encode()).hexdigest()


def _mix(x: np.ndarray) -> np.ndarray:
    """The finisher of splitmix64: every bit of the input moves half the bits of the output."""
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xBF58476D1CE4E5B9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _plain(name: str, kind: pl.DataType) -> pl.Expr:
    """A column as Float64, Int64, UInt64 or text, without nulls."""
    value = pl.col(name)
    if kind.is_float():
        return value.cast(pl.Float64).fill_null(0.0)
    if kind == pl.UInt64:
        return value.fill_null(0)
    if kind.is_temporal():
        return value.to_physical().cast(pl.Int64).fill_null(0)
    if kind.is_integer() or kind == pl.Boolean:
        return value.cast(pl.Int64).fill_null(0)
    if kind.is_nested():
        value = pl.struct(value.alias("v")).struct.json_encode().alias(name)
    elif kind == pl.Binary:
        return value.fill_null(b"")
    return value.cast(pl.String).fill_null("")


def _column_hashes(plain: pl.Series, given: pl.Series, name: str) -> np.ndarray:
    named = np.uint64(int.from_bytes(hashlib.md5(name.encode()).digest()[:8], "big"))
    hashes = _mix(_value_hashes(plain) ^ named)
    if given.null_count():
        hashes[given.is_null().to_numpy()] = 0
    return hashes


def _value_hashes(plain: pl.Series) -> np.ndarray:
    if plain.dtype == pl.String:
        return _text_hashes(plain)
    if plain.dtype == pl.Binary:
        # One at a time: each may be a file of megabytes, and hexadecimal text is twice as long.
        hashes = [_hash_of(value.hex()) for value in plain]
        return np.array(hashes, dtype=np.uint64)
    values = plain.to_numpy()
    if plain.dtype == pl.Float64:
        # -0.0 and every NaN are one value each; adding 0.0 removes the sign of zero.
        values = values + 0.0
        values[np.isnan(values)] = np.nan
    return _mix(values.view(np.uint64) + np.uint64(1))


def _text_hashes(texts: pl.Series) -> np.ndarray:
    """The first 8 bytes of each text's md5, as uint64 [n]."""
    if texts.is_empty():
        return np.empty(0, np.uint64)
    # All in polars: pyarrow imports much of itself, and pandas, to number texts or give numpy them.
    distinct = texts.unique()
    if len(distinct) <= _FEW:  # asking DuckDB costs more than hashing a few texts here
        found = [_text_hash(t) if len(t) <= _SHORT else _hash_of(t) for t in distinct]
        hashes = pl.Series(found, dtype=pl.UInt64)
        return texts.replace_strict(distinct, hashes).to_numpy()
    if 2 * len(distinct) <= len(texts):  # to find a text again costs half of hashing it
        return texts.replace_strict(distinct, pl.Series(_many_hashes(distinct))).to_numpy()
    return _many_hashes(texts)


def _many_hashes(texts: pl.Series) -> np.ndarray:
    query = "SELECT CAST('0x' || left(md5(text), 16) AS UBIGINT) AS h FROM texts"
    connection = _connection()
    connection.register("texts", pl.DataFrame({"text": texts}).to_arrow())
    try:
        return connection.sql(query).pl()["h"].to_numpy()
    finally:
        connection.unregister("texts")


@lru_cache(maxsize=4 * _FEW)
def _text_hash(text: str) -> int:
    """Of one text. Partitions of a table repeat most of theirs."""
    return _hash_of(text)


def _hash_of(text: str) -> int:
    return int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "big")


def _connection() -> "duckdb.DuckDBPyConnection":
    """One database in memory a thread: opening one costs more than hashing a small frame."""
    import duckdb

    if not hasattr(_LOCAL, "connection"):
        _LOCAL.connection = duckdb.connect()
    return _LOCAL.connection
