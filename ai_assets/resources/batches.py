"""Rows on their way into the lake, a batch at a time, so that a table need not fit in memory."""

from collections.abc import Iterable, Iterator

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import PARTITION

Rows = pl.LazyFrame | pl.DataFrame | Iterable[pl.DataFrame]


def batches(frame: Rows) -> Iterator[pl.DataFrame]:
    """Frames whose union is the frame; at least one where the columns are known."""
    if isinstance(frame, pl.DataFrame):
        yield frame
    elif isinstance(frame, pl.LazyFrame):
        schema = frame.collect_schema()
        yield pl.DataFrame(schema=schema)
        # Files come in batches of so many bytes; joined to many rows they might not fit.
        rows = None if pl.Binary in schema.values() else 100_000
        yield from frame.collect_batches(chunk_size=rows, maintain_order=True)
    else:
        yield from frame


def by_partition(
    batch: pl.DataFrame, keys: list[str], name: AssetName
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of each partition, without the column that says whose they are.

    Raises:
        DataError: there is no such column, or it names a partition that is not among the keys.
    """
    if PARTITION not in batch.columns:
        raise DataError(
            f"Rows for several partitions of {name.path} must have a column {PARTITION}."
        )
    if batch.is_empty():  # it still tells the columns
        yield from ((key, batch.drop(PARTITION)) for key in keys)
        return
    if len(keys) == 1 and (batch[PARTITION] == keys[0]).all():
        yield keys[0], batch.drop(PARTITION)
        return
    for (key,), part in batch.partition_by(PARTITION, as_dict=True, maintain_order=True).items():
        if key not in keys:
            raise DataError(
                f"Rows of {name.path} must belong to one of the partitions {', '.join(keys)}, "
                f"but got rows of {key!r}.{did_you_mean(str(key), keys)}"
            )
        yield str(key), part.drop(PARTITION)
