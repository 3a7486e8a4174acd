"""Metrics of predictions of two classes, for many weightings of the same rows at once.

As in `metrics.py`, every metric is a function of rows and `counts` [B, n].
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
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
from ai_assets.lifecycle.schema.decision import CostMatrix


@dataclass(frozen=True)
class Scored:
    """Rows with their label and score, sorted by score, ascending.

    Attributes:
        y: Labels, 0.0 or 1.0, shape [n].
        p: Scores, P(positive), shape [n], ascending.
        order: Positions of the sorted rows in the arrays that were given, shape [n].
        threshold: A row is predicted positive when its score is at least this.
        costs: What answers cost; None where nothing is declared.
    """

    y: Floats
    p: Floats
    order: NDArray[np.intp]
    threshold: float = 0.5
    costs: CostMatrix | None = None

    @cached_property
    def ties(self) -> NDArray[np.intp]:
        """Where each run of equal scores starts, shape [g]."""
        return ties_of(self.p)

    @cached_property
    def predicted(self) -> Floats:
        """1.0 where the row is predicted positive, shape [n]."""
        return (self.p >= self.threshold).astype(np.float64)

    @cached_property
    def cost(self) -> Floats:
        """What each answer costs, shape [n]."""
        return costs_of(self.y, self.predicted, self.costs)

    @cached_property
    def bins(self) -> NDArray[np.intp]:
        """Where each calibration bin starts."""
        return equal_mass_bins(self.p)


def scored_binary(
    y: ArrayLike, p: ArrayLike, threshold: float = 0.5, costs: CostMatrix | None = None
) -> Scored:
    """Check labels and scores, each of shape [n], and sort them by score.

    Raises:
        DataError: As of `scored`.
    """
    labels = np.asarray(y, dtype=np.float64).ravel()
    scores = np.asarray(p, dtype=np.float64).ravel()
    if len(labels) != len(scores):
        raise DataError(must_be("y and p", "of one length", (len(labels), len(scores))))
    if not len(labels):
        raise DataError("An evaluation needs at least one labelled row, but got none.")
    if wrong := labels[(labels != 0) & (labels != 1)][:1].tolist():
        raise DataError(must_be("a label", "0 or 1", wrong[0]))
    if wrong := scores[~((scores >= 0) & (scores <= 1))][:1].tolist():
        raise DataError(must_be("a score", "a probability between 0 and 1", wrong[0]))
    order = np.argsort(scores, kind="stable")
    return Scored(labels[order], scores[order], order, threshold, costs)


def _by_score(rows: Scored, counts: Floats) -> tuple[Floats, Floats]:
    """Counted positives and negatives of each distinct score, ascending; both [B, g]."""
    positives, negatives = counts * rows.y, counts * (1 - rows.y)
    if len(rows.ties) == len(rows.p):
        return positives, negatives
    return (
        np.add.reduceat(positives, rows.ties, axis=1),
        np.add.reduceat(negatives, rows.ties, axis=1),
    )


def roc_auc(rows: Scored, counts: Floats) -> Floats:
    positives, negatives = _by_score(rows, counts)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    won = np.einsum("bg,bg->b", positives, below)
    return ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))


def pr_auc(rows: Scored, counts: Floats) -> Floats:
    positives, negatives = (part[:, ::-1] for part in _by_score(rows, counts))
    true = np.cumsum(positives, axis=1)
    taken = true + np.cumsum(negatives, axis=1)
    precision = np.divide(true, taken, out=np.zeros_like(true), where=taken > 0)
    return ratio(np.einsum("bg,bg->b", positives, precision), true[:, -1])


def log_loss(rows: Scored, counts: Floats) -> Floats:
    p = np.clip(rows.p, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    loss = -np.where(rows.y == 1, np.log(p), np.log1p(-p))
    return ratio(counts @ loss, counts.sum(axis=1))


def brier(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.p - rows.y) ** 2, counts.sum(axis=1))


def accuracy(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.predicted == rows.y).astype(np.float64), counts.sum(axis=1))


def precision(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.predicted * rows.y), counts @ rows.predicted)


def recall(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.predicted * rows.y), counts @ rows.y)


def f1(rows: Scored, counts: Floats) -> Floats:
    true = counts @ (rows.predicted * rows.y)
    return ratio(2 * true, counts @ rows.predicted + counts @ rows.y)


def calibration_error(rows: Scored, counts: Floats) -> Floats:
    gaps = np.add.reduceat(counts * (rows.p - rows.y), rows.bins, axis=1)
    return ratio(np.abs(gaps).sum(axis=1), counts.sum(axis=1))


def cost(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ rows.cost, counts.sum(axis=1))
