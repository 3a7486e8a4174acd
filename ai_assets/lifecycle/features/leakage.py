"""The proof that no feature knows too early: change what is not yet known, nothing may move."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.duck import MEMORY_LIMIT, beside
from ai_assets.lifecycle.features.history import open_history, stretch
from ai_assets.lifecycle.features.moments import INSTANT, KNOWN_AT, PREDICTION_TIME, Frame
from ai_assets.lifecycle.features.query import (
    REQUEST,
    ROW_ID,
    fetch,
    in_request_order,
    register,
    request_frame,
)
from ai_assets.lifecycle.features.sql_errors import check_one_select
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    import duckdb

Asked = Mapping[datetime, pl.DataFrame]


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
    values, and of the rows that come later a random half is removed and the others changed. The
    rows asked about are those predicted at the cut or last before it.

    What must hold in the whole history must hold in any part of it, so only the stretch of `reach`
    (or three horizons, if that is longer) before and after each cut is looked at: it is quicker.
    """
    check_one_select(sql, file)
    with open_history(
        tables, request, specs, request_table, sql, memory_limit=memory_limit
    ) as connection:
        asked = asked_at_cuts(request, specs[request_table], horizon, cuts, rows_per_cut)
        return leaks_in(
            connection,
            sql,
            asked,
            specs,
            request_table,
            horizon,
            seed=seed,
            reach=reach,
            file=file,
        )


def asked_at_cuts(
    request: Frame, table: Table, horizon: timedelta, cuts: int = 4, rows_per_cut: int = 500
) -> Asked:
    """For each cut moment the rows that are asked about, with their moments."""
    times = _prediction_times(request, table, horizon)
    moments = _cut_moments(times, cuts)
    nearest = {cut: _nearest(times, cut, rows_per_cut)[ROW_ID] for cut in moments}
    if not nearest:
        return {}
    ids = row_ids_of(nearest.values())
    rows = request.lazy().filter(pl.col(ROW_ID).is_in(ids.implode())).collect(engine="streaming")
    rows = request_frame(rows, table, horizon)
    return {
        cut: wanted.to_frame().join(rows, on=ROW_ID, maintain_order="left")
        for cut, wanted in nearest.items()
    }


def row_ids_of(parts: Iterable[pl.Series]) -> pl.Series:
    """The row ids of several cuts, each once."""
    return pl.concat([pl.Series(ROW_ID, [], pl.Int64), *parts]).unique()


def leaks_in(
    connection: "duckdb.DuckDBPyConnection",
    sql: str,
    asked: Asked,
    specs: Mapping[str, Table],
    request_table: str,
    horizon: timedelta,
    *,
    honest: pl.DataFrame | None = None,
    seed: int = 0,
    reach: timedelta = timedelta(days=3),
    file: str = "features.sql",
) -> list[Leak]:
    """As `leaking_features`, over a history that is loaded already (see `open_history`).

    Args:
        asked: the cut moments and their rows (see `asked_at_cuts`).
        honest: the features of the rows asked about over the whole history, if they are known.
            Where those of the changed stretch are the same, nothing needs to be computed from the
            honest one.
    """
    world = _World(sql, specs, request_table, max(reach, 3 * horizon), file)

    found: dict[str, Leak] = {}
    with beside(connection) as cursor:
        for number, (cut, rows) in enumerate(asked.items()):
            rng = np.random.default_rng([seed, number])
            for leak in _leaks_at(cursor, world, cut, rows, honest, rng):
                found.setdefault(leak.feature, leak)
    return list(found.values())


@dataclass(frozen=True)
class _World:
    """What is the same at every cut."""

    sql: str
    specs: Mapping[str, Table]
    request_table: str
    reach: timedelta
    file: str


