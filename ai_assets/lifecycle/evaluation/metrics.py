"""Metrics of binary predictions, computed for many weightings of the same rows at once.

Every metric is one function of `Scored` rows and `counts`: an array [B, n] that says how often each
row is counted in each of B resamples. All ones gives the plain value; draws with replacement give
the bootstrap (`bootstrap.py`). So value and interval can never be two different formulas.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be

Floats = NDArray[np.float64]

LOG_LOSS_EPSILON = 1e-15
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Scored:
    """Rows with their label and score, sorted by score, ascending.

    Attributes:
        y: Labels, 0.0 or 1.0, shape [n].
        p: Scores, P(positive), shape [n], ascending.
        order: Positions of the sorted rows in the arrays that were given, shape [n].
        threshold: A row is predicted positive when its score is at least this.
    """

    y: Floats
    p: Floats
    order: NDArray[np.intp]
    threshold: float = 0.5

    @cached_property
    def ties(self) -> NDArray[np.intp]:
        """Where each run of equal scores starts, shape [g]."""
        return np.flatnonzero(np.r_[True, self.p[1:] != self.p[:-1]])

    @cached_property
    def predicted(self) -> Floats:
        """1.0 where the row is predicted positive, shape [n]."""
        return (self.p >= self.threshold).astype(np.float64)

    @cached_property
    def bins(self) -> NDArray[np.intp]:
        """Where each calibration bin starts: equal mass, equal scores never torn apart."""
        wanted = np.arange(CALIBRATION_BINS) * len(self.p) // CALIBRATION_BINS
        starts = self.ties[np.searchsorted(self.ties, wanted, side="right") - 1]
        return np.unique(starts)


def scored(y: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> Scored:
    """Check labels and scores, each of shape [n], and sort them by score.

    Raises:
        DataError: Shapes differ, there are no rows, a label is not 0 or 1, a score not in [0, 1].
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
    return Scored(labels[order], scores[order], order, threshold)


def _by_score(rows: Scored, counts: Floats) -> tuple[Floats, Floats]:
    """Counted positives and negatives of each distinct score, ascending; both [B, g]."""
    positives, negatives = counts * rows.y, counts * (1 - rows.y)
    if len(rows.ties) == len(rows.p):
        return positives, negatives
    return (
        np.add.reduceat(positives, rows.ties, axis=1),
        np.add.reduceat(negatives, rows.ties, axis=1),
    )


def _ratio(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, NaN where nothing is counted."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _roc_auc(rows: Scored, counts: Floats) -> Floats:
    positives, negatives = _by_score(rows, counts)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    won = np.einsum("bg,bg->b", positives, below)
    return _ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))


def _pr_auc(rows: Scored, counts: Floats) -> Floats:
    positives, negatives = (part[:, ::-1] for part in _by_score(rows, counts))
    true = np.cumsum(positives, axis=1)
    taken = true + np.cumsum(negatives, axis=1)
    precision = np.divide(true, taken, out=np.zeros_like(true), where=taken > 0)
    return _ratio(np.einsum("bg,bg->b", positives, precision), true[:, -1])


