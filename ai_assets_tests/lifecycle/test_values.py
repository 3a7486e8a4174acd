"""Metrics of predicted numbers, by hand and against scikit-learn."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.compression.candidates import _against
from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.evaluation import plots_of_values
from ai_assets.lifecycle.evaluation.bootstrap import bootstrap, paired_difference
from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate
from ai_assets.lifecycle.evaluation.metrics import (
    get_metric,
    metric_value,
    metrics_of,
    scored,
    values_of,
)
from ai_assets.lifecycle.evaluation.names import MAIN_METRIC, METRIC_NAMES, OF_VALUES
from ai_assets.lifecycle.evaluation.values import constant_errors
from ai_assets.lifecycle.gate.champion import compare
from ai_assets.lifecycle.gate.pair import Pair, Side
from ai_assets.lifecycle.gate.spec import Champion
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.stages.evaluation import better_than_mean

# Errors 1, -2, 0 and 4.
Y = np.array([10.0, 20.0, 0.0, 30.0])
P = np.array([11.0, 18.0, 0.0, 34.0])


def test_the_metrics_are_those_of_the_textbook() -> None:
    found = values_of(scored(Y, P, values=True))
    assert found == {
        "rmse": pytest.approx(np.sqrt((1 + 4 + 0 + 16) / 4)),
        "mae": pytest.approx(7 / 4),
        # 1/10, 2/20 and 4/30: the row whose outcome is 0 is left out.
        "mape": pytest.approx((0.1 + 0.1 + 4 / 30) / 3),
        "r2": pytest.approx(1 - 21 / 500),
    }


def test_the_ends_of_an_interval_are_judged_as_quantiles() -> None:
    # 80 % between -2 and 2 around the prediction: three of four are inside, ends included.
    found = values_of(scored(Y, P, values=True, interval=Interval(0.8, 2.0, 9)))
    assert found["coverage"] == 0.75
    assert found["interval_width"] == 4.0
    # Lower ends 9, 16, -2, 32 at 10 %, upper ends 13, 20, 2, 36 at 90 %.
    lower = [0.1 * 1, 0.1 * 4, 0.1 * 2, 0.9 * 2]
    upper = [0.1 * 3, 0.0, 0.1 * 2, 0.1 * 6]
    assert found["pinball_loss"] == pytest.approx(np.mean([lower, upper]))


def test_of_what_there_is_no_value_the_words_say_so() -> None:
    zeros = bootstrap(scored([0.0, 0.0], [1.0, 2.0], values=True), seed=0)
    assert zeros["mape"].words == "undefined: every outcome is 0"
    assert zeros["r2"].words == "undefined: all outcomes are alike"
    assert zeros["rmse"].value == pytest.approx(np.sqrt(2.5))
    assert metric_value("coverage", Y, P) is None


numbers = st.floats(-1e4, 1e4, allow_nan=False).map(lambda x: round(x, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=40))
def test_they_equal_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    from sklearn import metrics as sk

    y, p = np.array(pairs).T
    found = values_of(scored(y, p, values=True))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, p))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, p))
    if y.std() > 0.01:
        assert found["r2"] == pytest.approx(sk.r2_score(y, p), rel=1e-6, abs=1e-6)
    if (y != 0).any():
        some = y != 0
        assert found["mape"] == pytest.approx(sk.mean_absolute_percentage_error(y[some], p[some]))


def test_a_large_level_does_not_swallow_the_spread() -> None:
    assert metric_value("r2", Y + 1e9, P + 1e9) == pytest.approx(1 - 21 / 500)


def test_counts_weigh_rows_as_if_they_were_there_so_often() -> None:
    counts = np.array([[2.0, 0.0, 1.0, 3.0]])
    rows = scored(Y, P, values=True, interval=Interval(0.8, 2.0, 9))
    again = np.repeat(np.arange(4), [2, 0, 1, 3])
    whole = values_of(scored(Y[again], P[again], values=True, interval=rows.interval))
    for name in metrics_of(rows):
        assert get_metric(name).compute(rows, counts)[0] == pytest.approx(whole[name])


@pytest.mark.parametrize(
    ("y", "p", "says"),
    [
        ([1.0], [1.0, 2.0], "of one length"),
        ([], [], "at least one labelled row"),
        ([np.nan], [1.0], "a label must be a finite number"),
        ([1.0], [np.inf], "a prediction must be a finite number"),
    ],
)
def test_what_cannot_be_judged_is_refused(y: list[float], p: list[float], says: str) -> None:
    with pytest.raises(DataError, match=says):
        scored(y, p, values=True)


def test_metrics_of_classes_are_none_of_values_and_the_other_way_round() -> None:
    rows = scored(Y, P, values=True)
    with pytest.raises(DeclarationError, match="a metric of a regression must be one of 'rmse'"):
        get_metric("log_loss").compute(rows, np.ones((1, 4)))
    with pytest.raises(DeclarationError, match="a metric of a binary task"):
        get_metric("rmse").compute(scored([0, 1], [0.2, 0.7]), np.ones((1, 2)))
    assert set(OF_VALUES) < set(METRIC_NAMES)
    assert set(MAIN_METRIC.values()) < set(METRIC_NAMES)


def test_the_interval_of_a_paired_difference_is_of_the_same_rows() -> None:
    numbers = np.random.default_rng(0)
    y = numbers.normal(0, 10, 400)
    noise = numbers.normal(0, 3, 400)
    found = paired_difference(y, y + noise, y + 1.1 * noise, "mae", seed=1)
    assert found.value == pytest.approx(-0.1 * np.abs(noise).mean())
    assert found.low < found.high < 0


def test_r2_may_be_below_nothing() -> None:
    found = bootstrap(scored(Y, -P, values=True), ("r2",), seed=0)["r2"]
    assert found.value < 0 and found.low <= found.value


def test_the_best_constants_are_mean_and_median() -> None:
    found = constant_errors([0.0, 0.0, 3.0, 9.0])
    assert found["rmse"] == pytest.approx(np.sqrt((9 + 9 + 0 + 36) / 4))
    assert found["mae"] == pytest.approx((1.5 + 1.5 + 1.5 + 7.5) / 4)


def judged(p: np.ndarray, **more: object) -> Evaluation:
    frame = pl.DataFrame({"side": ["a", "a", "b", "b"]})
    return evaluate(frame, Y, p, 0.5, ["side"], seed=0, values=True, min_slice_rows=2, **more)


def test_an_evaluation_of_values_survives_json() -> None:
    found = judged(P, interval=Interval(0.8, 2.0, 9))
    again = Evaluation.from_json(found.to_json())
    assert again.metrics == found.metrics
    assert again.constant == found.constant == constant_errors(Y)
    assert again.slices.equals(found.slices)
    sides = {row["value"]: row for row in found.slices.to_dicts()}
    assert sides["a"]["rmse"] == pytest.approx(np.sqrt(2.5))
    assert sides["b"]["mae"] == 2.0 and sides["b"]["positives"] is None
    assert (sides["a"]["coverage"], sides["b"]["coverage"]) == (1.0, 0.5)


def test_a_model_that_knows_no_more_than_the_mean_is_told() -> None:
    good, bad = judged(P), judged(np.full(4, 20.0))
    passed = better_than_mean(good, "rmse")
    assert passed.passed and passed.words.startswith("RMSE 2.291; always answering the mean would")
    assert not better_than_mean(bad, "rmse").passed
    # The median of 0, 10, 20 and 30 is 15: its mean error is 10.
    assert better_than_mean(good, "mae").metadata == {"mae": 1.75, "constant_mae": 10.0}
    assert not better_than_mean(bad, "mae").passed


def test_margins_of_a_champion_are_shares_of_its_error() -> None:
    numbers = np.random.default_rng(0)
    y, noise = numbers.normal(50, 10, 500), numbers.normal(0, 4, 500)

    def found(by: float, margin: float) -> tuple[bool, str]:
        spec = Champion(metric="rmse", margin=margin)
        none = pl.DataFrame()
        answers = Decision("regression")
        pair = Pair(y, Side(y + noise, answers), Side(y + by * noise, answers))
        told = compare(pair, spec, slices=none, blocks=None, seed=0)
        return told.passed, told.rows["allowed"][0]

    error = float(np.sqrt((noise**2).mean()))
    assert found(0.94, 0.05) == (True, f"the difference below {-0.05 * error:g}")
    assert not found(0.96, 0.05)[0]
    assert found(1.04, -0.05)[0] and not found(1.06, -0.05)[0]


def test_a_budget_of_a_metric_in_units_is_a_share() -> None:
    assert _against("rmse", 10.05, 10.0) == pytest.approx(0.005)
    assert _against("rmse", 0.0, 0.0) == 0.0
    assert _against("mae", 1.0, 0.0) == float("inf")
    assert _against("log_loss", 0.505, 0.5) == pytest.approx(0.005)


def test_pictures_are_drawn_with_and_without_an_interval() -> None:
    for draw in (plots_of_values.predicted, plots_of_values.residuals):
        alone, beside = draw(Y, P), draw(Y, P, Interval(0.8, 2.0, 9))
        assert alone.startswith(b"\x89PNG") and beside.startswith(b"\x89PNG")
        assert alone != beside
