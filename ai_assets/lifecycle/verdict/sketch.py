"""What the detectors of broken data know of a table's reference rows: small, JSON, no rare value.

Beside the drift profile of each column it holds what a histogram does not tell: the share of common
values, runs in time order, the hours that events fall in and the day's course of each number, and
how columns hang together. No value in it stands for fewer than 20 rows.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift.profile import Profile, profile
from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.tally import tally
from ai_assets.lifecycle.verdict.days import (
    local_times,
    longest_gap,
    null_peaks,
    quiet_day,
    quiet_hour,
    rows_a_day,
    value_peaks,
)
from ai_assets.lifecycle.verdict.relations import FEWEST, Relation, find_relations

FORMAT = 1
QUANTILES = 33
COMMON = 0.05
# A column that is this often 0 is described by its other values: the zeros hide them.
OFTEN_ZERO = 0.3
# Correlation of the days' courses from which a number is taken to have one.
SAME_DAY = 0.6
# Steps that people record values in, and the share of values that must be on one.
STEPS = (1000.0, 100.0, 10.0, 5.0, 1.0, 0.5, 0.1, 0.05, 0.01, 0.001)
ON_GRID = 0.99


@dataclass(frozen=True)
class NumberSketch:
    """A number's values.

    Attributes:
        quantiles: At the middle of equal shares of the values, each of 20 rows or more; without
            the zeros where those are 30 % or more.
        spread: Standard deviation of those quantiles, so that tails do not count.
        zeros: Share of zeros among the values.
        common: Values of 5 % of the rows or more, as text, with their share.
        grid: The coarsest step, of 1, 0.5, 0.1 and so on, that 99 % of the values are multiples of;
            None if there is none.
    """

    quantiles: list[float]
    spread: float
    zeros: float
    common: dict[str, float]
    grid: float | None = None


@dataclass(frozen=True)
class Clock:
    """When events fall, in the partitions' time zone.

    Attributes:
        minutes: Rows in each twelfth of an hour [12].
        hours: Rows in each hour of the day [24].
        courses: Mean of each number by hour of the day [24], in standard deviations from its mean;
            None for hours of fewer than 20 rows. Of a reference only numbers that have a course:
            the one of odd days resembles that of even days.
    """

    minutes: list[int]
    hours: list[int]
    courses: dict[str, list[float | None]]


@dataclass(frozen=True)
class TableSketch:
    """What is known of a table's reference rows.

    Attributes:
        rows: How many there are.
        profile: The distributions that drift is measured against.
        nulls: Share of missing values by column.
        numbers: By column.
        runs: Longest run of one value in time order, by column; empty without a time.
        key_runs: The same among rows that share the key's other parts, where it says something.
        clock: None without a time.
        relations: By the column that is told from others.
        daily: Median rows a day with any; None without a time.
        quiet: Rows of the quietest twentieth of days, those without any counted.
        quiet_hour: The same of hours; None unless partitions are hours.
        value_peaks: Largest share of one value of a number in any day, and in any week.
        null_peaks: Largest share of missing values in a day of 20 rows or more, by column.
        gap: Longest time without a row in that table, in days; None without a time.
        rejected: Share of raw rows that broke the contract.
        duplicates: Share of raw rows left out because their key was there already.
    """

    rows: int
    profile: Profile
    nulls: dict[str, float]
    numbers: dict[str, NumberSketch]
    runs: dict[str, int] = field(default_factory=dict)
    key_runs: dict[str, int] = field(default_factory=dict)
    clock: Clock | None = None
    relations: dict[str, Relation] = field(default_factory=dict)
    daily: float | None = None
    quiet: float | None = None
    quiet_hour: float | None = None
    value_peaks: dict[str, list[float]] = field(default_factory=dict)
    null_peaks: dict[str, float] = field(default_factory=dict)
    gap: float | None = None
    rejected: float = 0.0
    duplicates: float = 0.0

    def to_json(self) -> str:
        """Text that `from_json` reads back; the same sketch gives the same text."""
        told = asdict(self) | {"profile": json.loads(self.profile.to_json()), "format": FORMAT}
        return json.dumps(told, sort_keys=True, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "TableSketch":
        """The sketch that `to_json` wrote.

        Raises:
            DataError: it was written by another version of this code.
        """
        told: dict[str, Any] = json.loads(text)
        if told.get("format") != FORMAT:
            raise DataError(must_be("the table sketch's format", str(FORMAT), told.get("format")))
        del told["format"]
        told["profile"] = Profile.from_json(json.dumps(told["profile"]))
        told["numbers"] = {n: NumberSketch(**s) for n, s in told["numbers"].items()}
        told["relations"] = {n: Relation(**r) for n, r in told["relations"].items()}
        told["clock"] = Clock(**told["clock"]) if told["clock"] else None
        return TableSketch(**told)


def table_sketch(
    frame: pl.DataFrame,
    table: Table,
    *,
    timezone: str = "UTC",
    by_hours: bool = False,
    rejected: float = 0.0,
    duplicates: float = 0.0,
) -> TableSketch:
    """Sketch the cleaned reference rows of a table.

    Args:
        frame: the rows, with the declared columns.
        table: their declaration.
        timezone: the zone in which people live by the clock, so that daylight saving moves nothing.
        by_hours: whether partitions are hours, and are judged as hours.
        rejected: share of raw rows that the contract kept out.
        duplicates: share of raw rows left out as duplicates.

    Raises:
        DataError: the frame has no rows.
    """
    columns = [c for c in table.columns if c in frame.columns]
    numbers = number_columns(frame, table)
    described = {n: number_sketch(frame[n]) for n in numbers}
    texts = [c for c in columns if frame[c].dtype == pl.String]
    return TableSketch(
        rows=frame.height,
        # Relations below say what goes together; the outcome is among these columns.
        profile=replace(profile(frame.select(columns)), multivariate=None),
        nulls={c: missing_share(frame[c]) for c in columns},
        numbers={n: s for n, s in described.items() if s is not None},
        runs=longest_runs(frame, table),
        key_runs=key_runs(frame, table),
        clock=reference_clock(frame, table, timezone),
        relations=find_relations(frame, [n for n in numbers if n not in table.key], texts),
        daily=rows_a_day(frame, table, timezone),
        quiet=quiet_day(frame, table, timezone),
        quiet_hour=quiet_hour(frame, table) if by_hours else None,
        value_peaks=value_peaks(frame, table, timezone),
        null_peaks=null_peaks(frame, table, timezone),
        gap=longest_gap(frame, table),
        rejected=rejected,
        duplicates=duplicates,
    )


def number_columns(frame: pl.DataFrame, table: Table) -> list[str]:
    """The declared columns that hold numbers."""
    return [c for c in table.columns if c in frame.columns and frame[c].dtype.is_numeric()]


def missing_share(column: pl.Series) -> float:
    """Share of rows without a value; NaN is none."""
    missing = column.null_count()
    if column.dtype.is_float():
        missing += int(column.is_nan().sum() or 0)
    return missing / max(len(column), 1)


def number_sketch(column: pl.Series) -> NumberSketch | None:
    """The sketch of a number; None with too few values."""
    values = column.cast(pl.Float64)
    values = values.filter(values.is_finite())
    if len(values) < 2 * FEWEST:
        return None
    counted = tally(values).filter(pl.col("rows") >= FEWEST)
    common = counted.filter(pl.col("rows") >= COMMON * len(values)).sort("value")
    zeros = float((values == 0).sum()) / len(values)
    free = values.filter(values != 0) if zeros >= OFTEN_ZERO else values
    points = quantiles_of(free.to_numpy())
    return NumberSketch(
        quantiles=points.tolist(),
        spread=float(points.std()) if len(points) else 0.0,
        zeros=zeros,
        common={repr(v): n / len(values) for v, n in common.iter_rows()},
        grid=grid_of(free.to_numpy()),
    )


def grid_of(values: np.ndarray) -> float | None:
    """The coarsest step that 99 % of the values are multiples of."""
    return next((step for step in STEPS if on_grid(values, step) >= ON_GRID), None)


def on_grid(values: np.ndarray, step: float) -> float:
    """Share of the values that are multiples of the step."""
    if not len(values):
        return 0.0
    places = values / step
    return float((np.abs(places - np.round(places)) < 1e-6 * np.maximum(1, np.abs(places))).mean())


def quantiles_of(values: np.ndarray) -> np.ndarray:
    """Quantiles at the middles of at most 33 equal shares, each of 20 values or more."""
    points = min(QUANTILES, len(values) // FEWEST)
    if not points:
        return np.empty(0)
    return np.quantile(values, (np.arange(points) + 0.5) / points)


def longest_runs(frame: pl.DataFrame, table: Table) -> dict[str, int]:
    """Longest run of one value in order of time, over all rows; rows of one moment by identity."""
    if table.time is None or table.time not in frame.columns:
        return {}
    ordered = _ordered(frame, [table.time])
    return {c: _longest(ordered[c]) for c in _followed(frame, table)}


def key_runs(frame: pl.DataFrame, table: Table) -> dict[str, int]:
    """Longest run among rows that share the key's other parts, such as one sensor's.

    A column that does not change within those parts at all is left out.
    """
    parts = [k for k in table.key if k != table.time and k in frame.columns]
    if table.time is None or table.time not in frame.columns or not parts:
        return {}
    ordered = _ordered(frame, [*parts, table.time])
    group = ordered.select(pl.struct(parts).rle_id()).to_series()
    found = {}
    for name in _followed(frame, table):
        if name in table.key:
            continue
        pairs = pl.DataFrame({"group": group, "value": ordered[name]})
        varied = pairs.group_by("group").agg(pl.col("value").n_unique() > 1)["value"].mean()
        if isinstance(varied, float) and varied >= 0.5:
            ids = pairs.select(pl.struct("group", "value").rle_id()).to_series()
            found[name] = _longest_of(ids, ordered[name])
    return found


def _ordered(frame: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    return frame.sort([*by, "_row_id"] if "_row_id" in frame.columns else by)


def _followed(frame: pl.DataFrame, table: Table) -> list[str]:
    return [c for c in table.columns if c in frame.columns and c != table.time]


def _longest(column: pl.Series) -> int:
    return _longest_of(column.rle_id(), column)


def _longest_of(ids: pl.Series, column: pl.Series) -> int:
    lengths = tally(ids.filter(column.is_not_null()))["rows"].max()
    return int(lengths) if isinstance(lengths, int) else 0


def clock_of(
    frame: pl.DataFrame, table: Table, timezone: str, *, fewest: int = FEWEST
) -> Clock | None:
    """Histograms of the times and the day's course of each number.

    Counts and means of fewer rows than `fewest` are left out: a reference tells none of few rows.
    """
    times = local_times(frame, table, timezone)
    if times is None:
        return None
    minutes = np.bincount(times.dt.minute().drop_nulls().to_numpy() // 5, minlength=12)
    hours = np.bincount(times.dt.hour().drop_nulls().to_numpy(), minlength=24)
    courses = {}
    for name in number_columns(frame, table):
        course = _course(times.dt.hour(), frame[name].cast(pl.Float64), fewest)
        if course is not None:
            courses[name] = course
    return Clock(_told(minutes, fewest), _told(hours, fewest), courses)


def reference_clock(frame: pl.DataFrame, table: Table, timezone: str) -> Clock | None:
    """The clock of a reference: courses that chance made are left out."""
    times, clock = local_times(frame, table, timezone), clock_of(frame, table, timezone)
    if times is None or clock is None:
        return None
    odd = (times.dt.date().cast(pl.Int32) % 2 == 1).fill_null(False)
    one, other = (clock_of(frame.filter(half), table, timezone) for half in (odd, ~odd))
    if one is None or other is None:
        return replace(clock, courses={})
    kept = {
        name: course
        for name, course in clock.courses.items()
        if name in one.courses
        and name in other.courses
        and correlation(numbers_of(one.courses[name]), numbers_of(other.courses[name])) >= SAME_DAY
    }
    return replace(clock, courses=kept)


def numbers_of(course: list[float | None]) -> np.ndarray:
    """A course as float64 [24], NaN where nothing is known."""
    return np.array([np.nan if v is None else v for v in course], dtype=float)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of the places known in both; 0 where there is none."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 6 or one[both].std() == 0 or other[both].std() == 0:
        return 0.0
    return float(np.corrcoef(one[both], other[both])[0, 1])


def _told(counts: np.ndarray, fewest: int) -> list[int]:
    return [int(c) if c >= fewest else 0 for c in counts]


def _course(hours: pl.Series, values: pl.Series, fewest: int) -> list[float | None] | None:
    """Added up row by row: threads that share the work would leave other last digits each time."""
    frame = pl.DataFrame({"h": hours, "v": values}).filter(pl.col("v").is_finite())
    numbers = frame["v"].to_numpy()
    spread = numbers.std(ddof=1) if len(numbers) > 1 else 0.0
    if not spread > 0:
        return None
    known = frame["h"].is_not_null().to_numpy()
    hour = frame["h"].drop_nulls().to_numpy()
    counts = np.bincount(hour, minlength=24)
    sums = np.bincount(hour, weights=numbers[known] - numbers.mean(), minlength=24)
    told = zip(sums, counts, strict=True)
    return [float(s / n / spread) if n >= max(fewest, 1) else None for s, n in told]
