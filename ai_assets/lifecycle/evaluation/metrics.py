"""Metrics of predictions, computed for many weightings of the same rows at once.

Every metric is one function of scored rows and `counts`: an array [B, n] that says how often each
row is counted in each of B resamples. All ones gives the plain value; draws with replacement give
the bootstrap (`bootstrap.py`). So value and interval can never be two different formulas. Those of
several classes are in `classes.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be
from ai_assets.lifecycle.evaluation import classes
from ai_assets.lifecycle.evaluation.classes import ScoredClasses, scored_classes
from ai_assets.lifecycle.evaluation.counted import (
    CALIBRATION_BINS,
    LOG_LOSS_EPSILON,
    Floats,
    equal_mass_bins,
    ratio,
    ties_of,
)
from ai_assets.lifecycle.evaluation.names import metric_name


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
        return ties_of(self.p)

    @cached_property
    def predicted(self) -> Floats:
        """1.0 where the row is predicted positive, shape [n]."""
        return (self.p >= self.threshold).astype(np.float64)

    @cached_property
    def bins(self) -> NDArray[np.intp]:
        """Where each calibration bin starts."""
        return equal_mass_bins(self.p)


AnyScored = Scored | ScoredClasses


def scored(y: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> AnyScored:
    """Check labels [n] and scores: P(positive) [n] or [n, 1], or of K > 1 classes each [n, K].

    Raises:
        DataError: Shapes differ, there are no rows, a label is not 0 or 1 (of classes: the number
            of one), a score not in [0, 1].
    """
    given = np.asarray(p, dtype=np.float64)
    if given.ndim == 2 and given.shape[1] > 1:
        return scored_classes(y, given)
    return scored_binary(y, given, threshold)


def scored_binary(y: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> Scored:
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


def _roc_auc(rows: Scored, counts: Floats) -> Floats:
    positives, negatives = _by_score(rows, counts)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    won = np.einsum("bg,bg->b", positives, below)
    return ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))


def _pr_auc(rows: Scored, counts: Floats) -> Floats:
    positives, negatives = (part[:, ::-1] for part in _by_score(rows, counts))
    true = np.cumsum(positives, axis=1)
    taken = true + np.cumsum(negatives, axis=1)
    precision = np.divide(true, taken, out=np.zeros_like(true), where=taken > 0)
    return ratio(np.einsum("bg,bg->b", positives, precision), true[:, -1])


def _log_loss(rows: Scored, counts: Floats) -> Floats:
    p = np.clip(rows.p, LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    loss = -np.where(rows.y == 1, np.log(p), np.log1p(-p))
    return ratio(counts @ loss, counts.sum(axis=1))


def _brier(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.p - rows.y) ** 2, counts.sum(axis=1))


def _accuracy(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.predicted == rows.y).astype(np.float64), counts.sum(axis=1))


def _precision(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.predicted * rows.y), counts @ rows.predicted)


def _recall(rows: Scored, counts: Floats) -> Floats:
    return ratio(counts @ (rows.predicted * rows.y), counts @ rows.y)


def _f1(rows: Scored, counts: Floats) -> Floats:
    true = counts @ (rows.predicted * rows.y)
    return ratio(2 * true, counts @ rows.predicted + counts @ rows.y)


def _calibration_error(rows: Scored, counts: Floats) -> Floats:
    gaps = np.add.reduceat(counts * (rows.p - rows.y), rows.bins, axis=1)
    return ratio(np.abs(gaps).sum(axis=1), counts.sum(axis=1))


@dataclass(frozen=True)
class Metric:
    """One way to judge predictions.

    Attributes:
        name: The name used in declarations, reports and MLflow.
        title: The name for people.
        description: What it says, in a sentence, with its range.
        higher_is_better: The direction.
        undefined: Why the value may not exist, in words; empty if it always exists.
        of_scores: Values [B] of binary rows under counts [B, n]; NaN where it does not exist. None
            if the metric is one of several classes only.
        of_classes: The same of rows of several classes. None if it is binary only.
        ceiling: Largest possible value.
    """

    name: str
    title: str
    description: str
    higher_is_better: bool
    undefined: str
    of_scores: Callable[[Scored, Floats], Floats] | None
    of_classes: Callable[[ScoredClasses, Floats], Floats] | None = None
    ceiling: float = 1.0

    def better(self, first: float, second: float) -> bool:
        """Whether `first` is strictly better than `second`."""
        return first > second if self.higher_is_better else first < second

    def compute(self, rows: AnyScored, counts: Floats) -> Floats:
        """Values [B] of rows under counts [B, n]; NaN where it does not exist.

        Raises:
            DeclarationError: The metric is not one of such rows.
        """
        if isinstance(rows, Scored) and self.of_scores is not None:
            return self.of_scores(rows, counts)
        if isinstance(rows, ScoredClasses) and self.of_classes is not None:
            return self.of_classes(rows, counts)
        kind = "a binary task" if isinstance(rows, Scored) else "several classes"
        raise DeclarationError(must_be(f"a metric of {kind}", metrics_of(rows), self.name))


_ONE_CLASS = "undefined: the rows hold one class only"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "roc_auc",
            "ROC-AUC",
            "Chance that a random positive scores above a random negative; 0.5 is guessing. Of "
            "classes: the mean of each against the rest.",
            True,
            _ONE_CLASS,
            _roc_auc,
            classes.roc_auc,
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
            classes.log_loss,
            ceiling=np.inf,
        ),
        Metric(
            "brier",
            "Brier score",
            "Mean squared distance of score and label, of classes half the sum; 0 is perfect.",
            False,
            "",
            _brier,
            classes.brier,
        ),
        Metric(
            "accuracy",
            "Accuracy",
            "Share of rows whose label is the answer.",
            True,
            "",
            _accuracy,
            classes.accuracy,
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
            "macro_f1",
            "Macro F1",
            "Mean of the classes' F1, of which rare ones count like common ones.",
            True,
            "",
            None,
            classes.macro_f1,
        ),
        Metric(
            "weighted_f1",
            "Weighted F1",
            "Mean of the classes' F1, each counted by its rows.",
            True,
            "",
            None,
            classes.weighted_f1,
        ),
        Metric(
            f"top_{classes.TOP}_accuracy",
            f"Top {classes.TOP} accuracy",
            f"Share of rows whose label is among the {classes.TOP} likeliest classes.",
            True,
            f"undefined: there are only {classes.TOP} classes",
            None,
            classes.top_accuracy,
        ),
        Metric(
            "calibration_error",
            "Calibration error",
            f"Mean distance of score and observed share over {CALIBRATION_BINS} bins of equal "
            "mass (ECE), of classes of the answer's score; 0 is perfect.",
            False,
            "",
            _calibration_error,
            classes.calibration_error,
        ),
    )
}


def metrics_of(rows: AnyScored) -> tuple[str, ...]:
    """Names of the metrics that such rows can be judged by."""
    if isinstance(rows, Scored):
        return tuple(name for name, metric in METRICS.items() if metric.of_scores is not None)
    return tuple(name for name, metric in METRICS.items() if metric.of_classes is not None)


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        DeclarationError: There is none; offers the nearest name.
    """
    return METRICS[metric_name(name)]


def metric_value(name: str, y: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> float | None:
    """One metric of labels [n] and scores [n] or [n, K]; None where it is undefined."""
    return values_of(scored(y, p, threshold), (name,))[name]


def values_of(rows: AnyScored, names: tuple[str, ...] | None = None) -> dict[str, float | None]:
    """The plain values of the named metrics (default: all that there are of such rows).

    None where one is undefined.
    """
    once = np.ones((1, len(rows.p)))
    names = metrics_of(rows) if names is None else names
    found = {name: float(get_metric(name).compute(rows, once)[0]) for name in names}
    return {name: None if np.isnan(value) else value for name, value in found.items()}
