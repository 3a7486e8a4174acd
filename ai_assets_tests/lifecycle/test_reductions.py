"""Weights under which groups are answered alike: what they are, what they reach and what it costs.

The people: two teams and two ages that features only hint at, and outcomes that are rarer in one.
"""

from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.fairness.groups import PROTECTED
from ai_assets.lifecycle.fairness.judge import Answers, judge_groups
from ai_assets.lifecycle.fairness.parts import compared_parts
from ai_assets.lifecycle.fairness.spec import Fairness
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.linear import Linear, LinearModel
from ai_assets.lifecycle.training import reductions
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.costs import TwoCosts
from ai_assets.lifecycle.training.cross_validation import deal
from ai_assets.lifecycle.training.fitting import fit_model, weighted
from ai_assets.lifecycle.training.spec import Training
from ai_assets.lifecycle.training.threshold import choose_threshold
from ai_assets.lifecycle.training.whole import learn
from ai_assets_tests.lifecycle.teams import (
    COLUMNS,
    LIMIT,
    TRAINING,
    Drawn,
    dataset,
    declared,
    few,
    people,
    searched,
)


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test searched for does not answer another."""
    monkeypatch.setattr(reductions, "_KNOWN", OrderedDict())


def rates(data: Dataset, frame: pl.DataFrame, groups: np.ndarray, y: np.ndarray) -> list[float]:
    """The shares of team 0 and of team 1 that what learns from the data answers positive."""
    model = fit_model("linear", data, data, {"c": 1.0}, training=TRAINING, task="binary")
    threshold = choose_threshold(data.y, model.predict(data.x)[:, 0]).value
    answered = model.predict(data.encoding.transform(frame))[:, 0] >= threshold
    return [float(answered[groups[:, 0] == team].mean()) for team in (0, 1)]


def found(data: Dataset, frame: pl.DataFrame, groups: np.ndarray, y: np.ndarray) -> list[float]:
    """The same of those who are positive."""
    positive = y == 1
    return rates(data, frame.filter(pl.Series(positive)), groups[positive], y[positive])


def seen(data: Dataset) -> np.ndarray:
    """The rates [2] of both teams that the search saw at what it took."""
    assert data.protected is not None
    sample = reductions._Sample.of(data, compared_parts(data.protected, data.y))
    (part,) = sample.parts
    fold = deal(np.arange(len(data)), data.y, reductions.FOLDS, salt=reductions._SALT)
    taken = reductions._searched(sample, data.protected.spec, TRAINING)
    scores = reductions._held_out(sample, reductions._worth(data.y, [part], taken), fold)
    answered = reductions._answered(data.y, scores, sample.weight, TRAINING)
    return part.rates(answered, sample.weight)


def judged(
    drawn: Drawn,
    spec: Fairness,
    *,
    mitigated: bool,
    training: Training = TRAINING,
    telling: float = 0.9,
) -> tuple[dict[str, float], float]:
    """Differences on 20,000 new people, by column, and the log loss there."""
    data = dataset(drawn, spec if mitigated else None)
    model = fit_model("linear", data, data, {"c": 1.0}, training=training, task="binary")
    calibration = fit_calibration(training.calibration, model.predict(data.x)[:, 0], data.y)
    p = calibration.apply(model.predict(data.x)[:, 0])
    costs = training.costs.matrix() if isinstance(training.costs, TwoCosts) else None
    threshold = choose_threshold(data.y, p, costs).value
    frame, groups, y = people(20_000, seed=2, telling=telling)
    p = calibration.apply(model.predict(data.encoding.transform(frame))[:, 0])
    told = pl.DataFrame(groups, schema=list(COLUMNS))
    found = judge_groups(told, Answers.of(y, p, threshold), spec, seed=0, resamples=20)
    differences = {d.column: d.value.value or 0.0 for d in found.differences}
    return differences, float(-np.log(np.where(y == 1, p, 1 - p)).mean())


@pytest.mark.parametrize(
    ("metric", "before", "price"),
    [
        ("demographic_parity", {"team": 0.29, "older": 0.20}, 0.039),
        ("equal_opportunity", {"team": 0.20, "older": 0.11}, 0.004),
        ("equalized_odds", {"team": 0.20, "older": 0.11}, 0.003),
    ],
)
def test_every_column_comes_below_the_limit_on_new_people_at_a_price_that_is_told(
    metric: str, before: dict[str, float], price: float
) -> None:
    drawn, spec = people(4_000, seed=3), declared(metric, *COLUMNS)

    plain, loss = judged(drawn, spec, mitigated=False)
    fair, fair_loss = judged(drawn, spec, mitigated=True)

    assert plain == pytest.approx(before, abs=0.01)
    assert min(plain.values()) > LIMIT > max(fair.values()) + 0.01
    assert fair_loss - loss == pytest.approx(price, abs=0.002)


def test_the_difference_is_closed_at_the_threshold_that_costs_ask_for() -> None:
    drawn, spec = people(4_000, seed=3), declared("equal_opportunity", "team")
    training = TRAINING.model_copy(update={"costs": TwoCosts(missed=1, false_alarm=4)})

    plain, _ = judged(drawn, spec, mitigated=False, training=training)
    fair, _ = judged(drawn, spec, mitigated=True, training=training)
    ours, other = (searched(dataset(drawn, spec), t)[1] for t in (training, TRAINING))

    assert plain["team"] > LIMIT > fair["team"]
    assert fair["team"] == pytest.approx(0.081, abs=0.005)
    # another difference has to be closed there, so it takes other weights
    assert ours.max() == pytest.approx(1.29, abs=0.05) and other.max() == pytest.approx(
        1.54, abs=0.05
    )


def test_the_difference_is_closed_where_classes_count_the_same() -> None:
    drawn, spec = people(4_000, seed=3), declared("demographic_parity", "team")
    training = TRAINING.model_copy(update={"class_weight": "balanced"})

    plain, _ = judged(drawn, spec, mitigated=False, training=training)
    fair, _ = judged(drawn, spec, mitigated=True, training=training)
    taught = weighted(dataset(drawn, spec), training, "binary")

    assert plain["team"] > 0.25 and fair["team"] < LIMIT
    assert taught.weight is not None
    totals = np.bincount(taught.y.astype(np.int64), weights=taught.weight)
    assert totals == pytest.approx([2_000, 2_000])


@pytest.mark.parametrize("refit", ["none", "full"])
def test_what_learns_without_a_graph_closes_the_difference_too(refit: str) -> None:
    """As a backtest does: rows by time, which a refit learns from to the last."""
    frame, groups, y = people(6_000, seed=3)
    spec = declared("demographic_parity", "team")
    training = TRAINING.model_copy(update={"refit": refit})
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows = frame.with_columns(
        pl.Series("_row_id", np.arange(6_000)),
        pl.Series("label", y),
        pl.Series("event_time", [start + timedelta(hours=n) for n in range(6_000)]),
        pl.Series(PROTECTED, groups[:, 0]),
    )
    new, teams, outcome = people(20_000, seed=2)

    def difference(fairness: Fairness | None) -> float:
        learned = learn(
            rows, {"linear": 1}, {"linear": {"c": 1.0}}, training, "binary", 2, fairness
        )
        p = learned.score(new)
        answered = p >= choose_threshold(outcome, p).value
        return float(answered[teams[:, 0] == 0].mean() - answered[teams[:, 0] == 1].mean())

    assert difference(None) > 0.25
    assert 0 < difference(spec) < LIMIT


def test_the_less_features_tell_of_groups_the_more_it_costs_to_answer_them_alike() -> None:
    spec, reached, prices = declared("equal_opportunity", "team"), [], []
    for telling in (0.9, 0.6):
        drawn = people(4_000, seed=3, telling=telling)
        plain, loss = judged(drawn, spec, mitigated=False, telling=telling)
        fair, fair_loss = judged(drawn, spec, mitigated=True, telling=telling)
        assert plain["team"] > 0.12
        reached.append(fair["team"])
        prices.append(fair_loss - loss)

    assert reached == pytest.approx([0.078, 0.041], abs=0.01)
    assert prices == pytest.approx([0.002, 0.036], abs=0.003)


def test_rows_of_a_small_group_move_no_further_than_they_need_to() -> None:
    """Of 8,000 people 174 are of the group, whom the club names."""
    spec, drawn = declared("demographic_parity", "team"), few(8_000, share=0.023)
    small = drawn[1][:, 0] == 1
    assert small.sum() == 174

    labels, weights = searched(dataset(drawn, spec))
    plain = rates(dataset(drawn, None), *few(20_000, share=0.5, seed=2))
    fair = rates(dataset(drawn, spec), *few(20_000, share=0.5, seed=2))

    # what nine in ten of the group are refused by is made good by weights alone
    assert (labels == drawn[2]).all()
    assert weights[small].max() == pytest.approx(1.76, abs=0.05) and weights[~small].max() < 1.02
    assert plain == pytest.approx([0.676, 0.22], abs=0.02)
    assert abs(fair[0] - fair[1]) < 0.03
    # and on the rows that were searched the small group does not come out ahead
    others, own = seen(dataset(drawn, spec))
    assert 0 <= others - own < 0.03


def test_a_difference_that_turns_at_once_is_closed_by_shorter_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features tell the group and hardly anything else: a little more and all of it is answered."""
    steps: list[int] = []
    held_out = reductions._held_out
    monkeypatch.setattr(reductions, "_held_out", lambda *a: (steps.append(1), held_out(*a))[1])
    frame, groups, y = few(8_000, share=0.3, push=4.0)
    spec = declared("demographic_parity", "team", max_difference=0.01)

    labels, weights = searched(dataset((frame, groups, y), spec))
    plain = rates(dataset((frame, groups, y), None), frame, groups, y)
    fair = rates(dataset((frame, groups, y), spec), frame, groups, y)

    assert plain == pytest.approx([0.68, 0.0], abs=0.02)
    assert (labels == y).all() and weights[y == 0].min() < 0.01
    assert len(steps) < reductions.STEPS / 2
    assert abs(fair[0] - fair[1]) < 0.015


