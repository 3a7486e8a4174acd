"""Metrics of predictions, computed for many weightings of the same rows at once.

Every metric is one function of scored rows and `counts`: an array [B, n] that says how often each
row is counted in each of B resamples. All ones gives the plain value; draws with replacement give
the bootstrap (`bootstrap.py`). So value and interval can never be two different formulas. Those of
two classes are in `binary.py`, of several in `classes.py`, of numbers in `values.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.evaluation import binary, classes, values
from ai_assets.lifecycle.evaluation.binary import Scored, scored_binary
from ai_assets.lifecycle.evaluation.classes import ScoredClasses, scored_classes
from ai_assets.lifecycle.evaluation.counted import CALIBRATION_BINS, Floats
from ai_assets.lifecycle.evaluation.names import OF_COSTS, OF_COUNTS, OF_INTERVALS, metric_name
from ai_assets.lifecycle.evaluation.values import ScoredValues, scored_values
from ai_assets.lifecycle.schema.decision import CostMatrix
from ai_assets.lifecycle.schema.interval import Interval

RARE = 0.1
"""A smaller share of positives is told by precision and recall before all else."""
FIRST_OF_RARE = ("pr_auc", "precision", "recall", "f1")

AnyScored = Scored | ScoredClasses | ScoredValues


def scored(
    y: ArrayLike,
    p: ArrayLike,
    threshold: float = 0.5,
    *,
    values: bool = False,
    interval: Interval | None = None,
    costs: CostMatrix | None = None,
) -> AnyScored:
    """Check labels [n] and scores: P(positive) [n] or [n, 1], or of K > 1 classes each [n, K].

    Args:
        y: Labels.
        p: Scores.
        threshold: A row is predicted positive when its score is at least this.
        values: Whether both are numbers of a regression.
        interval: Of a regression: the interval around each number.
        costs: Of classes: what answers cost.

    Raises:
        DataError: Shapes differ, there are no rows, a label is not 0 or 1 (of classes: the number
            of one), a score not in [0, 1], a value not finite.
    """
    given = np.asarray(p, dtype=np.float64)
    if values:
        return scored_values(y, given, interval)
    if given.ndim == 2 and given.shape[1] > 1:
        return scored_classes(y, given, costs)
    return scored_binary(y, given, threshold, costs)


def scored_for(metric: str, y: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> AnyScored:
    """Rows as the named metric judges them."""
    return scored(y, p, threshold, values=get_metric(metric).of_values is not None)


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
            if the metric is not one of those.
        of_classes: The same of rows of several classes.
        of_values: The same of rows with numbers.
        ceiling: Largest possible value.
        floor: Smallest possible value.
        in_units: Whether it has the unit of the target, or of the declared costs: margins then
            are shares of a value.
    """

    name: str
    title: str
    description: str
    higher_is_better: bool
    undefined: str
    of_scores: Callable[[Scored, Floats], Floats] | None = None
    of_classes: Callable[[ScoredClasses, Floats], Floats] | None = None
    ceiling: float = 1.0
    floor: float = 0.0
    of_values: Callable[[ScoredValues, Floats], Floats] | None = None
    in_units: bool = False

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
        if isinstance(rows, ScoredValues) and self.of_values is not None:
            return self.of_values(rows, counts)
        raise DeclarationError(
            must_be(f"a metric of {_KINDS[type(rows)]}", metrics_of(rows), self.name)
        )

    def margin(self, declared: float, of: float | None) -> float:
        """A declared margin in the metric's own numbers.

        Args:
            declared: As it is, or of a metric in a unit a share.
            of: The value of which it is a share.
        """
        return declared * abs(of or 0.0) if self.in_units else declared


_KINDS: dict[type, str] = {
    Scored: "a binary task",
    ScoredClasses: "several classes",
    ScoredValues: "a regression",
}


