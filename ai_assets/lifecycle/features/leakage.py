"""The proof that no feature knows too early: change what is not yet known, nothing may move."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.duck import MEMORY_LIMIT, session
from ai_assets.lifecycle.features.moments import (
    INSTANT,
    KNOWN_AT,
    PREDICTION_TIME,
    Frame,
)
from ai_assets.lifecycle.features.query import (
    REQUEST,
    ROW_ID,
    fetch,
    history_frames,
    in_request_order,
    register,
    request_frame,
)
from ai_assets.lifecycle.features.sql_errors import check_one_select
from ai_assets.lifecycle.schema.tables import Table

_VARIANTS = ("removed", "changed")


@dataclass(frozen=True)
class Leak:
    """A feature that moved when what was not yet known was changed.

    Attributes:
        feature: its name.
        cut: the moment after which everything was changed.
        rows: how many of the sampled rows moved.
        example: `_row_id` of one of them.
    """

    feature: str
    cut: datetime
    rows: int
    example: int


def leaking_features(
    sql: str,
    request: Frame,
    tables: Mapping[str, Frame],
    specs: Mapping[str, Table],
    request_table: str,
    horizon: timedelta,
    *,
    cuts: int = 4,
    rows_per_cut: int = 500,
    seed: int = 0,
    reach: timedelta = timedelta(days=3),
    memory_limit: str = MEMORY_LIMIT,
    file: str = "features.sql",
) -> list[Leak]:
    """The features that depend on something not known by the row's `prediction_time`.

    At each cut moment the values that are not known by then are changed: late columns get other
    values, and rows that come later are removed in one variant and changed in another. The rows
    asked about are those predicted at the cut or last before it.

    What must hold in the whole history must hold in any part of it, so only the stretch of `reach`
    (or three horizons, if that is longer) before and after each cut is looked at: it is quicker.
    """
    check_one_select(sql, file)
    rows = request_frame(request, specs[request_table], horizon)
    history = {
        name: frame.collect() if isinstance(frame, pl.LazyFrame) else frame
        for name, frame in history_frames(tables, rows, specs, request_table).items()
    }
    rng = np.random.default_rng(seed)
    reach = max(reach, 3 * horizon)
    found: dict[str, Leak] = {}
    with session(memory_limit) as connection:
        for cut in _cut_moments(rows, cuts):
            asked = _nearest(rows, cut, rows_per_cut)
            near = {n: _stretch(f, specs[n], cut, reach) for n, f in history.items()}
            register(connection, {**near, REQUEST: asked})
            honest = in_request_order(fetch(connection, sql, file), asked[ROW_ID], file)
            for variant in _VARIANTS:
                changed = {
                    name: _changed_after(frame, specs[name], cut, variant, rng)
                    for name, frame in near.items()
                }
                changed[REQUEST] = _with_other_late_values(asked, specs[request_table], cut, rng)
                register(connection, changed)
                other = in_request_order(fetch(connection, sql, file), asked[ROW_ID], file)
                for leak in _moved(honest, other, cut):
                    found.setdefault(leak.feature, leak)
    return list(found.values())


def _cut_moments(rows: pl.DataFrame, cuts: int) -> list[datetime]:
    """Moments at even ranks of the prediction times: busy days are sampled more."""
    if PREDICTION_TIME not in rows.columns or rows.is_empty():
        return []
    times = rows[PREDICTION_TIME].drop_nulls().sort()
    ranks = [(i + 1) * len(times) // (cuts + 1) for i in range(cuts)]
    return sorted({times[min(rank, len(times) - 1)] for rank in ranks})


def _nearest(rows: pl.DataFrame, cut: datetime, limit: int) -> pl.DataFrame:
    past = rows.filter(pl.col(PREDICTION_TIME) <= pl.lit(cut, INSTANT))
    return past.sort([PREDICTION_TIME, ROW_ID], descending=[True, False]).head(limit)


def _stretch(frame: pl.DataFrame, table: Table, cut: datetime, reach: timedelta) -> pl.DataFrame:
    if table.time is None:
        return frame
    time = pl.col(table.time).cast(INSTANT)
    first, last = pl.lit(cut - reach, INSTANT), pl.lit(cut + reach, INSTANT)
    return frame.filter(time >= first, time <= last)


def _changed_after(
    frame: pl.DataFrame, table: Table, cut: datetime, variant: str, rng: np.random.Generator
) -> pl.DataFrame:
    frame = _with_other_late_values(frame, table, cut, rng)
    if KNOWN_AT not in frame.columns:
        return frame
    known = (pl.col(KNOWN_AT) <= pl.lit(cut, INSTANT)).fill_null(False)
    if variant == "removed":
        return frame.filter(known)
    later = ~frame.select(known).to_series()
    keep = {KNOWN_AT, ROW_ID, table.time, *table.key}
    values = [n for n in table.columns if n in frame.columns and n not in keep]
    return frame.with_columns([_others(frame[name], later, rng) for name in values])


def _with_other_late_values(
    frame: pl.DataFrame, table: Table, cut: datetime, rng: np.random.Generator
) -> pl.DataFrame:
    """Late values that are not known at the cut become others, known at another later moment."""
    for name in table.late_columns:
        moment = f"{name}_{KNOWN_AT}"
        known = (pl.col(moment) <= pl.lit(cut, INSTANT)).fill_null(False)
        unknown = ~frame.select(known).to_series()
        later = _later_moments(frame.height, cut, rng)
        frame = frame.with_columns(
            _others(frame[name], unknown, rng),
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


def _others(values: pl.Series, where: pl.Series, rng: np.random.Generator) -> pl.Series:
    """The series with other random values where asked; every type that a table may have."""
    rows, dtype = len(values), values.dtype
    if dtype == pl.Boolean:
        other = ~values.fill_null(bool(rng.integers(2)))
    elif dtype.is_integer() or dtype.is_float():
        noise = pl.Series(rng.integers(100, 1000, rows)).cast(dtype)
        other = values.fill_null(0) + noise
    elif dtype.is_temporal():
        step = pl.Series(rng.integers(1, 30, rows) * 86_400_000_000).cast(pl.Duration("us"))
        other = (
            (values.fill_null(strategy="forward").fill_null(datetime(2000, 1, 1)) + step)
            if values.null_count() < rows
            else values
        )
    else:
        other = pl.Series([f"other {n}" for n in rng.integers(0, 50, rows)], dtype=pl.String)
    chosen = pl.when(where).then(other.cast(dtype)).otherwise(values)
    return pl.select(chosen.alias(values.name)).to_series()


def _moved(honest: pl.DataFrame, other: pl.DataFrame, cut: datetime) -> list[Leak]:
    leaks = []
    for name in honest.columns[1:]:
        differs = honest[name].ne_missing(other[name])
        if moved := int(differs.sum()):
            leaks.append(Leak(name, cut, moved, int(honest[ROW_ID].filter(differs)[0])))
    return leaks
