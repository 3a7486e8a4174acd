"""A shifted clock: the same events at other hours, or in another partition's time."""

from datetime import datetime

import numpy as np
import polars as pl

from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.verdict.days import days_in
from ai_assets.lifecycle.verdict.evidence import Evidence, beyond
from ai_assets.lifecycle.verdict.sketch import Clock, TableSketch, clock_of, correlation, numbers_of
from ai_assets.lifecycle.verdict.spec import Causes

# A histogram flatter than this (its standard deviation over its mean) has no hours to know it by.
FLATTEST = 0.1
DAYS_OF_ALL_KINDS = 7
# Numbers hardly change from hour to hour, so the day's course tells only larger shifts.
SMALLEST_BY_COURSE = 3


def clock_evidence(
    frame: pl.DataFrame,
    table: Table,
    reference: TableSketch,
    spec: Causes,
    *,
    timezone: str = "UTC",
    span: tuple[datetime, datetime] | None = None,
) -> list[Evidence]:
    """Whether the table's times are shifted.

    Args:
        timezone: the zone that the reference was sketched in. In UTC daylight saving moves people's
            habits by an hour, so there a shift of one hour is not judged.
        span: start and end of the partition; times outside of it are evidence.
    """
    if table.time is None or reference.clock is None or frame.height < spec.min_rows:
        return []
    now = clock_of(frame, table, timezone, fewest=1)
    if now is None:
        return []
    least = 2 if timezone == "UTC" else 1
    days = days_in(frame, table, timezone)
    strict = spec
    if days < DAYS_OF_ALL_KINDS:
        # One day has its own hours, a Sunday's or a storm's: only what is plain is a shift.
        plain = {"clock_same": max(0.9, spec.clock_same), "clock_gain": max(0.5, spec.clock_gain)}
        strict = spec.model_copy(update=plain)
    found = [_outside(frame, table.time, span, spec)] if span else []
    found.append(_minutes(table.time, reference.clock, now))
    hour = _hours(table.time, reference.clock, now, strict, least)
    if hour is None and days >= DAYS_OF_ALL_KINDS:
        hour = _courses(table.time, reference.clock, now, spec)
    return [e for e in (*found, hour) if e is not None]


def _outside(
    frame: pl.DataFrame, time: str, span: tuple[datetime, datetime], spec: Causes
) -> Evidence | None:
    known = frame[time].drop_nulls()
    inside = int(known.is_between(*span, closed="left").sum() or 0)
    share = 1 - inside / max(len(known), 1)
    if share <= spec.outside:
        return None
    return Evidence(
        "broken_data",
        "clock",
        time,
        share,
        spec.outside,
        f"{time} lies outside the partition in {share:.1%} of the rows",
        beyond(share, spec.outside),
    )


def shift_of(before: np.ndarray, now: np.ndarray) -> tuple[int, float, float]:
    """The circular shift by which `now` [n] follows `before` [n] best, and two correlations.

    Returns:
        Steps to the later (-n/2 to n/2), the correlation once shifted back, and without.
    """
    size = len(before)
    scores = [correlation(before, np.roll(now, -step)) for step in range(size)]
    best = int(np.argmax(scores))
    step = best if best <= size // 2 else best - size
    return step, scores[best], scores[0]


def _hours(time: str, before: Clock, now: Clock, spec: Causes, least: int) -> Evidence | None:
    one, other = np.array(before.hours, float), np.array(now.hours, float)
    if not one.sum() or not other.sum() or min(_unevenness(one), _unevenness(other)) < FLATTEST:
        return None
    step, same, as_is = shift_of(one, other)
    if abs(step) < least or not _believed(same, as_is, step, spec):
        return None
    return _shifted(time, step, same, as_is, spec, "events fall at other hours")


def _courses(time: str, before: Clock, now: Clock, spec: Causes) -> Evidence | None:
    """The day's course of all numbers together: each has its own shape, all shift alike."""
    names = [n for n in before.courses if n in now.courses]
    if not names:
        return None
    pairs = [(numbers_of(before.courses[n]), numbers_of(now.courses[n])) for n in names]
    # Numbers without a course are noise around 0, and weigh little by their own size.
    scores = []
    for step in range(24):
        one = np.concatenate([a for a, _ in pairs])
        other = np.concatenate([np.roll(b, -step) for _, b in pairs])
        scores.append(correlation(one, other))
    best = int(np.argmax(scores))
    step = best if best <= 12 else best - 24
    # A season changes the size of a course, so less of it need be the same.
    near = spec.model_copy(update={"clock_same": spec.clock_same - 0.1})
    if abs(step) < SMALLEST_BY_COURSE or not _believed(scores[best], scores[0], step, near):
        return None
    why = f"the day's course of {', '.join(names[:3])} is shifted"
    return _shifted(time, step, scores[best], scores[0], spec, why)


def _believed(same: float, as_is: float, step: int, spec: Causes) -> bool:
    # A shape shifted by an hour still resembles itself: there the gain is judged by what is lost.
    if same < spec.clock_same:
        return False
    gained = same - as_is
    return gained >= spec.clock_gain or (abs(step) <= 2 and same >= 0.97 and as_is <= 0.92)


def _shifted(time: str, step: int, same: float, as_is: float, spec: Causes, why: str) -> Evidence:
    gained = same - as_is
    way = "later" if step > 0 else "earlier"
    return Evidence(
        "broken_data",
        "clock",
        time,
        gained,
        spec.clock_gain,
        f"{time} looks shifted by {abs(step)} hour{'s' * (abs(step) > 1)} to {way}: {why} "
        f"(correlation {as_is:.2f}, {same:.2f} once shifted back)",
        beyond(gained, spec.clock_gain),
    )


def _minutes(time: str, before: Clock, now: Clock) -> Evidence | None:
    """Times that kept to some minutes of the hour and now fall on others."""
    one, other = np.array(before.minutes, float), np.array(now.minutes, float)
    if not one.sum() or not other.sum():
        return None
    used = one > 0
    strange = float(other[~used].sum() / other.sum())
    if used.sum() > 6 or strange < 0.5:
        return None
    return Evidence(
        "broken_data",
        "clock",
        time,
        strange,
        0.5,
        f"{time} falls on other minutes of the hour than before in {strange:.0%} of the rows",
        beyond(strange, 0.5),
    )


def _unevenness(counts: np.ndarray) -> float:
    return float(counts.std() / counts.mean()) if counts.mean() > 0 else 0.0
