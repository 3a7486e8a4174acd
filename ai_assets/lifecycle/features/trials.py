"""Trials for leaks: rows at a moment, and the tables around it with what is unknown changed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.history import stretch
from ai_assets.lifecycle.features.moments import INSTANT, PREDICTION_TIME, Frame
from ai_assets.lifecycle.features.query import REQUEST, ROW_ID, Query, request_frame
from ai_assets.lifecycle.features.unknown import changed_after, with_other_late_values
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    import duckdb

Asked = Mapping[datetime, pl.DataFrame]
REACH = timedelta(days=3)


@dataclass(frozen=True, eq=False)
class Trial:
    """A cut moment, the rows that are asked about there, and what lies around it.

    Attributes:
        cut: the moment after which everything is changed.
        span: the first and the last instant that is looked at.
        asked: the rows, with their moments.
        near: the rows of every table in the span; of one without a time all of them.
        changed: the same as they might look for all that is known at the cut, and `request`.
        honest: the features of the rows over the whole history, in their order, if known.
    """

    cut: datetime
    span: tuple[datetime, datetime]
    asked: pl.DataFrame
    near: Mapping[str, pl.DataFrame]
    changed: Mapping[str, pl.DataFrame]
    honest: pl.DataFrame | None

    @property
    def rows(self) -> int:
        """How many rows it holds, as they are."""
        return sum(frame.height for frame in self.near.values())


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


def asked_anywhere(
    request: Frame, table: Table, horizon: timedelta, rows: int = 500
) -> pl.DataFrame:
    """Rows from all over the request, with their moments; half of them where there are few."""
    ids = request.lazy().select(ROW_ID).collect(engine="streaming")[ROW_ID]
    some = ids.gather_every(max(2, len(ids) // rows))
    chosen = request.lazy().filter(pl.col(ROW_ID).is_in(some.implode()))
    return request_frame(chosen.collect(engine="streaming"), table, horizon)


def row_ids_of(parts: Iterable[pl.Series]) -> pl.Series:
    """The row ids of several cuts, each once."""
    return pl.concat([pl.Series(ROW_ID, [], pl.Int64), *parts]).unique()


def trials_of(
    connection: "duckdb.DuckDBPyConnection",
    query: Query,
    asked: Asked,
    *,
    honest: pl.DataFrame | None = None,
    seed: int = 0,
    reach: timedelta = REACH,
) -> Iterator[Trial]:
    """A trial for each cut, over a history that is loaded already (see `open_history`).

    Args:
        connection: the session that holds the history. A trial does not need it any more.
        query: what is asked.
        asked: the cut moments and their rows (see `asked_at_cuts`).
        honest: the features of the rows asked about over the whole history, if they are known.
            Where those of the changed stretch are the same, nothing needs to be computed from the
            honest one.
        seed: of the changes.
        reach: how far around a cut is looked; three horizons at least.
    """
    reach = max(reach, 3 * query.horizon)
    for number, (cut, rows) in enumerate(asked.items()):
        rng = np.random.default_rng([seed, number])
        yield _trial(connection, query, rows, honest, (cut, reach), rng)


def _trial(
    connection: "duckdb.DuckDBPyConnection",
    query: Query,
    asked: pl.DataFrame,
    honest: pl.DataFrame | None,
    around: tuple[datetime, timedelta],
    rng: np.random.Generator,
) -> Trial:
    cut, reach = around
    span = (cut - reach, cut + reach)
    near = {name: stretch(connection, name, table, span) for name, table in query.specs.items()}
    changed = {name: changed_after(near[name], query.specs[name], cut, rng) for name in near}
    changed[REQUEST] = with_other_late_values(asked, query.specs[query.request_table], cut, rng)
    if honest is not None:
        honest = asked.select(ROW_ID).join(honest, on=ROW_ID, maintain_order="left")
    return Trial(cut, span, asked, near, changed, honest)


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
