"""The names of the metrics, for what declares limits on them and computes nothing."""

from ai_assets.lifecycle.errors import DeclarationError, must_be

OF_INTERVALS = ("coverage", "interval_width", "pinball_loss")
"""Metrics that a regression has only where an interval is declared."""
OF_COSTS = ("cost",)
"""Metrics that classes have only where costs are declared."""
OF_COUNTS = ("poisson_deviance",)
"""Metrics that a regression has only where it predicts counts."""
OF_VALUES = ("rmse", "mae", "mape", "r2", *OF_INTERVALS, *OF_COUNTS)
"""Metrics of predicted numbers; all others are of classes."""

METRIC_NAMES = (
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "macro_f1",
    "weighted_f1",
    "top_3_accuracy",
    "calibration_error",
    *OF_COSTS,
    *OF_VALUES,
)

MAIN_METRIC: dict[str, str] = {
    "binary": "log_loss",
    "multiclass": "log_loss",
    "regression": "rmse",
}
"""What a task is judged by where nothing is declared."""


def metric_name(name: str) -> str:
    """The name, if it is one of a metric.

    Raises:
        DeclarationError: There is no such metric; offers the nearest name.
    """
    if name not in METRIC_NAMES:
        raise DeclarationError(must_be("a metric", METRIC_NAMES, name))
    return name
