"""Spans of event time. Keys are those that Dagster's time-window partitions use."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from ai_assets.lifecycle.errors import MissingPartitionsError, must_be
from ai_assets.lifecycle.schema.section import Section

UTC = ZoneInfo("UTC")
KEY_FORMATS = {"month": "%Y-%m-%d", "week": "%Y-%m-%d", "day": "%Y-%m-%d", "hour": "%Y-%m-%d-%H:%M"}
_LONGEST = {
    "month": timedelta(days=31),
    "week": timedelta(days=7),
    "day": timedelta(days=1),
    "hour": timedelta(hours=1),
}
_SHORTEST = {**_LONGEST, "month": timedelta(days=28)}
_HOUR = timedelta(hours=1)
# Changes of the clock are looked for until then, and in four years at least: zones are written
# down year by year as far as that, and each year is as the one before it from then on.
_WRITTEN_UNTIL, _LOOKED_AHEAD = date(2038, 1, 1), timedelta(days=4 * 366)


@dataclass(frozen=True)
class Span:
    """A half-open stretch of event time, [start, end), as instants in UTC."""

    start: datetime
    end: datetime


class Partitions(Section):
    """How the product is cut along event time."""

    every: Literal["month", "week", "day", "hour"] = Field(description="Length of a partition.")
    start: date = Field(description="First day of the first partition.")
    end: date | None = Field(None, description="Day after the last partition; open if left out.")
    timezone: str = Field(
        "UTC",
        description="IANA time zone in which partitions begin and end. An hour that its clock "
        "shows twice is two partitions, the later one as 2025-10-26-02:00+0100.",
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(must_be("timezone", "an IANA time zone name", name)) from error
        return name

    @model_validator(mode="after")
    def _ordered(self) -> "Partitions":
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end must be after start ({self.start}), but got {self.end}.")
        if self.every == "month" and self.start.day != 1:
            raise ValueError(
                must_be("start of monthly partitions", "the first of a month", self.start)
            )
        if self.every == "week" and self.start.weekday() != 6:
            raise ValueError(must_be("start of weekly partitions", "a Sunday", self.start))
        if self.every == "hour" and self.clock_change % _HOUR:
            allowed = "one whose clock is changed by whole hours, where partitions are hours"
            raise ValueError(must_be("timezone", allowed, self.timezone))
        return self

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def first(self) -> str:
        """The key of the first partition."""
        return self.key_at(self._instant(datetime.combine(self.start, time.min)))

    @property
    def clock_change(self) -> timedelta:
        """The most that the zone's clock is put forward or back at once within the calendar."""
        last = max(_WRITTEN_UNTIL, self.start + _LOOKED_AHEAD)
        return _clock_change(self.timezone, self.start, min(last, self.end or last))

    @property
    def longest(self) -> timedelta:
        """No partition is longer."""
        change = timedelta(0) if self.every == "hour" else self.clock_change
        return _LONGEST[self.every] + change

    @property
    def shortest(self) -> timedelta:
        """No partition is shorter."""
        change = timedelta(0) if self.every == "hour" else self.clock_change
        return _SHORTEST[self.every] - change

    def span(self, key: str) -> Span:
        """The stretch of time that a partition key names."""
        begins = self._instant(local := self._local(key))
        if self.every == "hour":  # an hour that passes, also where the clock is put back
            return Span(begins, begins + _HOUR)
        return Span(begins, self._instant(self._step(local, 1)))

    def cover(self, keys: list[str]) -> Span:
        """The stretch of time from the first to the last of the keys."""
        spans = [self.span(key) for key in keys]
        return Span(min(s.start for s in spans), max(s.end for s in spans))

    def shift(self, key: str, by: int) -> str:
        """The key `by` partitions later (earlier if negative); may lie outside the calendar."""
        local = self._local(key)
        if self.every == "hour":
            return self.key_at(self._instant(local) + by * _HOUR)
        return self._step(local, by).strftime(KEY_FORMATS[self.every])

    def window(self, key: str, length: int) -> list[str]:
        """The `length` keys ending with `key`, without those before the first partition."""
        keys = [self.shift(key, by) for by in range(1 - length, 1)]
        return [k for k in keys if self.contains(k)]

    def contains(self, key: str) -> bool:
        begins = self._local(key).date()
        return self.start <= begins and (self.end is None or begins < self.end)

    def is_key(self, text: str) -> bool:
        """Whether a text is the key of a partition within the calendar."""
        try:
            return self.contains(text) and self.key_at(self.span(text).start) == text
        except ValueError:
            return False

    def key_at(self, instant: datetime) -> str:
        """The key of the partition that holds an instant."""
        local = instant.astimezone(self.zone)
        key = self._floor(local).strftime(KEY_FORMATS[self.every])
        # Of an hour that the clock shows twice the later one has its offset in the key.
        return f"{key}{local:%z}" if self.every == "hour" and local.fold else key

    def reach(self, lookback: timedelta) -> int:
        """How many earlier partitions a lookback can reach into."""
        return -(-lookback // self.shortest)

    def _local(self, key: str) -> datetime:
        """What the clock shows where the partition begins; with its offset where the key has it."""
        form = KEY_FORMATS[self.every]
        try:
            return datetime.strptime(key, form)
        except ValueError:
            if self.every != "hour":
                raise
            return datetime.strptime(key, f"{form}%z")

    def _instant(self, local: datetime) -> datetime:
        return (local if local.tzinfo else local.replace(tzinfo=self.zone)).astimezone(UTC)

    def _step(self, local: datetime, by: int) -> datetime:
        if self.every != "month":
            return local + by * _LONGEST[self.every]
        month = local.year * 12 + local.month - 1 + by
        return local.replace(year=month // 12, month=month % 12 + 1)

    def _floor(self, local: datetime) -> datetime:
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.every == "month":
            return midnight.replace(day=1)
        if self.every == "week":
            return midnight - timedelta(days=(midnight.weekday() + 1) % 7)
        return midnight if self.every == "day" else local.replace(minute=0, second=0, microsecond=0)


@lru_cache
def _clock_change(timezone: str, first: date, last: date) -> timedelta:
    """The most by which a zone's offset from UTC changes from one day to the next.

    But for a change of whole days, as of a country that crosses the date line.
    """
    noon, zone = datetime.combine(first, time(12)), ZoneInfo(timezone)
    days = range((last - first).days + 1)
    offsets = [zone.utcoffset(noon + timedelta(days=day)) for day in days]
    known = [offset for offset in offsets if offset is not None]
    return max((abs(b - a) % timedelta(days=1) for a, b in pairwise(known)), default=timedelta(0))


def missing_partitions(table: str, missing: list[str], select: str) -> MissingPartitionsError:
    """One error that names all missing partitions and the command that fills them."""
    first, last = min(missing), max(missing)
    which = f"--partition {first}" if first == last else f"--partition-range {first}...{last}"
    return MissingPartitionsError(
        f"{len(missing)} needed partition(s) of {table} are missing: "
        f"{', '.join(sorted(missing))}. "
        "Fill them with:\n  dagster asset materialize -m ai_assets.definitions "
        f"--select '{select}' {which}"
    )
