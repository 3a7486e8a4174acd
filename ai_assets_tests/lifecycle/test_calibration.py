"""Calibration mends what it should, survives JSON, and thresholds are chosen on its scores."""

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.costs import TwoCosts
from ai_assets.lifecycle.training.threshold import choose_threshold

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.uniform(0.02, 0.98, 20_000)
Y = (RANDOM.random(20_000) < TRUE).astype(float)
# Overconfident: the logit is doubled and shifted.
SCORES = 1 / (1 + np.exp(-(2 * np.log(TRUE / (1 - TRUE)) + 1)))


def test_sigmoid_finds_the_slope_and_shift_that_were_put_in():
    found = fit_calibration("sigmoid", SCORES, Y)
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_scores_are_near_the_true_probabilities_and_keep_their_order(method):
    found = fit_calibration(method, SCORES[:, None], Y)
    mended = found.apply(SCORES)
    assert np.abs(mended - TRUE).mean() < 0.02 < np.abs(SCORES - TRUE).mean()
    assert (np.diff(mended[np.argsort(SCORES)]) >= 0).all()
    assert found.apply(SCORES[:5, None]).shape == (5, 1)


@pytest.mark.parametrize("method", ["none", "sigmoid", "isotonic"])
def test_a_calibration_comes_back_from_json(method):
    found = fit_calibration(method, SCORES, Y)
    assert Calibration.from_json(found.to_json()) == found


def test_several_classes_are_calibrated_by_temperature():
    logits = RANDOM.normal(size=(5000, 3))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = (RANDOM.random((5000, 1)) > true.cumsum(1)).sum(1).astype(float)
    sharp = true**3 / (true**3).sum(1, keepdims=True)
    found = fit_calibration("sigmoid", sharp, y)
    assert found.slope == pytest.approx(1 / 3, abs=0.03)
    assert found.apply(sharp).sum(axis=1) == pytest.approx(1)
    with pytest.raises(DeclarationError, match="multiclass"):
        fit_calibration("isotonic", sharp, y)


def test_calibrating_on_too_little_is_refused():
    with pytest.raises(DataError, match="at least two classes"):
        fit_calibration("sigmoid", np.array([0.2, 0.3]), np.zeros(2))
    with pytest.raises(DataError, match="Declare calibration: sigmoid"):
        fit_calibration("isotonic", SCORES[:50], Y[:50])


def test_the_threshold_with_the_largest_f1_lies_between_two_scores():
    found = choose_threshold(np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.8]))
    assert found.value == pytest.approx(0.25)
    assert found.achieved == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("missed", "false_alarm", "hit", "best"),
    [(9, 1, None, 0.1), (1, 9, None, 0.9), (5, 1, None, 1 / 6), (3, 1, 6, 0.1)],
)
def test_of_probabilities_the_threshold_follows_from_the_costs(missed, false_alarm, hit, best):
    costs = TwoCosts(missed=missed, false_alarm=false_alarm, hit=hit).matrix()
    found = choose_threshold(Y, TRUE, costs)
    assert found.value == pytest.approx(best)
    answers = best <= TRUE
    each = np.where(Y == 1, np.where(answers, -(hit or 0), missed), answers * false_alarm)
    assert found.achieved == pytest.approx(each.mean())
    assert found.why.startswith("least expected cost; on 20000 validation rows")


def test_how_rare_positives_are_moves_no_threshold_that_follows_from_costs():
    rare = RANDOM.beta(0.3, 20, 20_000)
    y = (RANDOM.random(20_000) < rare).astype(float)
    assert y.mean() < 0.03
    costs = TwoCosts(missed=20, false_alarm=1).matrix()
    found = choose_threshold(y, rare, costs)
    assert found.value == pytest.approx(1 / 21)
    assert found.achieved < min(20 * y.mean(), 1 - y.mean())


def test_of_scores_that_are_no_probabilities_the_rows_choose_the_threshold():
    # Scores of half the probability: from 0.25 on they mean a half.
    found = choose_threshold(Y, TRUE / 2, TwoCosts(missed=1, false_alarm=1).matrix())
    assert found.value == pytest.approx(0.25, abs=0.03)
    assert "scores are no probabilities" in found.why and "0.5 would be the best" in found.why
    # Of few rows the same gain may be luck.
    few = choose_threshold(Y[:12], TRUE[:12] / 2, TwoCosts(missed=1, false_alarm=1).matrix())
    assert few.value == 0.5


def test_heavy_rows_decide_against_the_costs_but_no_weight_makes_few_rows_surer():
    luck = np.random.default_rng(5)
    true = luck.random(40)
    y = (luck.random(40) < true).astype(float)
    costs = TwoCosts(missed=1, false_alarm=1).matrix()
    heavy = np.where(true > 0.5, 3.0, 1.0)

    plain, alike, heavier = (
        choose_threshold(y, true / 2, costs, weight).value
        for weight in (None, np.full(40, 4.0), heavy)
    )
    each_four_times = choose_threshold(np.repeat(y, 4), np.repeat(true / 2, 4), costs).value

    assert plain == alike == 0.5
    assert heavier == each_four_times == pytest.approx(0.232, abs=0.001)


def test_a_decision_names_its_answers_and_comes_back_from_json():
    decision = Decision("binary", "late", 0.3, ("on time", "late"))
    assert decision.answers(np.array([0.29, 0.3])) == ["on time", "late"]
    assert Decision.from_json(decision.to_json()) == decision
    several = Decision("multiclass", classes=("a", "b", "c"))
    assert several.answers(np.array([[0.1, 0.2, 0.7]])) == ["c"]
    assert Decision("regression", classes=()).answers(np.array([[1.5]])) == [1.5]


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (Calibration(), "none: scores are probabilities as they are"),
        (Calibration("sigmoid", 0.91234, -0.5), "sigmoid: 0.9123 times the logit -0.5"),
        (
            Calibration("isotonic", points=((0.0, 0.1), (1.0, 0.9))),
            "isotonic: steps between 2 points",
        ),
    ],
)
def test_people_read_a_calibration_in_words(calibration, words):
    assert str(calibration) == words


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("costs", [None, TwoCosts(missed=1, false_alarm=3).matrix()])
def test_a_row_that_stands_for_three_counts_as_three_rows(method, costs):
    luck = np.random.default_rng(4)
    y = (luck.random(600) < 0.4).astype(float)
    scores = np.clip(0.3 + 0.2 * y + luck.normal(0, 0.2, 600), 0.01, 0.99)
    times = luck.integers(1, 4, 600)
    often = np.repeat(np.arange(600), times)

    ours = fit_calibration(method, scores, y, times.astype(float))
    theirs = fit_calibration(method, scores[often], y[often])
    plain = fit_calibration(method, scores, y)
    cut = choose_threshold(y, ours.apply(scores), costs, times.astype(float))
    told = choose_threshold(y[often], ours.apply(scores)[often], costs)

    # Platt's targets and isotonic's edges follow from how many rows there are
    assert ours.apply(scores) == pytest.approx(theirs.apply(scores), abs=0.003)
    assert np.abs(ours.apply(scores) - plain.apply(scores)).max() > 0.006
    assert cut.value == told.value and cut.achieved == pytest.approx(told.achieved, abs=1e-12)
    assert cut.achieved != choose_threshold(y, ours.apply(scores), costs).achieved
