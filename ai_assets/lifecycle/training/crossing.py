"""Judging where rows are too few for some to be set aside: repeated cross-validation.

Each row is answered by models that did not learn from it, once in each repeat (Stone 1974,
"Cross-validatory choice and assessment of statistical predictions"); repeats differ in how rows are
dealt, which a single cross-validation leaves to luck. What comes out judges the way a model is
made, not the one model that learns from all rows and is served.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.learners.base import OF_VALUES, Dataset, Task
from ai_assets.lifecycle.training.cross_validation import deal
from ai_assets.lifecycle.training.fitting import fit_model
from ai_assets.lifecycle.training.spec import Split, Training

FOLDS = 5
_INNER, _INNER_SALT = 4, 101
"""Of the rows that a fold's model may learn from, one in so many says when to stop."""


@dataclass(frozen=True)
class Crossed:
    """What a family says of rows that its models did not learn from.

    Attributes:
        predicted: Predictions [R, n, K]: of each repeat one for each row.
        iterations: How many rounds the fits took, their median: so many does a fit on all rows.
    """

    predicted: np.ndarray
    iterations: int


def too_few_to_set_aside(rows: int, split: Split) -> bool:
    """Whether the test rows that the split would set aside say too little."""
    return isinstance(split.test, float) and rows * split.test < split.least_test


def cross_fit(
    family: str,
    data: Dataset,
    ids: np.ndarray,
    params: dict[str, Any],
    *,
    training: Training,
    task: Task,
    on_fold: Callable[[int, int], None] | None = None,
) -> Crossed:
    """Fit a family on all but one fold, for each fold of each repeat.

    Args:
        family: its name.
        data: all rows.
        ids: what decides where a row goes [n]; rows alike in it go together.
        params: the family's parameters.
        training: the declaration.
        task: what is predicted.
        on_fold: called as (fits done, fits in all) after each.

    Raises:
        DataError: the rows are too few for the folds.
    """
    repeats = training.split.repeats
    found: list[np.ndarray] = []
    iterations: list[int] = []
    for repeat in range(repeats):
        answers: list[np.ndarray | None] = [None] * len(data)
        for learned, stops, judged in crossed_folds(data.y, ids, repeat, task):
            model = fit_model(
                family,
                data.take(learned),
                data.take(stops),
                params,
                training=training,
                task=task,
            )
            for row, answer in zip(judged, model.predict(data.x[judged]), strict=True):
                answers[row] = answer
            iterations.append(model.iterations)
            if on_fold is not None:
                on_fold(len(iterations), repeats * FOLDS)
        found.append(np.array(answers, dtype=np.float64))
    return Crossed(np.array(found), max(1, int(np.median(iterations))))


def crossed_folds(
    y: np.ndarray, ids: np.ndarray, repeat: int, task: Task
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each fold of a repeat the positions to learn from, to stop by and to judge.

    Raises:
        DataError: the rows are too few for the folds.
    """
    labels = None if task in OF_VALUES else y
    fold = deal(ids, labels, FOLDS, salt=repeat + 1)
    for number in range(FOLDS):
        others, judged = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if not len(judged):
            raise DataError(f"{len(y)} rows are too few for {FOLDS} folds.")
        own = None if labels is None else labels[others]
        # The last part: of a class with fewer rows than parts it has none.
        stops = deal(ids[others], own, _INNER, salt=_INNER_SALT) == _INNER - 1
        yield others[~stops], others[stops], judged
