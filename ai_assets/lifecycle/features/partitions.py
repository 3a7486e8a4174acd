"""The features of several partitions, each from its own history; small ones side by side.

A partition sees what it would see alone, whichever others are made with it. Most of what it costs
is one DuckDB query, which over few rows fills one core: so small partitions are worked on two at a
time, and a large one alone, streamed, with all cores.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import polars as pl

from ai_assets.lifecycle.features.history import MANY_ROWS, open_history
from ai_assets.lifecycle.features.leakage import Leak, asked_at_cuts, leaks_in, row_ids_of
from ai_assets.lifecycle.features.moments import Frame
from ai_assets.lifecycle.features.query import ROW_ID, batched_features
from ai_assets.lifecycle.schema.tables import Table

SIDE_BY_SIDE = 2
CUTS = 4


@dataclass(frozen=True)
class Query:
    """A feature query, the declared tables that it reads, and how early the answer is given."""

    sql: str
    specs: Mapping[str, Table]
    request_table: str
    horizon: timedelta
    file: str


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
    leaks = {}
    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="features") as pool:
        for group in _groups(parts):
            if len(group) == 1:
                leaks[group[0]] = _stream(
                    query, parts[group[0]], cuts, partial(write, group[0]), None
                )
                continue
            held = pool.map(partial(_hold, query, cuts), [parts[key] for key in group])
            for key, (batches, found) in zip(group, held, strict=True):
                leaks[key] = found
                for batch in batches:
                    write(key, batch)
    return leaks


def _groups(parts: Mapping[str, Part]) -> Iterator[list[str]]:
    """Neighbours that together are small enough to be held in memory; a large one is alone."""
    group: list[str] = []
    rows = 0
    for key, part in parts.items():
        height = part.request.lazy().select(pl.len()).collect().item()
        if group and rows + height > MANY_ROWS:
            yield group
            group, rows = [], 0
        group.append(key)
        rows += height
    if group:
        yield group


def _hold(query: Query, cuts: int, part: Part) -> tuple[list[pl.DataFrame], list[Leak]]:
    """The same of a small partition, whose request is read once and whose features are kept."""
    part = Part(part.request.lazy().collect(), part.tables)
    batches: list[pl.DataFrame] = []
    threads = max(1, (os.cpu_count() or 1) // SIDE_BY_SIDE)
    return batches, _stream(query, part, cuts, batches.append, threads)


def _stream(
    query: Query,
    part: Part,
    cuts: int,
    write: Callable[[pl.DataFrame], None],
    threads: int | None,
) -> list[Leak]:
    """The features of a partition, batch by batch, then the trial over the same history."""
    names = (query.specs, query.request_table)
    table = query.specs[query.request_table]
    asked = asked_at_cuts(part.request, table, query.horizon, cuts)
    ids = row_ids_of(rows[ROW_ID] for rows in asked.values())
    honest = []
    with open_history(part.tables, part.request, *names, threads=threads) as history:
        for batch in batched_features(
            history, query.sql, part.request, table, query.horizon, query.file
        ):
            write(batch)
            honest.append(batch.filter(pl.col(ROW_ID).is_in(ids.implode())))
        return leaks_in(history, query.sql, asked, *names, query.horizon, honest=pl.concat(honest))
