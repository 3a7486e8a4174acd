"""How long the record of a server is kept: what is older leaves it, once the lake has it.

`AI_ASSETS_LOG_DAYS` says so; without it nothing leaves. Rows without an event time are of no
partition, so the lake never gets them, and age alone decides; so it does for counts of requests.
"""

import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.serving.record.answers import Aged, Told
from ai_assets.serving.record.decode import moment
from ai_assets.serving.record.store import Store

SETTING = "AI_ASSETS_LOG_DAYS"
# What tells one outcome from another.
OF_AN_OUTCOME = ["told_at", "prediction_id", "entity"]
_DAY_US = 86_400_000_000
# Requests or outcomes for which the lake is asked at once.
_AT_ONCE = 20_000


def oldest_kept(now_us: int | None = None) -> int | None:
    """The moment before which records may go, microseconds since 1970; None: all stay.

    Raises:
        DataError: the setting is no whole number of days.
    """
    given = os.environ.get(SETTING, "")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and int(given) > 0):
        raise DataError(must_be(SETTING, "a whole number of days, at least 1", given))
    now = time.time_ns() // 1000 if now_us is None else now_us
    return max(0, now - int(given) * _DAY_US)


def forget_answers(store: Store, served: pl.LazyFrame, before_us: int) -> int:
    """Delete the old requests whose rows are all in the lake; returns how many requests.

    Args:
        store: the log.
        served: the lake's table, all partitions.
        before_us: from this moment of the clock on all is kept, microseconds since 1970.
    """
    count = 0
    for aged in _batches(store.aged(before_us)):
        ids = [entry.request_id for entry in aged if entry.event_from is None]
        ids += _brought([entry for entry in aged if entry.event_from is not None], served)
        store.forget(ids, [])
        count += len(ids)
    store.forget_counts(before_us)
    return count


def forget_outcomes(store: Store, feedback: pl.LazyFrame, before_us: int) -> int:
    """Delete the old outcomes that are in the lake; returns how many. Arguments as above."""
    count = 0
    for aged in _batches(store.aged_outcomes(before_us)):
        there = _outcomes(feedback, [told.at_us for _, told in aged])
        numbers = [number for number, told in aged if told.event_us is None or _of(told) in there]
        store.forget([], numbers)
        count += len(numbers)
    return count


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch


def _brought(aged: list[Aged], served: pl.LazyFrame) -> list[int]:
    """The ids of the requests whose rows are all in the lake."""
    there = _asked_at(served, "asked_at", [entry.at_us for entry in aged])
    ids = set(there.select("prediction_id").collect()["prediction_id"].to_list())
    return [entry.request_id for entry in aged if ids.issuperset(entry.prediction_ids())]


def _outcomes(feedback: pl.LazyFrame, at_us: list[int]) -> set[tuple[Any, ...]]:
    there = _asked_at(feedback, "told_at", at_us).select(OF_AN_OUTCOME)
    return set(there.collect().iter_rows())


def _of(told: Told) -> tuple[Any, ...]:
    return moment(told.at_us), told.prediction_id, told.entity


def _asked_at(table: pl.LazyFrame, column: str, at_us: list[int]) -> pl.LazyFrame:
    """The rows of the table that are no earlier and no later than these."""
    if not at_us:
        return table.head(0)
    ends = moment(min(at_us)), moment(max(at_us))
    return table.filter(pl.col(column).is_between(*ends))
