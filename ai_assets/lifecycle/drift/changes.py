"""What has changed most about items, in the words of who looks at them."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift.columns import CategoryProfile, NumberProfile, floats
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.lifecycle.tally import tally

MOST_NAMED = 3
LEAST_SHIFT = 0.25
"""In standard deviations of the reference; below it nobody sees a difference."""
LEAST_SHARE = 0.05


def changes(reference: Profile, rows: pl.DataFrame, ways: Mapping[str, tuple[str, str]]) -> str:
    """What changed most, the most first; empty where nothing did.

    Args:
        reference: profile of the numbers about items.
        rows: the same numbers of items now [n].
        ways: of each number what is said where it is less, and where it is more; categories are
            told by the one that gained most.
    """
    found: list[tuple[float, str]] = []
    for name, (less, more) in ways.items():
        column = reference.columns.get(name)
        if name not in rows.columns or column is None:
            continue
        if isinstance(column, CategoryProfile):
            found += _gained(name, column, rows[name])
        else:
            found += _moved(name, column, rows[name], less, more)
    found.sort(key=lambda each: -each[0])
    return ", ".join(words for _, words in found[:MOST_NAMED])


def _moved(
    name: str, column: NumberProfile, values: pl.Series, less: str, more: str
) -> list[tuple[float, str]]:
    seen = floats(values)
    seen = seen[~np.isnan(seen)]
    if column.mean is None or not len(seen):
        return []
    now = float(seen.mean())
    # Of what never varied any change is one; a thousandth is none of rounding.
    shift = (now - column.mean) / max(column.std or 0.0, 1e-3 * abs(column.mean), 1e-3)
    if abs(shift) < LEAST_SHIFT:
        return []
    return [(abs(shift), f"{more if shift > 0 else less} ({name} {column.mean:.2g} → {now:.2g})")]


def _gained(name: str, column: CategoryProfile, values: pl.Series) -> list[tuple[float, str]]:
    known = column.rows - column.missing
    counts = dict(tally(values.drop_nulls()).iter_rows())
    rows = sum(counts.values())
    if not known or not rows:
        return []
    gains = {c: n / rows - column.counts.get(c, 0) / known for c, n in counts.items()}
    gained = max(sorted(gains), key=lambda category: gains[category])
    if gains[gained] < LEAST_SHARE:
        return []
    before = column.counts.get(gained, 0) / known
    words = f"more of {gained} ({name} {before:.0%} → {counts[gained] / rows:.0%})"
    # A share moves by its own standard deviation; of one that was nothing, by that of few rows.
    spread = max((before * (1 - before)) ** 0.5, 0.1)
    return [(gains[gained] / spread, words)]
