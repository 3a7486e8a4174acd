"""A table larger than memory: parcels of a carrier over two years, as a folder of Parquet files.

Rows lie in the order in which they were taken down, hours apart from the order of their moments, so
each file holds a stretch of time that overlaps with its neighbours'. `write_good` writes what the
product is made from; `write_late` one more file, as it comes when other offices deliver what they
had kept: rows of all months, of which some repeat what is there and some break the contract. The
same rows whatever machine writes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

SEED = 6
GIGABYTE = 2**30
KEY, TIME, TARGET = "parcel_id", "sent_at", "late"
BATCH_ROWS, FILE_BATCHES = 250_000, 8
_FIRST, _LAST = np.datetime64("2023-01-01", "us"), np.datetime64("2025-01-01", "us")
_HOUR = 3_600_000_000
# Of each batch so many rows come again in the late file, as they are or spoilt.
_AGAIN, _SPOILT = 250, 750
_CARRIERS = ("air", "rail", "road", "sea", "bicycle", "on foot")
_SERVICES = ("standard", "economy", "next working day", "same day before noon")
_COUNTRIES = tuple(f"country {chr(65 + i)}" for i in range(14))
_PACKAGES = ("bag", "box", "crate", "pallet", "tube", "wooden case with foam")
_NOTES = ("leave it with the neighbours if nobody is there", "ring twice, the bell is broken",
          "fragile: glass", "use the entrance in the yard behind the house")  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What was written: rows, and bytes that polars says they take in memory."""

    rows: int = 0
    bytes: int = 0
    again: int = 0
    spoilt: int = 0


def rows_for(gigabytes: float) -> int:
    """How many rows take so many GB (2**30 bytes) as a polars frame: whole batches of them."""
    each = batch(0).estimated_size() / BATCH_ROWS
    return max(1, round(gigabytes * GIGABYTE / each / BATCH_ROWS)) * BATCH_ROWS


def batch(number: int, batches: int = 1) -> pl.DataFrame:
    """The rows of one batch of so many."""
    luck, n = np.random.default_rng([SEED, number]), BATCH_ROWS
    places = np.arange(number * n, (number + 1) * n)
    first = _FIRST.astype(np.int64) + 6 * _HOUR
    length = _LAST.astype(np.int64) - first - 6 * _HOUR
    moment = first + (places * (length / (batches * n))).astype(np.int64)
    moment += luck.integers(-6 * _HOUR, 6 * _HOUR, n)
    columns: dict[str, object] = {KEY: places * 3 + 700_000_000, TIME: moment // 1000 * 1000}
    columns |= _words(luck) | _numbers(luck)
    frame = pl.DataFrame(columns).with_columns(
        pl.col(TIME).cast(pl.Datetime("us", "UTC")),
        pl.col("ordered_on").cast(pl.Int32).cast(pl.Date),
        pl.col(pl.Float64).round(2),
    )
    late = 0.4 * pl.col("weight") + 0.01 * pl.col("distance") + pl.col("queue") / 9
    noise = pl.Series(luck.normal(0, 4, n))
    return _with_gaps(frame, luck).with_columns((late + noise > 12).fill_null(False).alias(TARGET))


def _words(luck: np.random.Generator) -> dict[str, object]:
    def one_of(words: tuple[str, ...]) -> pl.Series:
        return pl.Series(words).gather(luck.integers(0, len(words), BATCH_ROWS))

    towns = tuple(f"town of {i:04d}" for i in range(4_000))
    accounts = tuple(f"A{i:05d}" for i in range(20_000))
    return {
        "carrier": one_of(_CARRIERS),
        "service": one_of(_SERVICES),
        "country": one_of(_COUNTRIES),
        "package": one_of(_PACKAGES),
        "depot": one_of(towns[:60]),
        "town": one_of(towns),
        "account": one_of(accounts),
        "note": one_of(tuple(f"{n}, door {i}" for n in _NOTES for i in range(500))),
    }


def _numbers(luck: np.random.Generator) -> dict[str, object]:
    n = BATCH_ROWS
    found: dict[str, object] = {
        "weight": luck.gamma(2.0, 3.0, n),
        "price": luck.gamma(3.0, 9.0, n) + 1,
        "distance": luck.gamma(2.0, 180.0, n),
        "queue": luck.integers(0, 90, n),
        "items": luck.integers(1, 40, n),
        "stops": luck.integers(1, 12, n),
        "attempts": luck.integers(0, 4, n),
        "vehicle_age": luck.integers(0, 20, n),
        "insured": luck.random(n) < 0.3,
        "fragile": luck.random(n) < 0.1,
        "gift": luck.random(n) < 0.05,
        "ordered_on": luck.integers(18_000, 19_300, n),
    }
    return found | {f"sensor_{i:02d}": luck.normal(i, 1 + i, n) for i in range(16)}


def _with_gaps(frame: pl.DataFrame, luck: np.random.Generator) -> pl.DataFrame:
    """Values are missing in some columns: notes mostly, of sensors and towns a few."""
    shares = {"note": 0.7, "town": 0.02, "price": 0.01}
    shares |= {f"sensor_{i:02d}": 0.05 for i in range(0, 16, 2)}
    return frame.with_columns(
        pl.when(pl.Series(luck.random(BATCH_ROWS) >= share)).then(pl.col(name)).alias(name)
        for name, share in shares.items()
    )


def write_good(folder: Path, rows: int) -> Written:
    """Write the rows that meet any contract made from them."""
    import pyarrow.parquet as pq

    size, batches = 0, rows // BATCH_ROWS
    for first in range(0, batches, FILE_BATCHES):
        writer = None
        for number in range(first, min(first + FILE_BATCHES, batches)):
            frame = batch(number, batches)
            size += int(frame.estimated_size())
            arrow = frame.to_arrow()
            file = folder / f"parcels-{first // FILE_BATCHES:05d}.parquet"
            writer = writer or pq.ParquetWriter(file, arrow.schema, compression="zstd")
            writer.write_table(arrow)
        assert writer is not None
        writer.close()
    return Written(rows, size)


def write_late(folder: Path, rows: int) -> Written:
    """Write the file that comes late; how many of its rows repeat others, or are broken."""
    late = pl.concat(list(_late(rows // BATCH_ROWS)))
    late.write_parquet(folder / "parcels-late.parquet")
    again = rows // BATCH_ROWS * _AGAIN
    return Written(late.height, int(late.estimated_size()), again, late.height - again)


def _late(batches: int) -> Iterator[pl.DataFrame]:
    for number in range(batches):
        frame = batch(number, batches)
        picks = np.random.default_rng([SEED, number, 1]).permutation(frame.height)
        yield frame[picks[:_AGAIN].tolist()]
        spoilt = frame[picks[_AGAIN : _AGAIN + _SPOILT].tolist()]
        third = pl.int_range(pl.len()) % 3
        yield spoilt.with_columns(
            # Keys of their own: they are broken, not repeated.
            pl.col(KEY) + 1,
            pl.when(third == 0).then(-pl.col("weight") - 1).otherwise("weight").alias("weight"),
            pl.when(third == 1).then(pl.lit("by drone")).otherwise("carrier").alias("carrier"),
            pl.when(third == 2).then(None).otherwise("distance").alias("distance"),
        )
