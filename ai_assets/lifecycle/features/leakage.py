"""The proof that no feature knows too early: change what is not yet known, nothing may move.

Nor may a feature know other rows of `request`: those of a partition are asked about long after each
other, and a server is asked about one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.duck import MEMORY_LIMIT, beside
from ai_assets.lifecycle.features.history import open_history
from ai_assets.lifecycle.features.moments import Frame
from ai_assets.lifecycle.features.query import (
    REQUEST,
    ROW_ID,
    Query,
    fetch,
    in_request_order,
    register,
)
from ai_assets.lifecycle.features.sql_errors import check_one_select
from ai_assets.lifecycle.features.trials import REACH, Trial, asked_at_cuts, trials_of
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    import duckdb

# A query over several stretches costs little more than over one, for it is planned once; one that
# compares each row with every other costs more, so they are not too many.
TOGETHER = 6


@dataclass(frozen=True)
class Leak:
    """A feature that moved when what was not yet known was changed.

    Attributes:
        feature: its name.
        cut: the moment after which everything was changed; None of rows without a time.
        rows: how many of the sampled rows moved.
        example: `_row_id` of one of them.
        of_others: whether it moved when only other rows of `request` were left out.
    """

    feature: str
    cut: datetime | None
    rows: int
    example: int
    of_others: bool = False


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
    reach: timedelta = REACH,
    memory_limit: str = MEMORY_LIMIT,
    file: str = "features.sql",
) -> list[Leak]:
    """The features that depend on something not known by the row's `prediction_time`.

    At each cut moment the values that are not known by then are changed: late columns get other
    values, and of the rows that come later a random half is removed and the others changed. The
    rows asked about are those predicted at the cut or last before it. Then half of them are asked
    about without the others.

    What must hold in the whole history must hold in any part of it, so only the stretch of `reach`
    (or three horizons, if that is longer) before and after each cut is looked at: it is quicker.
    """
    check_one_select(sql, file)
    with open_history(
        tables, request, specs, request_table, sql, memory_limit=memory_limit
    ) as connection:
        asked = asked_at_cuts(request, specs[request_table], horizon, cuts, rows_per_cut)
        query = Query(sql, specs, request_table, horizon, file)
        trials = list(trials_of(connection, query, asked, seed=seed, reach=reach))
        return leaks_of(connection, query, {"": trials})[""]


def leaks_of(
    connection: "duckdb.DuckDBPyConnection", query: Query, trials: Mapping[str, Sequence[Trial]]
) -> dict[str, list[Leak]]:
    """What the trials of each partition find, each feature once.

    Trials whose stretches lie apart are first made together, in one query. Where the rows have
    their honest features nothing leaks; where they have not, for whatever reason, the trial is
    made alone.

    A query that looks ahead without end sees later stretches too. Whether there is anything later
    at all may then look as it should though it would not alone, but not in the last stretch of a
    group. So where any trial finds a leak, all are made alone.

    Args:
        connection: any session; what is loaded there is not looked at.
        query: what is asked.
        trials: of each partition.
    """
    every = [trial for of_key in trials.values() for trial in of_key]
    with beside(connection) as cursor:
        cleared = {
            trial for group in _groups(every) for trial in _cleared_together(cursor, query, group)
        }
        found = {t: _leaks_alone(cursor, query, t) for t in every if t not in cleared}
        if any(found.values()):
            found |= {trial: _leaks_alone(cursor, query, trial) for trial in cleared}
    return {
        key: each_once(leak for trial in of_key for leak in found.get(trial, []))
        for key, of_key in trials.items()
    }


def leaks_of_others(
    history: "duckdb.DuckDBPyConnection", query: Query, asked: pl.DataFrame, honest: pl.DataFrame
) -> list[Leak]:
    """What moves where some rows are asked about without the others.

    Of rows without a time nothing comes later, so that is all there is to try.

    Args:
        history: the session that holds it.
        query: what is asked.
        asked: the rows, with their moments.
        honest: their features where all rows of the partition are asked about.
    """
    with beside(history) as cursor:
        without = _features(cursor, query, {REQUEST: asked}, asked[ROW_ID])
    expected = asked.select(ROW_ID).join(honest, on=ROW_ID, maintain_order="left")
    return _of_others(expected, without, None)


def each_once(leaks: Iterable[Leak]) -> list[Leak]:
    """The first leak of each feature."""
    found: dict[str, Leak] = {}
    for leak in leaks:
        found.setdefault(leak.feature, leak)
    return list(found.values())


def _groups(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials with honest features in groups whose spans lie apart."""
    groups: list[list[Trial]] = []
    for trial in trials:
        if trial.honest is None:
            continue
        fitting = (group for group in groups if _fits(trial, group))
        group = next(fitting, None)
        if group is None:
            groups.append([trial])
        else:
            group.append(trial)
    return groups


