"""What a table's days are like: how many rows come, how long none do, how far one day goes."""

from datetime import datetime

import numpy as np
import polars as pl

from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.tally import tally
from ai_assets.lifecycle.verdict.relations import FEWEST


def local_times(frame: pl.DataFrame, table: Table, timezone: str) -> pl.Series | None:
    """The rows' times by the clock of the zone; None without a time of day."""
    if table.time is None or table.time not in frame.columns:
        return None
    times = frame[table.time]
    if not isinstance(times.dtype, pl.Datetime):
        return None
    aware = times if times.dtype.time_zone else times.dt.replace_time_zone("UTC")
    return aware.dt.convert_time_zone(timezone)


def rows_a_day(frame: pl.DataFrame, table: Table, timezone: str) -> float | None:
    """Median rows of the days that have any."""
    times = local_times(frame, table, timezone)
    if times is None or not len(times):
        return None
    counts = tally(times.dt.date())["rows"]
    return float(np.median(counts.to_numpy()))


def quiet_day(frame: pl.DataFrame, table: Table, timezone: str) -> float | None:
    """Rows of the quietest twentieth of the days from the first to the last."""
    times = local_times(frame, table, timezone)
    if times is None or not len(times.drop_nulls()):
        return None
    return _quiet(times.drop_nulls().dt.date().cast(pl.Int32).to_numpy())


def quiet_hour(frame: pl.DataFrame, table: Table) -> float | None:
    """Rows of the quietest twentieth of the hours from the first to the last."""
    times = local_times(frame, table, "UTC")
    if times is None or not len(times.drop_nulls()):
        return None
    return _quiet(times.drop_nulls().dt.epoch("s").to_numpy() // 3600)


def _quiet(at: np.ndarray) -> float:
    """Rows of the quietest twentieth of whole numbers from the first to the last."""
    first, last = int(at.min()), int(at.max())
    if last - first > 2 * len(at):  # most are empty, and a time far off would take all memory
        return 0.0
    return float(np.quantile(np.bincount(at - first), 0.05))


def days_in(frame: pl.DataFrame, table: Table, timezone: str) -> int:
    """How many days have rows; 0 without times."""
    times = local_times(frame, table, timezone)
    return 0 if times is None else times.dt.date().drop_nulls().n_unique()


def longest_gap(
    frame: pl.DataFrame, table: Table, span: tuple[datetime, datetime] | None = None
) -> float | None:
    """Longest time without a row, in days; with a span also at its start and end."""
    times = local_times(frame, table, "UTC")
    if times is None or not len(times.drop_nulls()):
        return None
    known = times.drop_nulls().unique().sort().dt.epoch("s").to_numpy().astype(float)
    ends = [moment.timestamp() for moment in span] if span else []
    return float(np.diff(np.sort([*known, *ends])).max(initial=0.0)) / 86_400


def null_peaks(frame: pl.DataFrame, table: Table, timezone: str) -> dict[str, float]:
    """The day's largest share of missing values, by column."""
    times = local_times(frame, table, timezone)
    if times is None:
        return {}
    names = [c for c in table.columns if c in frame.columns and c != table.time]
    days = frame.with_columns(times.dt.date().alias("#day")).group_by("#day")
    shares = days.agg(pl.len().alias("#rows"), pl.col(names).null_count() / pl.len())
    peaks = shares.filter(pl.col("#rows") >= FEWEST).select(pl.col(names).max())
    return {n: float(v) for n, v in peaks.row(0, named=True).items() if v} if names else {}


def value_peaks(frame: pl.DataFrame, table: Table, timezone: str) -> dict[str, list[float]]:
    """Largest share of one value in any day and in any week of 20 rows or more, by number."""
    times = local_times(frame, table, timezone)
    if times is None:
        return {}
    found = {}
    numbers = [c for c in table.columns if c in frame.columns and frame[c].dtype.is_numeric()]
    for name in numbers:
        peaks = []
        for days in (1, 7):
            pairs = pl.DataFrame({"at": times.dt.epoch("d") // days, "value": frame[name]})
            counted = pairs.drop_nulls().group_by("at", "value").len("n")
            blocks = counted.group_by("at").agg(
                pl.col("n").max() / pl.col("n").sum(), rows=pl.col("n").sum()
            )
            peak = blocks.filter(pl.col("rows") >= FEWEST)["n"].max()
            peaks.append(peak if isinstance(peak, float) else 0.0)
        found[name] = peaks
    return found
