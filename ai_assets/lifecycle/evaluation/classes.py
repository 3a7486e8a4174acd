"""Metrics of predictions of several classes, for many weightings of the same rows at once.

As in `metrics.py`, every metric is a function of rows and `counts` [B, n].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.evaluation.counted import (
    LOG_LOSS_EPSILON,
    Floats,
    costs_of,
    equal_mass_bins,
    ratio,
    ties_of,
)
from ai_assets.lifecycle.schema.decision import CostMatrix, answered_classes

TOP = 3
CLASS_SCHEMA = {
    "class": pl.String,
    "rows": pl.Int64,
    "answered": pl.Int64,
    "precision": pl.Float64,
    "recall": pl.Float64,
    "f1": pl.Float64,
    "roc_auc": pl.Float64,
    "mistaken_for": pl.String,
}
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ScoredClasses:
    """Rows with the number of their class and a probability for each class.

    Attributes:
        y: Numbers of the classes, from 0, shape [n].
        p: Probabilities, shape [n, K].
        costs: What answers cost; None where nothing is declared.
        given: Numbers of the answers [n] where they follow from something else than these costs.
    """

    y: NDArray[np.int64]
    p: Floats
    costs: CostMatrix | None = None
    given: NDArray[np.intp] | None = None

    @property
    def order(self) -> NDArray[np.intp]:
        """Positions of the rows in the arrays that were given, shape [n]: they stay in order."""
        return np.arange(len(self.y))

    @cached_property
    def answer(self) -> NDArray[np.intp]:
        """Number of the likeliest class, or by costs of the cheapest; of equals the first. [n]"""
        return answered_classes(self.p, self.costs) if self.given is None else self.given

    @cached_property
    def cost(self) -> Floats:
        """What each answer costs, shape [n]."""
        return costs_of(self.y, self.answer, self.costs)

    @cached_property
    def hit(self) -> Floats:
        """1.0 where the answer is right, shape [n]."""
        return (self.answer == self.y).astype(np.float64)

    @cached_property
    def own(self) -> Floats:
        """The probability of the row's own class, shape [n]."""
        return self.p[np.arange(len(self.y)), self.y]

    @cached_property
    def actual(self) -> Floats:
        """1.0 in the column of the row's class, shape [n, K]."""
        return np.eye(self.p.shape[1])[self.y]

    @cached_property
    def answered(self) -> Floats:
        """1.0 in the column of the answer, shape [n, K]."""
        return np.eye(self.p.shape[1])[self.answer]


def scored_classes(y: ArrayLike, p: Floats, costs: CostMatrix | None = None) -> ScoredClasses:
    """Check numbers of classes [n] and probabilities [n, K].

    Raises:
        DataError: Lengths differ, there are no rows, a label is not the number of a class, a score
            is not in [0, 1], or those of a row do not sum to 1.
    """
    labels = np.asarray(y, dtype=np.float64).ravel()
    if len(labels) != len(p):
        raise DataError(must_be("y and p", "of one length", (len(labels), len(p))))
    if not len(labels):
        raise DataError("An evaluation needs at least one labelled row, but got none.")
    last = p.shape[1] - 1
    numbers = np.arange(last + 1)
    if wrong := labels[~np.isin(labels, numbers)][:1].tolist():
        raise DataError(must_be("a label", f"the number of a class, 0 to {last}", wrong[0]))
    if wrong := p[~((p >= 0) & (p <= 1))][:1].tolist():
        raise DataError(must_be("a score", "a probability between 0 and 1", wrong[0]))
    totals = p.sum(axis=1)
    if wrong := totals[np.abs(totals - 1) > _SUM_TOLERANCE][:1].tolist():
        raise DataError(must_be("the probabilities of a row", "of sum 1", round(wrong[0], 6)))
    return ScoredClasses(labels.astype(np.int64), p, costs)


def log_loss(rows: ScoredClasses, counts: Floats) -> Floats:
    loss = -np.log(np.clip(rows.own, LOG_LOSS_EPSILON, None))
    return ratio(counts @ loss, counts.sum(axis=1))


def brier(rows: ScoredClasses, counts: Floats) -> Floats:
    """Half the squared distance of Brier (1950), which for two classes is the binary score."""
    distance = ((rows.p - rows.actual) ** 2).sum(axis=1) / 2
    return ratio(counts @ distance, counts.sum(axis=1))