def _fits(trial: Trial, group: Sequence[Trial]) -> bool:
    (first, last) = trial.span
    apart = all(last < other.span[0] or other.span[1] < first for other in group)
    return apart and len(group) < TOGETHER


def _cleared_together(
    cursor: "duckdb.DuckDBPyConnection", query: Query, group: Sequence[Trial]
) -> list[Trial]:
    """Those of the trials whose rows have their honest features while all are changed."""
    import duckdb

    ids = pl.concat([trial.asked[ROW_ID] for trial in group])
    frames = _frames_together(query.specs, group)
    if len(group) < 2 or frames is None or ids.n_unique() < len(ids):
        return []
    try:
        found = _features(cursor, query, frames, ids)
    except DeclarationError:
        return []  # a join that repeats no rows within a stretch may do so over several
    except duckdb.OutOfMemoryException:
        return []  # a join of each row with every other is smaller within a stretch
    cleared, first = [], 0
    for trial in group:
        if _is_honest(found.slice(first, trial.asked.height), trial):
            cleared.append(trial)
        first += trial.asked.height
    return cleared


def _frames_together(
    specs: Mapping[str, Table], group: Sequence[Trial]
) -> dict[str, pl.DataFrame] | None:
    """Their changed stretches as one; None where a table without a time is not one and the same."""
    frames = {REQUEST: pl.concat([trial.changed[REQUEST] for trial in group])}
    for name, table in specs.items():
        given = [trial.changed[name] for trial in group]
        if table.time is not None:
            frames[name] = pl.concat(given)
        elif all(given[0].equals(other) for other in given[1:]):
            frames[name] = given[0]
        else:
            return None
    return frames


def _leaks_alone(cursor: "duckdb.DuckDBPyConnection", query: Query, trial: Trial) -> list[Leak]:
    ids = trial.asked[ROW_ID]
    other = _features(cursor, query, trial.changed, ids)
    if _is_honest(other, trial):
        return []
    near = _features(cursor, query, {**trial.near, REQUEST: trial.asked}, ids)
    some = trial.asked.gather_every(2)
    without = _features(cursor, query, {**trial.near, REQUEST: some}, some[ROW_ID])
    return _moved(near, other, trial.cut) + _of_others(near.gather_every(2), without, trial.cut)


def _of_others(honest: pl.DataFrame, without: pl.DataFrame, cut: datetime | None) -> list[Leak]:
    return [replace(leak, of_others=True) for leak in _moved(honest, without, cut)]


def _is_honest(found: pl.DataFrame, trial: Trial) -> bool:
    """Whether these features of a trial's rows are those over the whole history."""
    honest = trial.honest
    if honest is None or found.columns != honest.columns:
        return False
    return honest.equals(found.cast(honest.schema))


def _features(
    cursor: "duckdb.DuckDBPyConnection",
    query: Query,
    frames: Mapping[str, Frame],
    row_ids: pl.Series,
) -> pl.DataFrame:
    """The features over these frames; on a cursor they hide the loaded tables of their names."""
    register(cursor, frames)
    return in_request_order(fetch(cursor, query.sql, query.file), row_ids, query.file)


def _moved(honest: pl.DataFrame, other: pl.DataFrame, cut: datetime | None) -> list[Leak]:
    leaks = []
    for name in honest.columns[1:]:
        differs = honest[name].ne_missing(other[name])
        if moved := int(differs.sum()):
            leaks.append(Leak(name, cut, moved, int(honest[ROW_ID].filter(differs)[0])))
    return leaks
