"""The names of the metrics that training can decide by, for what declares one."""

METRICS_OF_TASK: dict[str, tuple[str, ...]] = {
    "binary": ("log_loss", "roc_auc", "pr_auc", "brier"),
    "multiclass": ("log_loss", "accuracy", "macro_f1", "brier"),
    "regression": ("rmse", "mae"),
    "count": ("poisson_deviance", "rmse", "mae"),
}


def metric_names() -> tuple[str, ...]:
    """Every metric's name, once."""
    return tuple(dict.fromkeys(name for names in METRICS_OF_TASK.values() for name in names))
