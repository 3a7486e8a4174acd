"""Whether the parts of a declaration suit its task: numbers have no classes, classes no errors."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import must_be
from ai_assets.lifecycle.evaluation.names import (
    METRIC_NAMES,
    OF_COSTS,
    OF_COUNTS,
    OF_INTERVALS,
    OF_VALUES,
)
from ai_assets.lifecycle.training.costs import TwoCosts, class_problems
from ai_assets.lifecycle.training.names import METRICS_OF_TASK

GROUPS = ("string", "int64", "bool")
"""Types of columns whose values are groups of people."""

if TYPE_CHECKING:
    from ai_assets.lifecycle.product import TabularDeclaration


def unsuited(declared: "TabularDeclaration") -> Iterator[str]:
    """What of a declaration does not suit its task, a sentence each."""
    yield from _metrics(declared)
    yield from _groups(declared)
    if declared.label.task == "regression":
        yield from _of_classes(declared)
    yield from _costs(declared)
    if declared.label.learned == "count" and declared.kind != "tabular":
        yield "label.objective poisson is for products of kind 'tabular'."


def _costs(declared: "TabularDeclaration") -> Iterator[str]:
    """Costs of other answers than the task has."""
    costs, task = declared.training.costs, declared.label.task
    if costs is None:
        return
    if task == "regression":
        yield "training.costs are of wrong answers; of a regression the error is what counts."
    elif isinstance(costs, TwoCosts) != (task == "binary"):
        form = "`missed` and `false_alarm`" if task == "binary" else "a mapping for each class"
        given = "those of two classes" if isinstance(costs, TwoCosts) else "those of several"
        yield f"training.costs of a {task} task must be {form}, but got {given}."
    elif not isinstance(costs, TwoCosts):
        yield from class_problems(costs, declared.answers)


def _metrics(declared: "TabularDeclaration") -> Iterator[str]:
    label, gate = declared.label, declared.gate
    values = label.task == "regression"
    allowed = [name for name in METRIC_NAMES if (name in OF_VALUES) == values]
    if label.interval is None:
        allowed = [name for name in allowed if name not in OF_INTERVALS]
    if label.learned != "count":
        allowed = [name for name in allowed if name not in OF_COUNTS]
    if declared.training.costs is None:
        allowed = [name for name in allowed if name not in OF_COSTS]
    limits = [gate, *([gate.slices] if gate.slices else [])]
    for name in (name for part in limits for name in (*part.min, *part.max)):
        if name not in allowed:
            yield _not_a_metric("a metric of the gate", label.task, allowed, name)
    compared = [name for name in allowed if name not in OF_INTERVALS]
    if gate.champion is not None and gate.champion.metric not in compared:
        yield _not_a_metric("gate.champion.metric", label.task, compared, gate.champion.metric)
    metric = declared.training.metric
    if values and metric is not None and metric not in METRICS_OF_TASK[label.learned]:
        yield must_be(
            f"training.metric of a {label.task} task", METRICS_OF_TASK[label.learned], metric
        )


def _not_a_metric(what: str, task: str, allowed: Sequence[str], name: str) -> str:
    """That such a task has no such metric, or of one that it could have, what is missing."""
    what = f"{what} of a {task} task"
    if name in OF_COSTS and task != "regression":
        return (
            f"{what} can be '{name}' only where training.costs says what answers cost, but none "
            "are declared."
        )
    return must_be(what, allowed, name)


def _groups(declared: "TabularDeclaration") -> Iterator[str]:
    """Groups of people are compared by answers of two kinds, and few values make groups."""
    if declared.fairness is None:
        return
    if declared.label.task != "binary":
        yield must_be("label.task of a product with fairness", ("binary",), declared.label.task)
    if declared.fairness.mitigation == "reductions" and declared.kind != "tabular":
        # It searches with a linear model, to which pixels and tokens say nothing.
        what = f"fairness.mitigation of a product of kind {declared.kind}"
        yield must_be(what, ("none", "reweighing"), declared.fairness.mitigation)
    request = declared.tables.get(declared.request)
    for name in declared.fairness.columns:
        column = request.columns.get(name) if request else None
        if column is not None and column.type not in GROUPS:
            yield must_be(
                f"the type of '{name}', a column of fairness.columns, whose values are groups",
                GROUPS,
                column.type,
            )


def _of_classes(declared: "TabularDeclaration") -> Iterator[str]:
    """Parts that are about classes or their probabilities, which a regression has not."""
    training, rollout = declared.training, declared.rollout
    if training.calibration != "none":
        yield must_be("training.calibration of a regression", ("none",), training.calibration)
    if training.class_weight != "none":
        yield must_be("training.class_weight of a regression", ("none",), training.class_weight)
    if rollout.mode == "bandit":
        yield must_be(
            "rollout.mode of a regression", ("direct", "canary", "shadow", "ab"), rollout.mode
        )
    for name in ("estimated_loss", "realised_loss"):
        if getattr(rollout.limits, name) is not None:
            yield (
                f"rollout.limits.{name} is of log loss, which a regression has not, but got "
                f"{getattr(rollout.limits, name)}."
            )
    if declared.retrain.cost is not None:
        yield "retrain.cost has a price of a nat of log loss, which a regression has not."