_NO_INTERVAL = "undefined: no interval is declared"
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
            binary.roc_auc,
            classes.roc_auc,
        ),
        Metric(
            "pr_auc",
            "PR-AUC",
            "Average precision over all recalls; the share of positives is guessing.",
            True,
            "undefined: the rows hold no positive",
            binary.pr_auc,
        ),
        Metric(
            "log_loss",
            "Log loss",
            "Mean negative log likelihood of the label, in nats; 0 is perfect.",
            False,
            "",
            binary.log_loss,
            classes.log_loss,
            ceiling=np.inf,
        ),
        Metric(
            "brier",
            "Brier score",
            "Mean squared distance of score and label, of classes half the sum; 0 is perfect.",
            False,
            "",
            binary.brier,
            classes.brier,
        ),
        Metric(
            "accuracy",
            "Accuracy",
            "Share of rows whose label is the answer.",
            True,
            "",
            binary.accuracy,
            classes.accuracy,
        ),
        Metric(
            "precision",
            "Precision",
            "Share of positives among rows predicted positive at the threshold.",
            True,
            "undefined: no row is predicted positive",
            binary.precision,
        ),
        Metric(
            "recall",
            "Recall",
            "Share of positives that are predicted positive at the threshold.",
            True,
            "undefined: the rows hold no positive",
            binary.recall,
        ),
        Metric(
            "f1",
            "F1",
            "Harmonic mean of precision and recall at the threshold.",
            True,
            "undefined: no row is positive or predicted positive",
            binary.f1,
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
            binary.calibration_error,
            classes.calibration_error,
        ),
        Metric(
            "cost",
            "Cost",
            "Mean cost of an answer, in the unit of the declared costs; a gain is below 0.",
            False,
            "undefined: no costs are declared",
            binary.cost,
            classes.cost,
            ceiling=np.inf,
            floor=-np.inf,
            in_units=True,
        ),
        Metric(
            "rmse",
            "RMSE",
            "Root of the mean squared error, in the unit of the target; 0 is perfect.",
            False,
            "",
            of_values=values.rmse,
            ceiling=np.inf,
            in_units=True,
        ),
        Metric(
            "mae",
            "MAE",
            "Mean absolute error, in the unit of the target; 0 is perfect.",
            False,
            "",
            of_values=values.mae,
            ceiling=np.inf,
            in_units=True,
        ),
        Metric(
            "mape",
            "MAPE",
            "Mean absolute error as a share of the outcome's size; 0 is perfect. Rows whose "
            "outcome is 0 are left out: of nothing there is no share.",
            False,
            "undefined: every outcome is 0",
            of_values=values.mape,
            ceiling=np.inf,
        ),
        Metric(
            "r2",
            "R²",
            "Share of the outcomes' variance that the predictions explain; 0 is always answering "
            "the mean, 1 is perfect, below 0 is worse than the mean.",
            True,
            "undefined: all outcomes are alike",
            of_values=values.r2,
            floor=-np.inf,
        ),
        Metric(
            "coverage",
            "Coverage",
            "Share of outcomes inside the interval of their prediction.",
            True,
            _NO_INTERVAL,
            of_values=values.coverage,
        ),
        Metric(
            "interval_width",
            "Width of the interval",
            "From its lower to its upper end, in the unit of the target.",
            False,
            _NO_INTERVAL,
            of_values=values.interval_width,
            ceiling=np.inf,
            in_units=True,
        ),
        Metric(
            "pinball_loss",
            "Pinball loss",
            "Of both ends of the interval as quantiles, their mean, in the unit of the target: "
            "small where intervals are narrow and yet hold the outcome; 0 is perfect.",
            False,
            _NO_INTERVAL,
            of_values=values.pinball_loss,
            ceiling=np.inf,
            in_units=True,
        ),
        Metric(
            "poisson_deviance",
            "Poisson deviance",
            "Twice how much likelier the counts are under themselves than under the predictions, "
            "in nats a row; 0 is perfect, about 1 is as good as can be where counts are Poisson.",
            False,
            "undefined: an outcome is below 0, or a prediction not above it",
            of_values=values.poisson_deviance,
            ceiling=np.inf,
        ),
    )
}


def metrics_of(rows: AnyScored) -> tuple[str, ...]:
    """Names of the metrics that such rows can be judged by."""
    if isinstance(rows, ScoredValues):
        no_interval = OF_INTERVALS if rows.interval is None else ()
        return tuple(
            n
            for n, m in METRICS.items()
            if m.of_values is not None and n not in (*no_interval, *OF_COUNTS)
        )
    no_costs = OF_COSTS if rows.costs is None else ()
    if isinstance(rows, Scored):
        names = tuple(
            n for n, m in METRICS.items() if m.of_scores is not None and n not in no_costs
        )
        return of_rare(names) if rows.y.mean() < RARE else names
    return tuple(n for n, m in METRICS.items() if m.of_classes is not None and n not in no_costs)


def of_rare(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in another order: what tells of a rare class first.

    Where nearly all rows are negative, ROC-AUC and accuracy are high for models that find hardly a
    positive (Saito and Rehmsmeier 2015, "The precision-recall plot is more informative").
    """
    first = tuple(name for name in FIRST_OF_RARE if name in names)
    return first + tuple(name for name in names if name not in first)


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
        DeclarationError: There is none; offers the nearest name.
    """
    return METRICS[metric_name(name)]


def metric_value(name: str, y: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> float | None:
    """One metric of labels [n] and scores [n] or [n, K]; None where it is undefined."""
    return values_of(scored_for(name, y, p, threshold), (name,))[name]


def values_of(rows: AnyScored, names: tuple[str, ...] | None = None) -> dict[str, float | None]:
    """The plain values of the named metrics (default: all that there are of such rows).

    None where one is undefined.
    """
    once = np.ones((1, len(rows.p)))
    names = metrics_of(rows) if names is None else names
    found = {name: float(get_metric(name).compute(rows, once)[0]) for name in names}
    return {name: None if np.isnan(value) else value for name, value in found.items()}
