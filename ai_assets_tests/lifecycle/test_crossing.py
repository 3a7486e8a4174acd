"""Few rows: how they are dealt into folds, who answers them, and how sure the figures are."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.evaluation.bootstrap import bootstrap
from ai_assets.lifecycle.evaluation.metrics import metric_value, scored
from ai_assets.lifecycle.evaluation.repeated import bootstrap_repeats, evaluate_repeats
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.training.compete import compete
from ai_assets.lifecycle.training.cross_validation import deal, make_folds
from ai_assets.lifecycle.training.crossing import FOLDS, cross_fit, too_few_to_set_aside
from ai_assets.lifecycle.training.spec import Split, Training

TRAINING = Training(threads=1, split=Split(repeats=3))


def dataset(x: np.ndarray, y: np.ndarray, classes: int | None = None) -> Dataset:
    frame = pl.DataFrame({f"x{i}": x[:, i] for i in range(x.shape[1])})
    encoding = Encoding.fit(frame)
    return Dataset(encoding.transform(frame), y.astype(np.float64), None, encoding, classes)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(10, 200),
    classes=st.integers(1, 4),
    parts=st.integers(2, 7),
    seed=st.integers(0, 9),
)
def test_each_part_has_its_share_of_the_rows_of_each_class(rows, classes, parts, seed):
    random = np.random.default_rng(seed)
    ids, labels = random.integers(0, 2**62, rows), random.integers(0, classes, rows)
    part = deal(ids, labels, parts, salt=seed)
    for kind in range(classes):
        counts = np.bincount(part[labels == kind], minlength=parts)
        assert counts.max() - counts.min() <= 1
    assert (deal(ids, labels, parts, salt=seed) == part).all()


def test_rows_of_a_group_go_together_and_another_salt_deals_otherwise():
    groups = np.repeat(np.arange(40), 3)
    labels = np.repeat(np.resize([0, 1], 40), 3)
    first, second = (deal(groups, labels, 5, salt) for salt in (1, 2))
    for group in range(40):
        assert len(set(first[groups == group])) == 1
    assert 0.5 < (first != second).mean() < 1


def test_folds_with_labels_leave_no_fold_without_a_class():
    y = np.array([1.0] * 3 + [0.0] * 27)
    ids = np.arange(30)
    for fit, judged in make_folds(None, ids, 3, labels=y):
        assert (y[judged].sum(), y[fit].sum(), len(judged)) == (1, 2, 10)


@pytest.mark.parametrize(
    ("rows", "least", "expected"), [(1333, 200, True), (1334, 200, False), (30, 0, False)]
)
def test_rows_are_too_few_where_the_test_rows_would_be(rows: int, least: int, expected: bool):
    assert too_few_to_set_aside(rows, Split(least_test=least)) is expected


@pytest.mark.parametrize("family", ["linear", "lightgbm", "mlp"])
def test_nothing_is_learned_of_a_row_that_is_judged(family: str):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 8)), np.resize([0, 1], 60)
    params: dict[str, Any] = _params(family)
    found = cross_fit(
        family, dataset(x, y), np.arange(60), params, training=TRAINING, task="binary"
    )
    assert found.predicted.shape == (3, 60, 1)
    for repeat in found.predicted:
        auc = metric_value("roc_auc", y, repeat)
        # Of noise nothing can be known; a model that had seen its rows would be well above.
        assert auc is not None and 0.2 < auc < 0.75
    assert not np.allclose(found.predicted[0], found.predicted[1])


def test_what_there_is_to_learn_is_learned_of_thirty_rows():
    random = np.random.default_rng(1)
    x = random.normal(size=(30, 2))
    y = (x[:, 0] > 0).astype(int)
    data = dataset(x, y)
    found, again = (
        cross_fit(
            "linear", data, np.arange(30), _params("linear"), training=TRAINING, task="binary"
        )
        for _ in range(2)
    )
    assert all(metric_value("roc_auc", y, p) > 0.95 for p in found.predicted)
    assert (found.predicted == again.predicted).all()
    assert found.iterations >= 1


def test_copies_of_a_row_do_not_judge_each_other():
    random = np.random.default_rng(2)
    x = np.repeat(random.normal(size=(30, 6)), 4, axis=0)
    y = np.repeat(random.integers(0, 2, 30), 4)
    params = _params("lightgbm")
    apart, together = (
        cross_fit("lightgbm", dataset(x, y), ids, params, training=TRAINING, task="binary")
        for ids in (np.arange(120), np.repeat(np.arange(30), 4))
    )
    leaked, honest = (
        np.mean([metric_value("roc_auc", y, p) for p in found.predicted])
        for found in (apart, together)
    )
    assert leaked > 0.8 > 0.7 > honest


def _params(family: str) -> dict[str, Any]:
    from ai_assets.lifecycle.learners import get_family

    return get_family(family).defaults()


def test_of_repeats_the_value_is_the_mean_and_rows_stay_as_many_as_they_are():
    random = np.random.default_rng(3)
    p = random.uniform(0.05, 0.95, 80)
    y = (random.random(80) < p).astype(float)
    once = bootstrap(scored(y, p), ("log_loss",), seed=0)["log_loss"]
    same = bootstrap_repeats([scored(y, p)] * 10, seed=0)["log_loss"]
    assert (same.value, same.low, same.high) == pytest.approx((once.value, once.low, once.high))
    others = [np.clip(p + random.normal(0, 0.15, 80), 0.02, 0.98) for _ in range(10)]
    mixed = bootstrap_repeats([scored(y, other) for other in others], seed=0)["log_loss"]
    each = [metric_value("log_loss", y, other) for other in others]
    assert mixed.value == pytest.approx(np.mean(each))
    assert mixed.low < mixed.value < mixed.high


def test_repeats_that_disagree_make_it_less_sure():
    y = np.resize([0.0, 1.0], 400)
    good, bad = np.where(y == 1, 0.9, 0.1), np.where(y == 1, 0.6, 0.4)
    alone = bootstrap_repeats([scored(y, good)], seed=0)["log_loss"]
    both = bootstrap_repeats([scored(y, good), scored(y, bad)] * 5, seed=0)["log_loss"]
    assert both.high - both.low > 10 * (alone.high - alone.low)
    assert both.low < -np.log(0.9) + 0.02 and both.high > -np.log(0.6) - 0.02


def test_groups_of_rows_are_drawn_together():
    random = np.random.default_rng(4)
    few = random.uniform(0.05, 0.95, 20)
    y = np.repeat((random.random(20) < few).astype(float), 10)
    p = np.repeat(few, 10)
    rows = [scored(y, p)]
    by_row = bootstrap_repeats(rows, seed=0)["log_loss"]
    by_group = bootstrap_repeats(rows, seed=0, blocks=np.repeat(np.arange(20), 10))["log_loss"]
    assert by_group.high - by_group.low > 2 * (by_row.high - by_row.low)


def test_the_interval_of_repeats_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(120):
        random = np.random.default_rng(seed)
        y = (random.random(60) < 0.5).astype(float)
        repeats = []
        # What is answered is right with a chance of 0.8, and repeats mostly agree.
        right = random.random(60) < 0.8
        for _ in range(5):
            flip = random.random(60) < 0.05
            sure = np.where((right ^ flip) == (y == 1), 0.9, 0.1)
            repeats.append(scored(y, sure))
        found = bootstrap_repeats(repeats, seed=seed)["accuracy"]
        truth = 0.8 * 0.95 + 0.2 * 0.05
        held += found.low <= truth <= found.high
    assert 0.88 < held / 120 <= 1


def test_the_evaluation_of_repeats_says_how_it_judged_and_counts_rows_once():
    y = np.resize([0.0, 1.0, 2.0], 60)
    random = np.random.default_rng(5)
    repeats = np.array([random.dirichlet(np.ones(3), 60) for _ in range(4)])
    costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (9.0, 9.0, 0.0))
    decision = Decision("multiclass", classes=("a", "b", "c"), costs=costs)
    found = evaluate_repeats(
        pl.DataFrame({"row": range(60)}), y, repeats, decision, seed=0, words="Few rows."
    )
    assert (found.rows, found.judged) == (60, "Few rows.")
    each = [metric_value_of(y, p, costs) for p in repeats]
    assert found.metrics["cost"].value == pytest.approx(np.mean(each))
    served = found.costs.row(0, named=True)
    assert (served["answered"], served["cost"]) == ("as served", pytest.approx(np.mean(each)))
    assert found.classes["rows"].to_list() == [20, 20, 20]
    assert type(found).from_json(found.to_json()).judged == "Few rows."


def metric_value_of(y: np.ndarray, p: np.ndarray, costs: Any) -> float:
    answers = (p @ np.array(costs)).argmin(axis=1)
    return float(np.array(costs)[y.astype(int), answers].mean())


def test_families_that_were_judged_several_times_are_no_surer_of_their_lead():
    random = np.random.default_rng(6)
    y = np.resize([0.0, 1.0], 50)
    good = np.clip(np.where(y == 1, 0.7, 0.3) + random.normal(0, 0.2, 50), 0.02, 0.98)
    poor = np.clip(good + random.normal(0, 0.15, 50), 0.02, 0.98)

    def gap(times: int, blocks: np.ndarray | None) -> float:
        predicted = {"good": np.tile(good, times)[:, None], "poor": np.tile(poor, times)[:, None]}
        table = compete(
            np.tile(y, times), predicted, metric="log_loss", task="binary", seed=0, blocks=blocks
        ).table
        row = table.filter(pl.col("difference") != 0).row(0, named=True)
        return float(row["high"] - row["low"])

    once, blocked = gap(1, None), gap(9, np.tile(np.arange(50), 9))
    assert blocked == pytest.approx(once, rel=0.25)
    assert gap(9, None) < 0.5 * once


def test_five_folds_is_what_the_words_say():
    assert FOLDS == 5
