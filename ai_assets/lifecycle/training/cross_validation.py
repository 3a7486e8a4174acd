"""Folds for tuning. With times, every validation row is later than every row it is judged by."""

import numpy as np

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.training.split import distinct_times, uniform

FIRST_SHARE = 0.5
"""Share of the rows before the first fold's validation: with less, folds choose parameters for
models much smaller than the one that is fitted in the end."""

Fold = tuple[np.ndarray, np.ndarray]
"""Positions of the rows to fit on and of those to judge by."""


def make_folds(times: np.ndarray | None, row_ids: np.ndarray, folds: int) -> list[Fold]:
    """Folds: rolling origin by time where there are times, else by hash of the row's id.

    With times, training starts as the first half of the rows and grows to all but the last block
    (Hyndman and Athanasopoulos, *Forecasting: Principles and Practice*, 5.10). Rows of one moment
    stay together.

    Raises:
        DataError: `folds` is below 1, or there are too few times or rows.
    """
    if folds < 1:
        raise DataError(must_be("folds", "at least 1", folds))
    return _by_hash(row_ids, folds) if times is None else _by_time(times, folds)


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


def _by_hash(row_ids: np.ndarray, folds: int) -> list[Fold]:
    # One fold is a hold-out of a quarter; k folds are a partition in k.
    block = np.floor(uniform(row_ids, salt=1) * (4 if folds == 1 else folds)).astype(np.int64)
    parts = [(np.flatnonzero(block != i), np.flatnonzero(block == i)) for i in range(folds)]
    if any(len(fit) == 0 or len(judge) == 0 for fit, judge in parts):
        raise DataError(f"{len(row_ids)} rows are too few for {folds} folds.")
    return parts
