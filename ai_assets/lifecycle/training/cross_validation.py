"""Folds for tuning. With times, every validation row is later than every row it is judged by."""

import numpy as np

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.training.split import distinct_times, uniform

FIRST_SHARE = 0.5
"""Share of the rows before the first fold's validation: with less, folds choose parameters for
models much smaller than the one that is fitted in the end."""

Fold = tuple[np.ndarray, np.ndarray]
"""Positions of the rows to fit on and of those to judge by."""


def make_folds(
    times: np.ndarray | None,
    row_ids: np.ndarray,
    folds: int,
    labels: np.ndarray | None = None,
) -> list[Fold]:
    """Folds: rolling origin by time where there are times, else by hash of the row's id.

    With times, training starts as the first half of the rows and grows to all but the last block
    (Hyndman and Athanasopoulos, *Forecasting: Principles and Practice*, 5.10). Rows of one moment
    stay together.
    With labels (classes, [n]) and no times, each fold has its share of each class: of few rows
    chance would leave a fold without one.

    Raises:
        DataError: `folds` is below 1, or there are too few times or rows.
    """
    if folds < 1:
        raise DataError(must_be("folds", "at least 1", folds))
    return _by_hash(row_ids, folds, labels) if times is None else _by_time(times, folds)


def deal(row_ids: np.ndarray, labels: np.ndarray | None, parts: int, salt: int) -> np.ndarray:
    """Which part each row goes to, from 0, int [n]: ids are dealt out like cards, in turn.

    Parts are as large as they can be alike, and each has its share of each class. Rows of one id
    go together, with the class of the first of them.

    Args:
        row_ids: int64 [n].
        labels: classes [n]; None where there are none.
        parts: how many.
        salt: another one deals in another order.
    """
    ids, first, place = np.unique(row_ids, return_index=True, return_inverse=True)
    kinds = np.zeros(len(ids)) if labels is None else labels[first]
    part = np.empty(len(ids), np.int64)
    for number, kind in enumerate(np.unique(kinds)):
        of_kind = np.flatnonzero(kinds == kind)
        order = of_kind[np.argsort(uniform(ids[of_kind], salt), kind="stable")]
        # Each class begins with another part, so that what is over does not go to the same.
        part[order] = (np.arange(len(order)) + number) % parts
    return part[place]


def _by_time(times: np.ndarray, folds: int) -> list[Fold]:
    values, inverse, counts = distinct_times(times, least=folds + 1)
    before = np.concatenate([[0], np.cumsum(counts)])
    edges = [0]
    for fold in range(folds):
        wanted = len(times) * (FIRST_SHARE + (1 - FIRST_SHARE) * fold / folds)
        low, high = edges[-1] + 1, len(values) - (folds - fold)
        edges.append(low + int(np.abs(before[low : high + 1] - wanted).argmin()))
    edges.append(len(values))
    return [
        (
            np.flatnonzero(inverse < edges[fold]),
            np.flatnonzero((inverse >= edges[fold]) & (inverse < edges[fold + 1])),
        )
        for fold in range(1, folds + 1)
    ]


def _by_hash(row_ids: np.ndarray, folds: int, labels: np.ndarray | None) -> list[Fold]:
    # One fold is a hold-out of a quarter; k folds are a partition in k.
    parts_of = 4 if folds == 1 else folds
    if labels is None:
        block = np.floor(uniform(row_ids, salt=1) * parts_of).astype(np.int64)
    else:
        block = deal(row_ids, labels, parts_of, salt=1)
    parts = [(np.flatnonzero(block != i), np.flatnonzero(block == i)) for i in range(folds)]
    if any(len(fit) == 0 or len(judge) == 0 for fit, judge in parts):
        raise DataError(f"{len(row_ids)} rows are too few for {folds} folds.")
    return parts
