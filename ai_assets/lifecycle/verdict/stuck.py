"""A stuck value: a sensor, a join or a default that repeats one value where it used to vary."""

import math

import polars as pl

from ai_assets.lifecycle.drift.columns import CategoryProfile
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.tally import tally
from ai_assets.lifecycle.verdict.days import days_in
from ai_assets.lifecycle.verdict.evidence import Evidence, beyond
from ai_assets.lifecycle.verdict.sketch import COMMON, TableSketch, key_runs, longest_runs
from ai_assets.lifecycle.verdict.spec import Causes

# Even a value of nearly all rows is interrupted now and then; nearer to 1 nothing would be a run.
MOST_COMMON = 0.98
SHORTEST = 12
A_MONTH = 28
# A value of this share is the usual one; and so many other values must be missed.
RESTING, FEWEST_OTHERS = 0.9, 100


def stuck_evidence(
    frame: pl.DataFrame, table: Table, reference: TableSketch, spec: Causes
) -> list[Evidence]:
    """Columns in which one value repeats beyond the reference, one piece of evidence each.

    Of a partition of days or weeks, the reference's day or week with the most of one value counts.
    """
    if frame.height < spec.min_rows:
        return []
    days = days_in(frame, table, "UTC")
    runs, by_key = longest_runs(frame, table), key_runs(frame, table)
    found = []
    for name in table.columns:
        if name == table.time or name not in frame.columns:
            continue
        column = frame[name]
        if _rests(column, name, reference):
            continue
        evidence = (
            _constant(column, name, reference)
            or _share(column, name, reference, spec, _peak(days, name, reference))
            or _run(column, name, runs, reference.runs, spec, "")
            or _run(column, name, by_key, reference.key_runs, spec, _group(table))
        )
        if evidence is not None:
            found.append(evidence)
    return found


def _group(table: Table) -> str:
    return " of one " + " and ".join(k for k in table.key if k != table.time)


def _constant(column: pl.Series, name: str, reference: TableSketch) -> Evidence | None:
    """A column of one value, where that many rows should hold others."""
    known = column.drop_nulls()
    if len(known) < SHORTEST or known.n_unique() > 1 or reference.nulls.get(name, 1.0) == 1.0:
        return None
    before = _usual_share(known, name, reference)
    if (1 - before) * len(known) < FEWEST_OTHERS:
        return None
    words = f"{name} has one value in all rows, before in {_at_most(before)}"
    return Evidence("broken_data", "stuck", name, 1.0, RESTING, words, 1.0)


def _rests(column: pl.Series, name: str, reference: TableSketch) -> bool:
    """Whether the commonest value is what the column nearly always holds, such as no rain or no
    holiday: that it holds it for a while longer tells nothing."""
    known = column.drop_nulls()
    if not len(known):
        return True
    commonest = tally(known, sort=True)["value"].head(1)
    return _usual_share(commonest, name, reference) >= RESTING


def _usual_share(known: pl.Series, name: str, reference: TableSketch) -> float:
    """Share of the reference's known values that are the first of these; 0 if too rare to tell."""
    if known.dtype.is_numeric():
        sketch = reference.numbers.get(name)
        return sketch.common.get(repr(float(known[0])), 0.0) if sketch else 1.0
    profile = reference.profile.columns.get(name)
    if not isinstance(profile, CategoryProfile) or profile.rows == profile.missing:
        return 1.0
    word = known.head(1).cast(pl.String)[0]
    return profile.counts.get(word, 0) / (profile.rows - profile.missing)


def _peak(days: int, name: str, reference: TableSketch) -> float:
    """The most of one value that so many days of the reference hold; 0 for a month or more."""
    if not days or days >= A_MONTH or name not in reference.value_peaks:
        return 0.0
    return reference.value_peaks[name][days >= 7]


def _share(
    column: pl.Series, name: str, reference: TableSketch, spec: Causes, peak: float
) -> Evidence | None:
    """A number that holds one value far more often. Of texts that may be another mix."""
    sketch = reference.numbers.get(name)
    known = column.drop_nulls()
    if sketch is None or not column.dtype.is_numeric() or not len(known):
        return None
    counted = tally(known.cast(pl.Float64), sort=True).row(0)
    share = counted[1] / len(known)
    before = max(peak, sketch.common.get(repr(counted[0]), 0.0))
    # Among many values none is common by nature, so there less is enough.
    rare = sum(sketch.common.values()) < 0.5 and (peak or share >= 3 * before)
    limit = before + (spec.stuck_rare if rare else spec.stuck_share)
    # What was always common, such as no rain, may become more so; what was rare may not.
    if share < limit or (before > COMMON and (1 - share) > (1 - before) / 3):
        return None
    return Evidence(
        "broken_data",
        "stuck",
        name,
        share,
        limit,
        f"{name} has one value in {share:.0%} of the rows, before in {_at_most(before)}",
        beyond(share - before, limit - before),
    )


def _at_most(share: float) -> str:
    return f"{share:.0%}" if share else f"less than {COMMON:.0%}"


def _run(
    column: pl.Series,
    name: str,
    runs: dict[str, int],
    reference: dict[str, int],
    spec: Causes,
    group: str,
) -> Evidence | None:
    if name not in runs or name not in reference:
        return None
    limit = spec.stuck_run * max(reference[name], _by_chance(column), SHORTEST)
    if runs[name] < limit:
        return None
    return Evidence(
        "broken_data",
        "stuck",
        name,
        float(runs[name]),
        limit,
        f"{name} repeats one value in {runs[name]:,} successive rows{group}, "
        f"before in at most {reference[name]:,}",
        beyond(runs[name], limit),
    )


def _by_chance(column: pl.Series) -> float:
    """Length of the longest run if rows were drawn by chance, log(n (1 - p)) / log(1 / p), for the
    commonest value's share p; Schilling (1990), "The longest run of heads"."""
    known = column.drop_nulls()
    if len(known) < 2:
        return 0.0
    share = min(int(tally(known, sort=True)["rows"][0]) / len(known), MOST_COMMON)
    return max(0.0, math.log(max(len(known) * (1 - share), 1.0)) / math.log(1 / share))