def _log_loss(rows: Scored, counts: Floats) -> Floats:
    p = np.clip(rows.p, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    loss = -np.where(rows.y == 1, np.log(p), np.log1p(-p))
    return _ratio(counts @ loss, counts.sum(axis=1))


def _brier(rows: Scored, counts: Floats) -> Floats:
    return _ratio(counts @ (rows.p - rows.y) ** 2, counts.sum(axis=1))


def _accuracy(rows: Scored, counts: Floats) -> Floats:
    return _ratio(counts @ (rows.predicted == rows.y).astype(np.float64), counts.sum(axis=1))


def _precision(rows: Scored, counts: Floats) -> Floats:
    return _ratio(counts @ (rows.predicted * rows.y), counts @ rows.predicted)


def _recall(rows: Scored, counts: Floats) -> Floats:
    return _ratio(counts @ (rows.predicted * rows.y), counts @ rows.y)


def _f1(rows: Scored, counts: Floats) -> Floats:
    true = counts @ (rows.predicted * rows.y)
    return _ratio(2 * true, counts @ rows.predicted + counts @ rows.y)


def _calibration_error(rows: Scored, counts: Floats) -> Floats:
    gaps = np.add.reduceat(counts * (rows.p - rows.y), rows.bins, axis=1)
    return _ratio(np.abs(gaps).sum(axis=1), counts.sum(axis=1))


@dataclass(frozen=True)
class Metric:
    """One way to judge predictions.

    Attributes:
        name: The name used in declarations, reports and MLflow.
        title: The name for people.
        description: What it says, in a sentence, with its range.
        higher_is_better: The direction.
        undefined: Why the value may not exist, in words; empty if it always exists.
        compute: Values [B] of `Scored` rows under counts [B, n]; NaN where it does not exist.
        ceiling: Largest possible value.
    """

    name: str
    title: str
    description: str
    higher_is_better: bool
    undefined: str
    compute: Callable[[Scored, Floats], Floats]
    ceiling: float = 1.0

    def better(self, first: float, second: float) -> bool:
        """Whether `first` is strictly better than `second`."""
        return first > second if self.higher_is_better else first < second


_ONE_CLASS = "undefined: the rows hold one class only"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "roc_auc",
            "ROC-AUC",
            "Chance that a random positive scores above a random negative; 0.5 is guessing.",
            True,
            _ONE_CLASS,
            _roc_auc,
        ),
        Metric(
            "pr_auc",
            "PR-AUC",
            "Average precision over all recalls; the share of positives is guessing.",
            True,
            "undefined: the rows hold no positive",
            _pr_auc,
        ),
        Metric(
            "log_loss",
            "Log loss",
            "Mean negative log likelihood of the label, in nats; 0 is perfect.",
            False,
            "",
            _log_loss,
            np.inf,
        ),
        Metric(
            "brier",
            "Brier score",
            "Mean squared distance of score and label; 0 is perfect.",
            False,
            "",
            _brier,
        ),
        Metric(
            "accuracy",
            "Accuracy",
            "Share of rows whose label is predicted at the threshold.",
            True,
            "",
            _accuracy,
        ),
        Metric(
            "precision",
            "Precision",
            "Share of positives among rows predicted positive at the threshold.",
            True,
            "undefined: no row is predicted positive",
            _precision,
        ),
        Metric(
            "recall",
            "Recall",
            "Share of positives that are predicted positive at the threshold.",
            True,
            "undefined: the rows hold no positive",
            _recall,
        ),
        Metric(
            "f1",
            "F1",
            "Harmonic mean of precision and recall at the threshold.",
            True,
            "undefined: no row is positive or predicted positive",
            _f1,
        ),
        Metric(
            "calibration_error",
            "Calibration error",
            f"Mean distance of score and observed share over {CALIBRATION_BINS} bins of equal "
            "mass (ECE); 0 is perfect.",
            False,
            "",
            _calibration_error,
        ),
    )
}


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        DeclarationError: There is none; offers the nearest name.
    """
    if name not in METRICS:
        raise DeclarationError(must_be("a metric", METRICS, name))
    return METRICS[name]


def metric_value(name: str, y: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> float | None:
    """One metric of labels and scores, each [n]; None where it is undefined."""
    return values_of(scored(y, p, threshold), (name,))[name]


def values_of(rows: Scored, names: tuple[str, ...] = tuple(METRICS)) -> dict[str, float | None]:
    """The plain values of the named metrics; None where one is undefined."""
    once = np.ones((1, len(rows.p)))
    found = {name: float(get_metric(name).compute(rows, once)[0]) for name in names}
    return {name: None if np.isnan(value) else value for name, value in found.items()}
