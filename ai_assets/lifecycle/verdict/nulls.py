"""Missing values where there were some, and rows that are not there at all."""

from datetime import datetime, timedelta

import polars as pl

from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.verdict.days import days_in, longest_gap, rows_a_day
from ai_assets.lifecycle.verdict.evidence import Evidence, below, beyond
from ai_assets.lifecycle.verdict.sketch import TableSketch, missing_share
from ai_assets.lifecycle.verdict.spec import Causes

# In days: tables of a few rows an hour are at times without one.
SHORTEST_GAP = 0.5
# Fewer days than this need not be days of all kinds.
A_WEEK = 7
_AN_HOUR = timedelta(hours=1)


def null_evidence(
    frame: pl.DataFrame,
    table: Table,
    reference: TableSketch,
    spec: Causes,
    *,
    timezone: str = "UTC",
) -> list[Evidence]:
    """Columns whose share of missing values rose beyond what it varies by.

    Some days are compared with the reference's worst day, a week or more with all its rows.
    """
    if frame.height < spec.min_rows:
        return []
    short = 0 < days_in(frame, table, timezone) < A_WEEK
    found = []
    for name in table.columns:
        if name not in frame.columns or name not in reference.nulls:
            continue
        before, now = reference.nulls[name], missing_share(frame[name])
        if short:
            before = max(before, reference.null_peaks.get(name, 0.0))
        rise = now - before
        if rise >= spec.nulls and _odds(now) >= spec.nulls_odds * _odds(before):
            found.append(
                Evidence(
                    "broken_data",
                    "nulls",
                    name,
                    rise,
                    spec.nulls,
                    f"{name} is missing in {now:.1%} of the rows, before in {before:.1%}",
                    beyond(rise, spec.nulls),
                )
            )
    return found


def _odds(share: float) -> float:
    kept = min(max(share, 1e-4), 1 - 1e-4)
    return kept / (1 - kept)


def volume_evidence(
    frame: pl.DataFrame,
    table: Table,
    reference: TableSketch,
    spec: Causes,
    *,
    timezone: str = "UTC",
    span: tuple[datetime, datetime] | None = None,
) -> list[Evidence]:
    """Whether far fewer rows came than the reference's days have. Judged where days have 10."""
    if span is not None and span[1] - span[0] <= _AN_HOUR:
        return _volume_of_an_hour(frame, reference, spec)
    daily = reference.daily
    if daily is None or daily < 10:
        return []
    now = rows_a_day(frame, table, timezone) or 0.0
    if span is not None:
        days = max((span[1] - span[0]).total_seconds() / 86_400, 1.0)
        now = min(now, frame.height / days)
    if days_in(frame, table, timezone) < A_WEEK and reference.quiet is not None:
        daily = min(daily, reference.quiet)
    share = now / daily if daily else 1.0
    gap = longest_gap(frame, table, span) or 0.0
    limit = spec.gap * max(reference.gap or 0.0, SHORTEST_GAP)
    if share >= spec.volume and gap > limit:
        words = f"no row for {gap:.1f} days, before for at most {reference.gap or 0.0:.1f}"
        return [Evidence("broken_data", "gap", "", gap, limit, words, beyond(gap, limit))]
    return _too_few(share, f"{now:,.0f} rows came a day, before {daily:,.0f}", spec)


def _volume_of_an_hour(frame: pl.DataFrame, reference: TableSketch, spec: Causes) -> list[Evidence]:
    """An hour is no day: against quiet hours. Judged where those have 10, for nights are empty."""
    usual = reference.quiet_hour
    if usual is None or usual < 10:
        return []
    words = f"{frame.height:,} rows came in the hour, before {usual:,.0f} in the quietest"
    return _too_few(frame.height / usual, words, spec)


def _too_few(share: float, words: str, spec: Causes) -> list[Evidence]:
    if share >= spec.volume:
        return []
    below_by = below(share, spec.volume)
    return [Evidence("broken_data", "volume", "", share, spec.volume, words, below_by)]
