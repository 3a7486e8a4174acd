"""A table as it might look for all that is known at a moment: what is not yet known, changed."""

from datetime import datetime

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.moments import INSTANT, KNOWN_AT
from ai_assets.lifecycle.features.query import ROW_ID
from ai_assets.lifecycle.schema.tables import Table


def changed_after(
    frame: pl.DataFrame, table: Table, cut: datetime, rng: np.random.Generator
) -> pl.DataFrame:
    """The frame as it might look, for all that is known at the cut."""
    frame = with_other_late_values(frame, table, cut, rng)
    if KNOWN_AT not in frame.columns:
        return frame
    known = (pl.col(KNOWN_AT) <= pl.lit(cut, INSTANT)).fill_null(False)
    later = frame.select(~known).to_series()
    removed = _random_half(later, rng)
    frame, later = frame.filter(~removed), later.filter(~removed)
    keep = {KNOWN_AT, ROW_ID, table.time, *table.key}
    values = [n for n in table.columns if n in frame.columns and n not in keep]
    return frame.with_columns([others_where(frame[name], later, rng) for name in values])


def _random_half(where: pl.Series, rng: np.random.Generator) -> pl.Series:
    """True at half of the places where `where` is, rounded up."""
    places = rng.permutation(np.flatnonzero(where.to_numpy()))
    chosen = np.zeros(len(where), dtype=bool)
    chosen[places[: (len(places) + 1) // 2]] = True
    return pl.Series(chosen, dtype=pl.Boolean)


def with_other_late_values(
    frame: pl.DataFrame, table: Table, cut: datetime, rng: np.random.Generator
) -> pl.DataFrame:
    """Late values that are not known at the cut become others, known at another later moment."""
    for name in table.late_columns:
        moment = f"{name}_{KNOWN_AT}"
        known = (pl.col(moment) <= pl.lit(cut, INSTANT)).fill_null(False)
        unknown = ~frame.select(known).to_series()
        later = _later_moments(frame.height, cut, rng)
        frame = frame.with_columns(
            others_where(frame[name], unknown, rng),
            pl.when(unknown).then(later).otherwise(pl.col(moment)).alias(moment),
        )
    return frame


def _later_moments(rows: int, cut: datetime, rng: np.random.Generator) -> pl.Series:
    """Moments after the cut; one in ten is never."""
    microseconds = rng.integers(1, 12 * 3600 * 10**6, rows)
    offsets = pl.Series("later", microseconds).cast(pl.Duration("us"))
    moments = pl.Series([cut], dtype=INSTANT).new_from_index(0, rows) + offsets
    never = pl.Series(rng.random(rows) < 0.1)
    return pl.select(pl.when(~never).then(moments)).to_series()


def others_where(values: pl.Series, where: pl.Series, rng: np.random.Generator) -> pl.Series:
    """The series with other random values where asked; every type that a table may have."""
    rows, dtype = len(values), values.dtype
    if dtype == pl.Boolean:
        other = ~values.fill_null(bool(rng.integers(2)))
    elif dtype.is_integer() or dtype.is_float():
        noise = pl.Series(rng.integers(100, 1000, rows)).cast(dtype)
        other = values.fill_null(0) + noise
    elif dtype.is_temporal():
        step = pl.Series(rng.integers(1, 30, rows) * 86_400_000_000).cast(pl.Duration("us"))
        known = values.fill_null(strategy="forward").fill_null(strategy="backward")
        other = known + step if values.null_count() < rows else values
    else:
        other = pl.Series([f"other {n}" for n in rng.integers(0, 50, rows)], dtype=pl.String)
    chosen = pl.when(where).then(other.cast(dtype)).otherwise(values)
    return pl.select(chosen.alias(values.name)).to_series()
