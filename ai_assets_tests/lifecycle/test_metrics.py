"""Metrics of binary predictions, by value and against scikit-learn."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.evaluation.bootstrap import bootstrap
from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate
from ai_assets.lifecycle.evaluation.metrics import (
    METRICS,
    get_metric,
    metric_value,
    metrics_of,
    scored,
    values_of,
)
from ai_assets.lifecycle.evaluation.names import METRIC_NAMES

# Scores with ties, so that ranks are tested where they are hard.
rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 10).map(lambda tenth: tenth / 10)),
    min_size=2,
    max_size=60,
)


def _as_arrays(pairs: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([y for y, _ in pairs], float), np.array([p for _, p in pairs], float)


@settings(max_examples=100, deadline=None)
@given(rows, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_every_metric_equals_scikit_learn(pairs: list[tuple[bool, float]], cut: float) -> None:
    from sklearn import metrics as sk

    y, p = _as_arrays(pairs)
    predicted = (p >= cut).astype(float)
    clipped = np.clip(p, 1e-15, 1 - 1e-15)

    found = values_of(scored(y, p, cut))

    expected = {
        "log_loss": sk.log_loss(y, clipped, labels=[0, 1]),
        "brier": np.mean((p - y) ** 2),
        "accuracy": sk.accuracy_score(y, predicted),
    }
    if 0 < y.sum() < len(y):
        expected["roc_auc"] = sk.roc_auc_score(y, p)
    if y.sum():
        expected["pr_auc"] = sk.average_precision_score(y, p)
        expected["recall"] = sk.recall_score(y, predicted)
    if predicted.sum():
        expected["precision"] = sk.precision_score(y, predicted)
    if predicted.sum() + y.sum():
        expected["f1"] = sk.f1_score(y, predicted)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_a_metric_of_repeated_rows_equals_the_metric_of_counted_rows() -> None:
    generator = np.random.default_rng(3)
    p = generator.integers(0, 30, 200) / 30
    y = (generator.random(200) < p).astype(float)
    counts = generator.integers(0, 4, 200)
    sorted_rows = scored(y, p, 0.4)
    repeated = scored(np.repeat(y, counts), np.repeat(p, counts), 0.4)

    for name in set(metrics_of(scored([0, 1], [0, 1]))) - {"calibration_error"}:
        counted = get_metric(name).compute(sorted_rows, counts[None, sorted_rows.order])
        assert counted[0] == pytest.approx(values_of(repeated)[name], abs=1e-12), name


def test_calibration_error_is_the_mean_gap_over_bins_of_equal_mass() -> None:
    # Ten bins of ten rows; in each the score is 0.1 above the share of positives.
    share = np.repeat(np.arange(10) / 10, 10)
    y = np.concatenate([np.arange(10) < tenth for tenth in range(10)]).astype(float)

    assert metric_value("calibration_error", y, share + 0.1) == pytest.approx(0.1)
    assert metric_value("calibration_error", y, share) == pytest.approx(0.0)


def test_calibration_error_keeps_equal_scores_in_one_bin() -> None:
    y = np.r_[np.zeros(50), np.ones(50)]

    assert metric_value("calibration_error", y, np.full(100, 0.5)) == pytest.approx(0.0)


def test_one_class_leaves_auc_undefined_in_words_and_the_rest_defined() -> None:
    found = bootstrap(scored(np.zeros(50), np.linspace(0, 0.4, 50)), seed=1, resamples=20)

    assert found["roc_auc"].value is None
    assert str(found["roc_auc"]) == "undefined: the rows hold one class only"
    assert str(found["pr_auc"]) == "undefined: the rows hold no positive"
    assert str(found["precision"]) == "undefined: no row is predicted positive"
    assert found["accuracy"].value == 1.0
    assert found["log_loss"].value == pytest.approx(-np.log1p(-np.linspace(0, 0.4, 50)).mean())


def test_a_wrong_score_of_certainty_costs_much_but_not_infinitely_much() -> None:
    assert metric_value("log_loss", [1.0], [0.0]) == pytest.approx(-np.log(1e-15))


def test_the_names_that_can_be_declared_are_those_of_the_metrics() -> None:
    assert tuple(METRICS) == METRIC_NAMES


def test_an_unknown_metric_offers_the_nearest() -> None:
    with pytest.raises(DeclarationError, match=r"a metric must be one of .*'roc_auc'\?"):
        get_metric("roc_au")


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([0, 2], [0.1, 0.2], "a label must be 0 or 1, but got 2.0."),
        ([0, float("nan")], [0.1, 0.2], "a label must be 0 or 1, but got nan."),
        ([0, 1], [0.1, 1.5], "a score must be a probability between 0 and 1, but got 1.5."),
        ([0, 1], [0.1, float("nan")], "a score must be a probability between 0 and 1"),
        ([0, 1], [0.1], r"y and p must be of one length, but got \(2, 1\)."),
        ([], [], "needs at least one labelled row"),
    ],
)
def test_labels_and_scores_that_cannot_be_judged_are_refused(y: list, p: list, words: str) -> None:
    with pytest.raises(DataError, match=words):
        scored(y, p)


def test_direction_says_which_value_is_better() -> None:
    assert METRICS["roc_auc"].better(0.8, 0.7)
    assert METRICS["log_loss"].better(0.3, 0.4)
    assert not METRICS["log_loss"].better(0.4, 0.4)


def test_an_evaluation_reads_back_from_its_json() -> None:
    generator = np.random.default_rng(0)
    p = generator.random(300)
    y = (generator.random(300) < p).astype(float)
    frame = pl.DataFrame({"origin": ["JFK", "LGA", None] * 100})

    made = evaluate(frame, y, p, 0.5, ["origin"], seed=1, resamples=20)
    read = Evaluation.from_json(made.to_json())

    assert read.metrics == made.metrics
    assert read.slices.equals(made.slices)
    assert (read.rows, read.positives, read.threshold) == (300, int(y.sum()), 0.5)
    json.loads(made.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
