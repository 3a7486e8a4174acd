"""The features of several partitions, each from its own history; small ones side by side.

A partition sees what it would see alone, whichever others are made with it. Most of what it costs
is one DuckDB query, which over few rows fills one core: so small partitions are worked on side by
side, and a large one alone, streamed, with all cores.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

import polars as pl

from ai_assets.lifecycle.features.duck import session
from ai_assets.lifecycle.features.history import (
    HELD,
    MANY_ROWS,
    clear,
    load_history,
    open_history,
)
from ai_assets.lifecycle.features.leakage import Leak, each_once, leaks_of, leaks_of_others
from ai_assets.lifecycle.features.moments import Frame
from ai_assets.lifecycle.features.query import ROW_ID, Query, batched_features
from ai_assets.lifecycle.features.trials import (
    Trial,
    asked_anywhere,
    asked_at_cuts,
    row_ids_of,
    trials_of,
)

if TYPE_CHECKING:
    import duckdb

# Two even on one core, where one is read while the other is asked; each may hold `HELD`.
SIDE_BY_SIDE = max(2, min(4, os.cpu_count() or 1))
CUTS = 4


@dataclass(frozen=True)
class Part:
    """One partition: the rows to score, and every table as far back as they may look."""

    request: Frame
    tables: Mapping[str, pl.LazyFrame]


def features_of_partitions(
    query: Query, parts: Mapping[str, Part], write: Callable[[str, pl.DataFrame], None]
) -> dict[str, list[Leak]]:
    """Hand the features of each partition to `write`, in order, and try each for leaks.

    One partition is tried at four moments; several share them, and each is tried at one at least.

    Args:
        query: what is asked.
        parts: the partitions by key.
        write: takes a partition's key and a batch of its features: `_row_id` first, in the order
            of the request.

    Returns:
        The leaks that were found, by partition.

    Raises:
        DeclarationError: the SQL is wrong, or loses or repeats rows of the request.
        DataError: a table is not as declared.
    """
    cuts = -(-CUTS // max(len(parts), 1))
    leaks: dict[str, list[Leak]] = {key: [] for key in parts}
    waiting: dict[str, list[Trial]] = {}
    beside = _Beside(query, cuts)

    def take(key: str, held: "_Held") -> None:
        batches, waiting[key], told = held
        leaks[key] += told
        for batch in batches:
            write(key, batch)
        if sum(trial.rows for of_key in waiting.values() for trial in of_key) > MANY_ROWS:
            make_trials()

    def make_trials() -> None:
        for key, found in beside.leaks_of(waiting).items():
            leaks[key] += found
        waiting.clear()

    with beside:
        for key, part in parts.items():
            rows = part.request.lazy().select(pl.len()).collect().item()
            for done in beside.those_before(rows):
                take(*done)
            if rows <= MANY_ROWS:
                beside.begin(key, part, rows)
                continue
            asked = part.tables, part.request, query.specs, query.request_table, query.sql
            with open_history(*asked) as own:
                trials, told = _stream(query, part, cuts, partial(write, key), own)
                leaks[key] += told + _leaks_one_by_one(own, query, trials)
        for done in beside.those_before(None):
            take(*done)
        make_trials()
    return leaks


# The trials that are to be made, and what leaks already where there is no time to try by.
_Tried = tuple[Iterable[Trial], list[Leak]]
_Held = tuple[list[pl.DataFrame], list[Trial], list[Leak]]


class _Beside:
    """Small partitions that are being worked on, in order, while others are being written.

    Each thread keeps its session: to open one takes as long as to load a month into it. Of one
    partition nothing is left in it when the next is loaded.
    """

    def __init__(self, query: Query, cuts: int) -> None:
        self._query, self._cuts = query, cuts
        self._waiting: deque[tuple[str, int, Future[_Held]]] = deque()
        self._sessions: SimpleQueue[duckdb.DuckDBPyConnection] = SimpleQueue()
        self._opened = 0
        self._closing = ExitStack()
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="features")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)  # its threads use the sessions
        self._closing.close()

    def begin(self, key: str, part: Part, rows: int) -> None:
        """Work on a partition of so many rows."""
        if self._opened < SIDE_BY_SIDE:
            threads = max(1, (os.cpu_count() or 1) // SIDE_BY_SIDE)
            self._sessions.put(self._closing.enter_context(session(HELD, threads=threads)))
            self._opened += 1
        self._waiting.append((key, rows, self._pool.submit(self._hold, part)))

    def those_before(self, rows: int | None) -> Iterator[tuple[str, _Held]]:
        """What must be written before one of so many rows is begun; all that is left for None.

        So what is held has never more than `MANY_ROWS` rows, nor is more of it ready than the
        threads need to go on.
        """
        while self._waiting and not self._has_room(rows):
            key, _, held = self._waiting.popleft()
            yield key, held.result()

    def _has_room(self, rows: int | None) -> bool:
        held = sum(rows for _, rows, _ in self._waiting)
        return rows is not None and len(self._waiting) <= SIDE_BY_SIDE and held + rows <= MANY_ROWS

    def leaks_of(self, trials: Mapping[str, list[Trial]]) -> dict[str, list[Leak]]:
        """What the trials of partitions find; they are made in a pile a thread."""
        keys = list(trials)
        piles = [keys[first::SIDE_BY_SIDE] for first in range(min(SIDE_BY_SIDE, len(keys)))]
        made = [
            self._pool.submit(self._make_trials, {key: trials[key] for key in pile})
            for pile in piles
        ]
        return {key: leaks for pile in made for key, leaks in pile.result().items()}

    def _make_trials(self, trials: Mapping[str, list[Trial]]) -> dict[str, list[Leak]]:
        own = self._sessions.get()
        try:
            return leaks_of(own, self._query, trials)
        finally:
            self._sessions.put(own)

    def _hold(self, part: Part) -> _Held:
        """The features of a partition and its trials; its request is read once."""
        part = Part(part.request.lazy().collect(), part.tables)
        batches: list[pl.DataFrame] = []
        query, own = self._query, self._sessions.get()
        try:
            asked = part.tables, part.request, query.specs, query.request_table, query.sql
            load_history(own, *asked)
            trials, told = _stream(query, part, self._cuts, batches.append, own)
            return batches, list(trials), told
        finally:
            clear(own)
            self._sessions.put(own)


def _leaks_one_by_one(
    own: "duckdb.DuckDBPyConnection", query: Query, trials: Iterable[Trial]
) -> list[Leak]:
    """What the trials of a large partition find, of which memory has room for one at a time."""
    leaks: list[Leak] = []
    for trial in trials:
        leaks += leaks_of(own, query, {"": [trial]})[""]
        del trial  # or it would be held while the next one is made
    return each_once(leaks)


def _stream(
    query: Query,
    part: Part,
    cuts: int,
    write: Callable[[pl.DataFrame], None],
    history: "duckdb.DuckDBPyConnection",
) -> _Tried:
    """The features of a partition, batch by batch, then its trials from the same history."""
    table = query.specs[query.request_table]
    asked = asked_at_cuts(part.request, table, query.horizon, cuts)
    anywhere = asked_anywhere(part.request, table, query.horizon) if not asked else None
    several = asked.values() if anywhere is None else [anywhere]
    ids = row_ids_of(rows[ROW_ID] for rows in several)
    honest = []
    for batch in batched_features(
        history, query.sql, part.request, table, query.horizon, query.file
    ):
        write(batch)
        honest.append(batch.filter(pl.col(ROW_ID).is_in(ids.implode())))
    if anywhere is not None:
        return [], leaks_of_others(history, query, anywhere, pl.concat(honest))
    return trials_of(history, query, asked, honest=pl.concat(honest)), []
