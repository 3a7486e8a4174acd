"""How sure a difference is: rows that share a day say less than as many rows of their own."""

import numpy as np
import pytest

from ai_assets.lifecycle.training.differences import LEAST_DAYS, days_of, difference_interval

DAYS, ROWS_A_DAY = 12, 50
BLOCKS = np.repeat(np.arange(DAYS), ROWS_A_DAY)


def predictions(task: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two predictions, of which the second is better on 8 of the 12 days alone."""
    y = np.tile([0.0, 1.0], DAYS * ROWS_A_DAY // 2)
    better = np.where(BLOCKS < 8, 0.1, -0.1)
    towards = np.where(y == 1, 1, -1)
    middle = 0.5 if task == "binary" else 0.0
    return y, np.full((len(y), 1), middle), (middle + towards * better)[:, None]


@pytest.mark.parametrize(("task", "metric"), [("binary", "log_loss"), ("regression", "mae")])
def test_days_drawn_whole_give_a_wider_interval(task: str, metric: str) -> None:
    y, plain, lucky = predictions(task)
    if task == "regression":
        y = np.where(y == 1, 1.0, -1.0)
    low, high = difference_interval(y, lucky, plain, metric, seed=0)
    assert low < high < 0  # of rows of their own it would be clear
    low_of_days, high_of_days = difference_interval(y, lucky, plain, metric, 0, BLOCKS)
    assert low_of_days < low
    assert high_of_days > 0


def test_the_interval_of_a_metric_to_be_large_has_the_sign_of_the_difference() -> None:
    y = np.tile([0.0, 1.0], 100)
    right, wrong = (0.1 + 0.8 * y)[:, None], (0.9 - 0.8 * y)[:, None]
    assert difference_interval(y, right, wrong, "roc_auc", seed=0) == (1.0, 1.0)


def test_days_are_drawn_only_where_there_are_enough() -> None:
    hours = np.datetime64("2013-01-01T00") + np.arange(24 * LEAST_DAYS).astype("timedelta64[h]")
    days = days_of(hours)
    assert days is not None
    assert np.unique(days, return_counts=True)[1].tolist() == [24] * LEAST_DAYS
    assert days_of(hours[:-24]) is None
    assert days_of(np.arange(1000)) is None  # numbers tell no day
    assert days_of(None) is None
