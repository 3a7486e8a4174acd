"""What identifies a row, when it happened, and how its time is cut."""

import re
from datetime import date, datetime, time, timedelta
from itertools import combinations
from typing import Any

import polars as pl

from ai_assets.lifecycle.profile.column_types import Typed
from ai_assets.lifecycle.profile.facts import Facts, unique_among
from ai_assets.lifecycle.profile.personal import suspected
from ai_assets.lifecycle.profile.sample import Sample

_ID = re.compile(r"(^|.*[_\s.-])(id|key|nr|no|number|num|uuid|guid|code|row)s?$|^id([_\s.-].*)?$")
_ROW_NUMBERS = ("", "rownames", "row", "row_number", "index", "unnamed: 0", "...1", "x", "x1")
_TIME = re.compile(
    r"(.*[_\s.-])?(time|timestamp|date|datetime|created|created_at|at|day|when|datum|zeit|ts)$"
)
_LONGEST_NAME = 64
_FEWEST_ROWS = 200
_FEWEST_PARTS = 6
_MOST_PARTS = 400
_A_DAY = timedelta(days=1)


def looks_like_id(name: str) -> bool:
    """Whether a column's name says that its values are names of things."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return _ID.fullmatch(plain) is not None


def is_row_number(values: pl.Series) -> bool:
    """Whether a column only counts the rows, as tools add one when they write a table."""
    return is_counter(values) and values.name.strip().lower() in _ROW_NUMBERS


def is_counter(values: pl.Series) -> bool:
    """Whether whole numbers are those of a list: each once, without gaps."""
    if not values.dtype.is_integer() or values.null_count() or values.n_unique() < len(values):
        return False
    low, high = values.min(), values.max()
    return isinstance(low, int) and isinstance(high, int) and high - low + 1 == len(values)


def find_key(
    sample: Sample, columns: dict[str, Typed], facts: dict[str, Facts], target: str
) -> tuple[list[str], str]:
    """The columns that identify a row, and why; none where none do."""
    able = [
        name
        for name, column in columns.items()
        if name != target
        and name.strip()  # nobody can be asked for what has no name
        and column.type in ("string", "int64")
        and column.odd == 0
        and facts[name].missing == 0
        and facts[name].distinct == len(column.values)
        and (looks_like_id(name) or column.type == "string" or is_counter(column.values))
        and not is_row_number(column.values)
        and suspected(column.values) is None  # who somebody is need not be asked to name a row
        and _is_short(column.values)
    ]
    able.sort(key=lambda name: not looks_like_id(name))
    if found := unique_among(sample, able):
        return found[:1], "every row has its own"
    named = [
        name
        for name, column in columns.items()
        if name != target
        and name.strip()
        and column.type in ("string", "int64", "datetime", "date")
        and facts[name].missing == 0
        and (looks_like_id(name) or column.type in ("datetime", "date"))
        and facts[name].distinct > 1
    ]
    if not sample.is_part:
        frame = pl.DataFrame({name: columns[name].values for name in named})
        for pair in combinations(named[:6], 2):
            if frame.select(pair).n_unique() == frame.height:
                return list(pair), "together they are each row's own"
    return [], ""


def _is_short(values: pl.Series) -> bool:
    """Whether a column holds names of things rather than sentences."""
    if values.dtype != pl.String:
        return True
    longest = values.str.len_chars().max()
    return isinstance(longest, int) and longest <= _LONGEST_NAME


def find_time(
    columns: dict[str, Typed], facts: dict[str, Facts], target: str, rows: int
) -> str | None:
    """The column of each row's moment: without gaps, named so, and able to cut the rows.

    Other dates, such as since when somebody is a customer, are no moments of rows.
    """
    able = [
        name
        for name, column in columns.items()
        if column.type in ("datetime", "date")
        and name != target
        and facts[name].missing == 0
        and column.odd == 0
        and facts[name].distinct > 1
        and _TIME.fullmatch(name.lower())
        and "birth" not in name.lower()
        and cut(facts[name].low, facts[name].high, rows) is not None
    ]
    return able[0] if able else None


def cut(low: Any, high: Any, rows: int) -> dict[str, Any] | None:
    """How time from the first to the last row is cut into parts of 200 rows or more; None if not.

    Months where there are six of them, else weeks, else days.
    """
    first, last = _day(low), _day(high)
    days = (last - first).days + 1
    for every, length in (("month", 30), ("week", 7), ("day", 1)):
        parts = days / length
        if _FEWEST_PARTS <= parts <= _MOST_PARTS and rows / parts >= _FEWEST_ROWS:
            return {"every": every, "start": _start(first, every), "end": _end(last, every)}
    return None


def ends_early(partitions: dict[str, Any], moments: pl.Series) -> bool:
    """Whether rows end long before their last partition does: as if no more of it had come.

    Watched, it would be told as broken. Long is a day, and twice as long as rows have ever paused.
    """
    known = moments.drop_nulls().cast(pl.Datetime("us")).sort()
    pause = known.diff().max()
    ended = datetime.combine(partitions["end"], time()) - known[-1]
    return bool(ended > max(_A_DAY, 2 * pause if isinstance(pause, timedelta) else _A_DAY))


def without_last(partitions: dict[str, Any]) -> dict[str, Any]:
    """The partitions but the last one."""
    return partitions | {"end": _start(partitions["end"] - _A_DAY, partitions["every"])}


def parts_between(every: str, start: date, end: date) -> int:
    """How many partitions there are."""
    if every == "month":
        return (end.year - start.year) * 12 + end.month - start.month
    return (end - start).days // {"week": 7, "day": 1}[every]


def _start(first: date, every: str) -> date:
    if every == "month":
        return first.replace(day=1)
    if every == "week":
        return first - timedelta(days=(first.weekday() + 1) % 7)  # weeks begin on Sunday
    return first


def _end(last: date, every: str) -> date:
    """The day after the last partition."""
    begins = _start(last, every)
    if every == "month":
        return (begins + timedelta(days=31)).replace(day=1)
    return begins + timedelta(days={"week": 7, "day": 1}[every])


def _day(moment: Any) -> date:
    return moment.date() if isinstance(moment, datetime) else moment