def _leaks_at(
    cursor: "duckdb.DuckDBPyConnection",
    world: _World,
    cut: datetime,
    asked: pl.DataFrame,
    known: pl.DataFrame | None,
    rng: np.random.Generator,
) -> list[Leak]:
    span = (cut - world.reach, cut + world.reach)
    near = {name: stretch(cursor, name, table, span) for name, table in world.specs.items()}
    changed = {
        name: _changed_after(frame, world.specs[name], cut, rng) for name, frame in near.items()
    }
    changed[REQUEST] = _with_other_late_values(asked, world.specs[world.request_table], cut, rng)
    other = _features(cursor, world, changed, asked[ROW_ID])
    if known is not None and other.columns == known.columns:
        expected = asked.select(ROW_ID).join(known, on=ROW_ID, maintain_order="left")
        if expected.equals(other.cast(expected.schema)):
            return []
    return _moved(_features(cursor, world, {**near, REQUEST: asked}, asked[ROW_ID]), other, cut)


def _features(
    cursor: "duckdb.DuckDBPyConnection",
    world: _World,
    frames: Mapping[str, Frame],
    row_ids: pl.Series,
) -> pl.DataFrame:
    """The features over these frames; on a cursor they hide the loaded tables of their names."""
    register(cursor, frames)
    return in_request_order(fetch(cursor, world.sql, world.file), row_ids, world.file)


def _prediction_times(request: Frame, table: Table, horizon: timedelta) -> pl.DataFrame:
    """`_row_id` and `prediction_time` of every request row; no rows where there is no time."""
    if PREDICTION_TIME in request.collect_schema():
        moment = pl.col(PREDICTION_TIME)
    elif table.time is not None:
        moment = pl.col(table.time).cast(INSTANT) - horizon
    else:
        return pl.DataFrame(schema={ROW_ID: pl.Int64, PREDICTION_TIME: INSTANT})
    return request.lazy().select(ROW_ID, moment.alias(PREDICTION_TIME)).collect(engine="streaming")


def _cut_moments(rows: pl.DataFrame, cuts: int) -> list[datetime]:
    """Moments at even ranks of the prediction times: busy days are sampled more."""
    times = rows[PREDICTION_TIME].drop_nulls().sort()
    ranks = [(i + 1) * len(times) // (cuts + 1) for i in range(cuts)]
    return sorted({times[min(rank, len(times) - 1)] for rank in ranks}) if len(times) else []


def _nearest(rows: pl.DataFrame, cut: datetime, limit: int) -> pl.DataFrame:
    past = rows.filter(pl.col(PREDICTION_TIME) <= pl.lit(cut, INSTANT))
    last = past.top_k(limit, by=[PREDICTION_TIME, ROW_ID], reverse=[False, True])
    return last.sort([PREDICTION_TIME, ROW_ID], descending=[True, False])


def _changed_after(
    frame: pl.DataFrame, table: Table, cut: datetime, rng: np.random.Generator
) -> pl.DataFrame:
    """The frame as it might look, for all that is known at the cut."""
    frame = _with_other_late_values(frame, table, cut, rng)
    if KNOWN_AT not in frame.columns:
        return frame
    known = (pl.col(KNOWN_AT) <= pl.lit(cut, INSTANT)).fill_null(False)
    later = frame.select(~known).to_series()
    removed = _random_half(later, rng)
    frame, later = frame.filter(~removed), later.filter(~removed)
    keep = {KNOWN_AT, ROW_ID, table.time, *table.key}
    values = [n for n in table.columns if n in frame.columns and n not in keep]
    return frame.with_columns([_others(frame[name], later, rng) for name in values])


def _random_half(where: pl.Series, rng: np.random.Generator) -> pl.Series:
    """True at half of the places where `where` is, rounded up."""
    places = rng.permutation(np.flatnonzero(where.to_numpy()))
    chosen = np.zeros(len(where), dtype=bool)
    chosen[places[: (len(places) + 1) // 2]] = True
    return pl.Series(chosen, dtype=pl.Boolean)


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
        known = values.fill_null(strategy="forward").fill_null(strategy="backward")
        other = known + step if values.null_count() < rows else values
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
