"""The metrics that training decides by, for every task, with their direction."""

import numpy as np

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be
from ai_assets.lifecycle.evaluation.metrics import get_metric, scored_for, values_of
from ai_assets.lifecycle.training.names import METRICS_OF_TASK

_HIGHER = ("roc_auc", "pr_auc", "accuracy", "macro_f1")


def sign(metric: str) -> float:
    """1.0 where less is better, else -1.0: `sign * value` is always to be made small."""
    return -1.0 if metric in _HIGHER else 1.0


def metric_value(metric: str, task: str, y: np.ndarray, predicted: np.ndarray) -> float:
    """Value of the metric for labels [n] and predictions [n, K].

    Raises:
        DeclarationError: the metric is not one of the task's.
        DataError: the value does not exist, for example ROC-AUC of rows of one class.
    """
    if metric not in METRICS_OF_TASK[task]:
        raise DeclarationError(must_be(f"metric of a {task} task", METRICS_OF_TASK[task], metric))
    value = values_of(scored_for(metric, y, predicted), (metric,))[metric]
    if value is None:
        raise DataError(f"{metric} is {get_metric(metric).undefined}.")
    return value
