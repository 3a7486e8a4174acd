"""Metrics of several classes, by value and against scikit-learn."""

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.evaluation.bootstrap import bootstrap, paired_difference
from ai_assets.lifecycle.evaluation.classes import ScoredClasses, table_of_classes
from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate
from ai_assets.lifecycle.evaluation.metrics import metric_value, metrics_of, scored, values_of

NAMES = ("röd", "grön", "blå", "gul", "vit")


def _rows(seed: int = 0, rows: int = 300, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels [n] and probabilities [n, 5] that know something of them."""
    numbers = np.random.default_rng(seed)
    y = numbers.choice(5, rows, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    scores = numbers.normal(0, 1, (rows, 5)) + skill * np.eye(5)[y]
    powers = np.exp(scores)
    return y.astype(float), powers / powers.sum(axis=1, keepdims=True)


def test_metrics_are_those_of_scikit_learn() -> None:
    y, p = _rows()
    answer = p.argmax(axis=1)
    found = values_of(scored(y, p))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p, labels=range(5)))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, answer))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(y, answer, average="macro"))
    assert found["weighted_f1"] == pytest.approx(sk.f1_score(y, answer, average="weighted"))
    assert found["top_3_accuracy"] == pytest.approx(sk.top_k_accuracy_score(y, p, k=3))
    of_each = sk.roc_auc_score(y, p, multi_class="ovr", average="macro")
    assert found["roc_auc"] == pytest.approx(of_each)
    assert found["brier"] == pytest.approx(((p - np.eye(5)[y.astype(int)]) ** 2).sum(1).mean() / 2)


def test_two_classes_in_a_matrix_are_judged_as_a_binary_task_is() -> None:
    numbers = np.random.default_rng(3)
    positive = numbers.uniform(size=200)
    y = (numbers.uniform(size=200) < positive).astype(float)
    both = np.column_stack([1 - positive, positive])
    for metric in ("log_loss", "brier", "accuracy", "roc_auc"):
        assert metric_value(metric, y, both) == pytest.approx(metric_value(metric, y, positive))


def test_calibration_error_is_nothing_where_confidence_is_kept_and_large_where_it_is_not() -> None:
    numbers = np.random.default_rng(4)
    p = numbers.dirichlet(np.ones(4), 40_000)
    y = np.array([numbers.choice(4, p=row) for row in p[:8000]]).astype(float)
    assert metric_value("calibration_error", y, p[:8000]) == pytest.approx(0, abs=0.02)
    sure = np.full((100, 4), 0.01 / 3)
    sure[:, 0] = 0.99
    assert metric_value("calibration_error", np.repeat([0.0, 1.0], 50), sure) == pytest.approx(0.49)


def test_a_class_that_does_not_occur_has_no_part_in_means() -> None:
    y, p = _rows(rows=60)
    kept = y != 4
    found = values_of(scored(y[kept], p[kept]))
    aucs = [sk.roc_auc_score(y[kept] == k, p[kept, k]) for k in range(4)]
    assert found["roc_auc"] == pytest.approx(np.mean(aucs))


def test_top_three_of_three_classes_says_nothing() -> None:
    found = bootstrap(scored([0, 1, 2], np.eye(3)), seed=1, resamples=10)["top_3_accuracy"]
    assert found.value is None
    assert "only 3 classes" in found.words


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([0, 3], [[0.5, 0.5, 0], [0.2, 0.3, 0.5]], "the number of a class, 0 to 2, but got 3"),
        ([0.5], [[0.5, 0.25, 0.25]], "the number of a class, 0 to 2, but got 0.5"),
        ([0], [[0.5, 0.2, 0.2]], "of sum 1, but got 0.9"),
        ([0], [[1.5, -0.25, -0.25]], "between 0 and 1, but got 1.5"),
        ([0, 1], [[0.5, 0.25, 0.25]], "of one length"),
        ([], np.empty((0, 3)), "at least one labelled row"),
    ],
)
def test_what_cannot_be_judged_is_told(y: list[float], p: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        scored(np.array(y), np.array(p))


def test_a_metric_of_another_task_names_those_of_this_one() -> None:
    y, p = _rows(rows=30)
    with pytest.raises(DeclarationError, match=r"metric of several classes.*macro_f1.*precision"):
        metric_value("precision", y, p)
    with pytest.raises(DeclarationError, match=r"metric of a binary task.*roc_auc.*macro_f1"):
        metric_value("macro_f1", [0, 1], [0.2, 0.6])
    assert "macro_f1" not in metrics_of(scored([0, 1], [0.2, 0.6]))


def test_intervals_hold_the_value_and_are_paired_between_models() -> None:
    y, p = _rows(rows=200)
    found = bootstrap(scored(y, p), seed=1)
    assert set(found) == set(metrics_of(scored(y, p)))
    for name, estimate in found.items():
        assert estimate.low <= estimate.value <= estimate.high, name
    worse = 0.5 * p + 0.1
    same = paired_difference(y, p, p, "log_loss", seed=1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    other = paired_difference(y, worse, p, "macro_f1", seed=1)
    assert other.value == 0  # the same answers, less sure
    assert paired_difference(y, worse, p, "log_loss", seed=1).low > 0


def test_the_table_of_classes_tells_what_each_is_mistaken_for() -> None:
    y = np.array([0, 0, 0, 1, 1, 2])
    answers = np.array([0, 1, 1, 1, 1, 0])
    rows = scored(y, np.eye(4)[answers])
    assert isinstance(rows, ScoredClasses)
    table = table_of_classes(rows, NAMES[:4])
    assert table["class"].to_list() == ["röd", "grön", "blå", "gul"]
    assert table["rows"].to_list() == [3, 2, 1, 0]
    assert table["answered"].to_list() == [2, 4, 0, 0]
    assert table["precision"].to_list() == [0.5, 0.5, None, None]
    assert table["recall"].to_list() == [pytest.approx(1 / 3), 1.0, 0.0, None]
    assert table["f1"].to_list() == [pytest.approx(0.4), pytest.approx(4 / 6), 0.0, None]
    assert table["mistaken_for"].to_list() == ["grön", None, "röd", None]


def test_an_evaluation_of_classes_is_read_back_and_knows_its_base_rate() -> None:
    y, p = _rows()
    frame = pl.DataFrame({"half": np.where(np.arange(300) < 150, "first", "second")})
    found = evaluate(frame, y, p, 0.5, ["half"], seed=1, classes=NAMES, resamples=20)
    again = Evaluation.from_json(found.to_json())
    assert again.metrics == found.metrics
    assert again.classes.equals(found.classes)
    assert again.slices.equals(found.slices)
    assert (again.positives, again.threshold) == (None, None)
    assert found.slices["positives"].to_list() == [None, None]
    half = sk.accuracy_score(y[:150], p[:150].argmax(1))
    assert found.slices["accuracy"][0] == pytest.approx(half)
    shares = np.bincount(y.astype(int)) / 300
    assert found.base_rate_log_loss == pytest.approx(-(shares * np.log(shares)).sum())
