"""Which version of each table was there when something was made of it, and its rows."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ai_assets.automation.why.records import Records
from ai_assets.lifecycle.errors import DataError, MissingPartitionsError
from ai_assets.resources.lake import WHOLE


@dataclass(frozen=True)
class Version:
    """A table as it was at some moment.

    Attributes:
        asset: The asset's name without the product.
        version: Its Delta version.
        partitions: The partitions that are looked at; None for a table without.
        at: When those were last written until then (UTC).
        newer: The version that has written any of them anew since; None if they are the same.
    """

    asset: str
    version: int
    partitions: tuple[str, ...] | None
    at: datetime
    newer: int | None

    def told(self) -> dict[str, object]:
        """The version as JSON holds it."""
        keys = list(self.partitions) if self.partitions else None
        return {"asset": self.asset, "version": self.version, "partitions": keys,
                "written": self.at.isoformat(), "written_anew_in": self.newer}  # fmt: skip


def as_of(
    records: Records, asset: str, partitions: list[str] | None, moment: datetime | None = None
) -> Version:
    """The version of a table that a reader found at a moment; the newest for None.

    Raises:
        MissingPartitionsError: none of the partitions was in the lake by then.
    """
    name = records.product.asset(asset)
    keys = [WHOLE] if partitions is None else partitions
    of_these = records.lake.commits(name).filter(pl.col("partition").is_in(keys))
    then = of_these if moment is None else of_these.filter(pl.col("at") <= moment)
    if then.is_empty():
        when = "" if moment is None else f" by {moment.isoformat()}"
        raise MissingPartitionsError(f"{name.path} had nothing of {', '.join(keys)}{when}.")
    version, at = then.row(-1)[:2]
    later = of_these.filter(pl.col("version") > version)["version"].max()
    there = set(then["partition"])
    read = None if partitions is None else tuple(key for key in keys if key in there)
    return Version(asset, version, read, at, later if isinstance(later, int) else None)


def rows_at(records: Records, version: Version) -> pl.LazyFrame:
    """The rows of the version's partitions as they were."""
    name = records.product.asset(version.asset)
    keys = list(version.partitions) if version.partitions else None
    return records.lake.scan(name, keys, version.version)


def collected(rows: pl.LazyFrame, version: Version) -> pl.DataFrame:
    """The rows in memory.

    Raises:
        DataError: the version's files were vacuumed.
    """
    try:
        return rows.collect()
    except (OSError, pl.exceptions.ComputeError) as error:
        raise DataError(
            f"Version {version.version} of {version.asset} can no longer be read: its files were "
            f"vacuumed. Version {version.newer} holds what replaced them."
        ) from error
