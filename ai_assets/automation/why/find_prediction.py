"""The prediction of a row id, or an error that names those there are."""

from typing import Any

import polars as pl

from ai_assets.automation.why.records import Records, unknown
from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.resources.lake import PARTITION, WHOLE

_NEAR = 4
_MOST = 2000


def find_prediction(
    records: Records, row_id: str, partition: str | None = None
) -> tuple[str | None, dict[str, Any]]:
    """The partition (None without partitions) and the row of predictions.

    Raises:
        DataError: no such partition, no such row, or not a row id.
    """
    name = records.product.asset("predictions")
    known = records.lake.partitions(name)
    if partition is not None and partition not in known:
        raise DataError(must_be("partition", known, partition))
    rows = records.lake.scan(name, [partition] if partition else None, with_partition=True)
    try:
        asked = int(row_id)
    except ValueError:
        raise unknown_row(rows, row_id) from None
    found = rows.filter(pl.col("_row_id") == asked).collect()
    if found.is_empty():
        raise unknown_row(rows, row_id)
    row = found.row(-1, named=True)
    key = row.pop(PARTITION)
    return None if key == WHOLE else key, row


def unknown_row(rows: pl.LazyFrame, row_id: str) -> DataError:
    """The error, with ids that begin alike: to compare with millions would take minutes."""
    ids = rows.select(pl.col("_row_id").cast(pl.String))
    alike = ids.filter(pl.col("_row_id").str.starts_with(row_id[:_NEAR])).head(_MOST).collect()
    some = alike if alike.height else ids.tail(5).collect()
    return unknown("prediction of row", row_id, some["_row_id"].to_list(), "There are")