def test_rows_that_are_answered_alike_as_they_are_teach_what_they_did() -> None:
    data = dataset(people(4_000, seed=1, biased=False), declared("equalized_odds", *COLUMNS))

    taught = weighted(data, TRAINING, "binary")

    assert (taught.y == data.y).all()
    assert taught.weight == pytest.approx(np.ones(len(data)))


def test_a_row_whose_worth_is_below_0_teaches_the_other_label() -> None:
    frame, groups, y = people(4_000, seed=3, telling=0.7)
    data = dataset((frame, groups, y), declared("equal_opportunity", "team", max_difference=0.0))

    labels, weights = searched(data)

    # hardly told apart, whoever is positive in team 1 has more skill: they are found more often
    team = groups[:, 0]
    found_more_often, others = (team == 1) & (y == 1), (team == 0) & (y == 1)
    assert (labels == np.where(found_more_often, 0.0, y)).all()
    assert weights[found_more_often] == pytest.approx(0.255, abs=0.05)
    assert weights[others] == pytest.approx(1.393, abs=0.05)
    assert (weights[y == 0] == 1).all()
    # what positives are worth in all, signs and all, is what it was
    assert weights[others].sum() - weights[found_more_often].sum() == pytest.approx(y.sum())


def test_the_same_rows_give_the_same_weights_and_other_rows_have_no_part_in_it() -> None:
    drawn = people(4_000, seed=1)
    spec = declared("equal_opportunity", *COLUMNS)
    data = dataset(drawn, spec)
    judging = np.arange(4_000) % 4 == 0
    other = replace(data, y=np.where(judging, 1 - data.y, data.y))

    def anew(rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
        reductions._KNOWN.clear()
        return searched(rows)

    ours, theirs = (anew(d.take(~judging)) for d in (data, other))
    seen = searched(other)[1][~judging]

    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    assert np.abs(seen - ours[1]).max() > 0.01


def test_of_many_rows_some_are_searched_on_and_all_are_weighed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = dataset(people(9_000, seed=3), declared("equal_opportunity", "team"))
    asked: list[int] = []
    fit = Linear.fit

    def counted(self: Linear, train: Dataset, *rest: Any, **more: Any) -> LinearModel:
        asked.append(len(train))
        return fit(self, train, *rest, **more)

    monkeypatch.setattr(Linear, "fit", counted)
    monkeypatch.setattr(reductions, "MOST_ROWS", 3_000)
    monkeypatch.setattr(reductions, "ENOUGH", 100)
    labels, weights = searched(data)

    assert set(asked) == {2_000, 2_001}
    assert len(labels) == len(weights) == 9_000
    assert len(np.unique(weights.round(9))) == 3  # both teams' positives, and all negatives


def test_a_group_that_even_rows_have_too_few_of_is_searched_on_by_as_many_as_there_are() -> None:
    """Of 100,000 people 825 are of the group; every tenth row has some twenty of its positives."""
    drawn = few(100_000, share=0.0082)
    data = dataset(drawn, declared("equal_opportunity", "team"))
    assert data.protected is not None
    team, y = drawn[1][:, 0], drawn[2]
    small = (team == 1) & (y == 1)

    parts = compared_parts(data.protected, y)
    sample = reductions._Sample.of(data, parts)
    labels, weights = searched(data)
    plain, fair = (
        found(d, *few(20_000, share=0.5, seed=2)) for d in (replace(data, protected=None), data)
    )

    assert small.sum() == (sample.parts[0].place == 1).sum() == 175
    assert 10_000 < len(sample.data) < 10_200
    # each row stands for so many that all of them are told, whatever they are cut by
    for one in (0, 1):
        of_label = sample.data.y == one
        assert sample.weight[of_label].sum() == pytest.approx((y == one).sum(), rel=0.005)
    assert sample.parts[0].shares == pytest.approx([(y == 1).mean() - 0.00175, 0.00175])
    assert (labels == y).all() and weights[small].min() > 2
    assert plain[0] - plain[1] > 0.3 and abs(fair[0] - fair[1]) < 0.05


def test_groups_of_few_rows_are_left_as_they_are() -> None:
    frame, groups, y = people(4_000, seed=1)
    few = np.flatnonzero(y == 1)[:40]
    groups[few, 0] = 7
    data = dataset((frame, groups, y), declared("equal_opportunity", "team"))
    assert data.protected is not None

    (part,) = compared_parts(data.protected, y)
    alone = replace(data, protected=replace(data.protected, groups=np.zeros((4_000, 1), np.int64)))

    assert part.values.tolist() == [0, 1]
    labels, weights = searched(alone)
    assert (labels == y).all() and (weights == 1).all()