def accuracy(rows: ScoredClasses, counts: Floats) -> Floats:
    return ratio(counts @ rows.hit, counts.sum(axis=1))


def cost(rows: ScoredClasses, counts: Floats) -> Floats:
    return ratio(counts @ rows.cost, counts.sum(axis=1))


def top_accuracy(rows: ScoredClasses, counts: Floats) -> Floats:
    better = (rows.p > rows.own[:, None]).sum(axis=1)
    if rows.p.shape[1] <= TOP:
        return np.full(len(counts), np.nan)
    return ratio(counts @ (better < TOP).astype(np.float64), counts.sum(axis=1))


def macro_f1(rows: ScoredClasses, counts: Floats) -> Floats:
    """Mean F1 of the classes that occur, as labels or as answers."""
    f1, occurs, _ = _f1(rows, counts)
    return ratio((f1 * occurs).sum(axis=1), occurs.sum(axis=1))


def weighted_f1(rows: ScoredClasses, counts: Floats) -> Floats:
    """F1 of the classes, each counted by its rows."""
    f1, _, actual = _f1(rows, counts)
    return ratio((f1 * actual).sum(axis=1), actual.sum(axis=1))


def calibration_error(rows: ScoredClasses, counts: Floats) -> Floats:
    """Of the answer's probability (confidence), by Guo et al. (2017)."""
    confidence = rows.p[np.arange(len(rows.p)), rows.answer]
    order = np.argsort(confidence, kind="stable")
    gaps = (confidence - rows.hit)[order]
    bins = equal_mass_bins(confidence[order])
    sums = np.add.reduceat(counts[:, order] * gaps, bins, axis=1)
    return ratio(np.abs(sums).sum(axis=1), counts.sum(axis=1))


def roc_auc(rows: ScoredClasses, counts: Floats) -> Floats:
    """Mean over the classes that occur of each one against the rest."""
    columns = [
        _one_against_rest(rows.actual[:, k], rows.p[:, k], counts)
        for k in np.unique(rows.y).tolist()
    ]
    found = np.column_stack(columns)
    known = ~np.isnan(found)
    return ratio(np.where(known, found, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _one_against_rest(y: Floats, p: Floats, counts: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    ties = ties_of(p[order])
    drawn = counts[:, order]
    positives = np.add.reduceat(drawn * y[order], ties, axis=1)
    negatives = np.add.reduceat(drawn * (1 - y[order]), ties, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    won = np.einsum("bg,bg->b", positives, below)
    return ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))


def _f1(rows: ScoredClasses, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Of each class [B, K]: its F1, 1.0 where it occurs, and how often it is the label."""
    right = counts @ (rows.actual * rows.answered)
    actual, answered = counts @ rows.actual, counts @ rows.answered
    occurs = (actual + answered > 0).astype(np.float64)
    f1 = np.divide(2 * right, actual + answered, out=np.zeros_like(right), where=occurs > 0)
    return f1, occurs, actual


def table_of_classes(rows: ScoredClasses, names: Sequence[str]) -> pl.DataFrame:
    """How each class fares.

    Args:
        rows: Labelled rows of K classes.
        names: Of the classes, K.

    Returns:
        A row a class, in their order: `class`, `rows` of it, how often it was `answered`, then
        `precision`, `recall`, `f1` and `roc_auc` (against the rest), null where undefined, and the
        other class that is most often answered in its place, if any.
    """
    counts = (rows.actual.T @ rows.answered).astype(np.int64)
    found = [_row(rows, counts, place, names) for place in range(len(counts))]
    return pl.DataFrame(found, schema=CLASS_SCHEMA, orient="row")


def _row(
    rows: ScoredClasses, counts: NDArray[np.int64], place: int, names: Sequence[str]
) -> list[object]:
    actual, answered = int(counts[place].sum()), int(counts[:, place].sum())
    right = int(counts[place, place])
    others = counts[place].copy()
    others[place] = 0
    once = np.ones((1, len(rows.y)))
    auc = float(_one_against_rest(rows.actual[:, place], rows.p[:, place], once)[0])
    return [
        names[place],
        actual,
        answered,
        right / answered if answered else None,
        right / actual if actual else None,
        2 * right / (actual + answered) if actual + answered else None,
        None if np.isnan(auc) else auc,
        names[int(others.argmax())] if others.any() else None,
    ]
