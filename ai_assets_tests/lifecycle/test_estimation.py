"""Performance before labels: estimated, realised, and how far one was from the other."""

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.estimation.classes import believed_classes
from ai_assets.lifecycle.estimation.confidence import (
    ESTIMATED,
    belief,
    believed,
    estimated,
    expected_values,
    realised,
)
from ai_assets.lifecycle.estimation.quality import Told, widened
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.metrics import scored, values_of
from ai_assets.lifecycle.schema.decision import Decision

GENERATOR = np.random.default_rng(1)
SCORES = GENERATOR.beta(1.2, 3, 20_000)
LABELS = (GENERATOR.random(20_000) < SCORES).astype(float)


def test_estimates_of_three_rows_equal_what_is_expected_over_all_their_labels() -> None:
    p = np.array([0.2, 0.6, 0.9])
    found = expected_values(believed(p))

    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    assert found["log_loss"] == pytest.approx(entropy.mean())
    assert found["brier"] == pytest.approx((p * (1 - p)).mean())
    assert found["accuracy"] == pytest.approx((0.8 + 0.6 + 0.9) / 3)
    # Expected pairs won, a row against itself as a tie, by expected positives times negatives.
    won = 0.6 * 0.8 + 0.9 * (0.8 + 0.4) + (p * (1 - p)).sum() / 2
    assert found["roc_auc"] == pytest.approx(won / (1.7 * 1.3))


def test_estimates_equal_the_mean_of_realised_values_over_drawn_labels() -> None:
    p, q = SCORES[:400], np.clip(SCORES[:400] * 0.7 + 0.1, 0, 1)
    generator = np.random.default_rng(2)
    draws = [
        values_of(scored((generator.random(400) < q).astype(float), p, 0.3), ESTIMATED)
        for _ in range(1_500)
    ]

    found = expected_values(believed(p, q, threshold=0.3))

    for name in ESTIMATED:
        assert found[name] == pytest.approx(np.mean([draw[name] for draw in draws]), abs=0.004)


def test_estimates_of_classes_equal_the_mean_of_realised_values_over_drawn_labels() -> None:
    generator = np.random.default_rng(3)
    p, q = generator.dirichlet(np.ones(4), 200), generator.dirichlet(np.full(4, 2.0), 200)
    draws = []
    for _ in range(1_500):
        y = (generator.random((200, 1)) > np.cumsum(q, axis=1)).sum(axis=1)
        draws.append(values_of(scored(y, p), ("log_loss", "brier", "accuracy")))

    found = estimated(p, q, seed=1)

    assert set(found) == {"log_loss", "brier", "accuracy"}
    for name, estimate in found.items():
        values = [draw[name] for draw in draws]
        assert estimate.value == pytest.approx(np.mean(values), abs=0.01), name
        # Rows are drawn as well as labels, so the interval is no narrower than that of labels.
        assert estimate.high - estimate.low > 3.5 * np.std(values), name


COSTS = ((0.0, 1.0), (6.0, -2.0))
"""A false alarm costs 1, a miss 6, and a hit gains 2."""


def test_the_cost_of_answers_is_estimated_from_the_confusion_that_scores_promise() -> None:
    p = np.array([0.05, 0.4, 0.9])
    decision = Decision("binary", threshold=1 / 9)

    found = estimated(p, seed=1, decision=decision, costs=COSTS, resamples=0)

    # Negative, positive, positive: a miss by 0.05; false alarms by 0.6 and 0.1, hits by the rest.
    by_hand = (0.05 * 6 + (0.6 * 1 - 0.4 * 2) + (0.1 * 1 - 0.9 * 2)) / 3
    assert found["cost"].value == pytest.approx(by_hand)
    assert by_hand < 0
    assert found["accuracy"].value == pytest.approx((0.95 + 0.4 + 0.9) / 3)
    assert "cost" not in estimated(p, seed=1, decision=decision, resamples=0)


def test_answers_by_former_costs_are_estimated_and_judged_at_the_present_ones() -> None:
    p = np.array([[0.9, 0.02, 0.08], [0.5, 0.2, 0.3]])
    y = np.array([0.0, 2.0])
    names, dear = ("fine", "worn", "broken"), 20.0
    now = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (dear, dear, 0.0))
    before_any = Decision("multiclass", classes=names)
    by_former = Decision("multiclass", classes=names, costs=((0, 1, 1), (9, 0, 9), (1, 1, 0)))
    told = {}
    for which, decision, answers in (
        ("none", before_any, [0, 0]), ("former", by_former, [0, 1]),
        ("present", Decision("multiclass", classes=names, costs=now), [2, 2]),
    ):  # fmt: skip
        told[which] = estimated(p, seed=1, decision=decision, costs=now, resamples=0)
        kept = realised(y, p, seed=1, decision=decision, costs=now, resamples=0)
        expected = [(row * np.array(now)[:, a]).sum() for row, a in zip(p, answers, strict=True)]
        assert told[which]["cost"].value == pytest.approx(np.mean(expected)), which
        by_label = [now[int(label)][a] for label, a in zip(y, answers, strict=True)]
        assert kept["cost"].value == pytest.approx(np.mean(by_label)), which
        right = [float(label == a) for label, a in zip(y, answers, strict=True)]
        assert kept["accuracy"].value == np.mean(right), which
        believed_right = [row[a] for row, a in zip(p, answers, strict=True)]
        assert told[which]["accuracy"].value == pytest.approx(np.mean(believed_right)), which

    assert told["present"]["cost"].value < told["none"]["cost"].value < told["former"]["cost"].value
    assert "cost" not in estimated(p, seed=1, decision=by_former, resamples=0)
    assert "cost" not in realised(y, p, seed=1, decision=by_former, resamples=0)


def test_where_no_decision_is_given_the_likeliest_class_is_answered() -> None:
    p, y = [[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]], [1.0, 0.0]

    assert estimated(p, seed=1, resamples=0)["accuracy"].value == pytest.approx(0.6)
    assert realised(y, p, seed=1, resamples=0)["accuracy"].value == 0.5
    assert estimated([0.6, 0.2], seed=1, resamples=0)["accuracy"].value == pytest.approx(0.7)
    assert realised([1, 1], [0.6, 0.2], seed=1, resamples=0)["accuracy"].value == 0.5


def test_the_estimated_cost_holds_the_realised_one_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    matrix = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (20.0, 5.0, 0.0))
    two = Decision("binary", threshold=1 / 9)
    several = Decision("multiclass", classes=("a", "b", "c"), costs=matrix)
    inside = {"binary": 0, "multiclass": 0}
    for seed in range(60):
        p = generator.beta(0.6, 3, 300)
        y = (generator.random(300) < p).astype(float)
        of_classes = generator.dirichlet(np.ones(3), 300)
        drawn = (generator.random((300, 1)) > of_classes.cumsum(axis=1)).sum(axis=1)
        for scores, labels, decision in ((p, y, two), (of_classes, drawn, several)):
            costs = COSTS if decision is two else matrix
            by = {"seed": seed, "decision": decision, "costs": costs}
            told = estimated(scores, **by, resamples=100)["cost"]
            kept = realised(labels, scores, **by, resamples=0)["cost"]
            by_hand = np.array(costs)[labels.astype(int), decision.codes(scores)].mean()
            assert kept.value == pytest.approx(by_hand)
            inside[decision.task] += told.low <= kept.value <= told.high

    assert min(inside.values()) >= 55


def test_of_classes_the_expected_cost_is_that_of_the_cheapest_answer() -> None:
    p = np.array([[0.9, 0.02, 0.08], [0.96, 0.01, 0.03]])
    matrix = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (20.0, 5.0, 0.0))
    decision = Decision("multiclass", classes=("fine", "worn", "broken"), costs=matrix)

    found = estimated(p, seed=1, decision=decision, costs=matrix, resamples=0)

    assert found["cost"].value == pytest.approx((0.92 + (0.01 + 20 * 0.03)) / 2)
    # Broken is answered to the first row, though it is fine by 0.9.
    assert found["accuracy"].value == pytest.approx((0.08 + 0.96) / 2)


def test_a_gain_stays_a_gain_when_an_interval_is_widened_by_past_errors() -> None:
    now = Estimate(-2.0, -2.1, -1.9)
    past = [Told(f"{month}", Estimate(-2.0), Estimate(-2.3)) for month in range(3)]

    found = widened("cost", now, past)

    assert found.low == pytest.approx(-2.0 - np.hypot(0.1, 1.96 * 0.3))
    assert found.high == pytest.approx(-2.0 + np.hypot(0.1, 1.96 * 0.3))


def test_a_realised_value_of_classes_lies_where_calibrated_scores_said() -> None:
    generator = np.random.default_rng(5)
    p = generator.dirichlet(np.ones(3), 4_000)
    y = (generator.random((4_000, 1)) > np.cumsum(p, axis=1)).sum(axis=1)

    promised, kept = estimated(p, seed=1), realised(y, p, seed=1)

    assert set(kept) == set(promised)
    for name, estimate in promised.items():
        assert estimate.low <= kept[name].value <= estimate.high, name


def test_beliefs_about_classes_follow_the_latest_labels() -> None:
    generator = np.random.default_rng(6)
    p = generator.dirichlet(np.ones(3), 6_000)
    flat = p**0.5 / (p**0.5).sum(axis=1, keepdims=True)  # the world is less sure than the scores
    y = (generator.random((6_000, 1)) > np.cumsum(flat, axis=1)).sum(axis=1)

    found = belief(p[3_000:], p[:3_000], y[:3_000])

    assert np.abs(found - flat[3_000:]).max() < 0.05
    assert belief(p[:5], p[:100], y[:100]) is not None
    assert np.array_equal(belief(p[:5], p[:100], y[:100]), p[:5])


@pytest.mark.parametrize(
    ("p", "q", "says"),
    [
        (np.empty((0, 3)), None, "at least one scored row, but got none"),
        ([[0.5, 0.6, -0.1]], None, "a score must be a probability between 0 and 1, but got -0.1"),
        ([[0.5, 0.3, 0.2]], [[0.5, 0.5]], "p and q must be of one shape"),
    ],
)
def test_what_are_no_probabilities_of_classes_is_refused(
    p: list, q: list | None, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        believed_classes(p, q)


def test_calibrated_scores_promise_what_labels_keep() -> None:
    promised = expected_values(believed(SCORES))
    kept = values_of(scored(LABELS, SCORES), ESTIMATED)

    for name in ESTIMATED:
        assert promised[name] == pytest.approx(kept[name], abs=0.01)


def test_a_shift_of_inputs_moves_the_estimate_as_it_moves_the_truth() -> None:
    hard = np.abs(SCORES - 0.5) < 0.2

    promised = expected_values(believed(SCORES[hard]))
    kept = values_of(scored(LABELS[hard], SCORES[hard]), ESTIMATED)

    assert promised["roc_auc"] < expected_values(believed(SCORES))["roc_auc"] - 0.1
    for name in ESTIMATED:
        assert promised[name] == pytest.approx(kept[name], abs=0.02)


def test_a_new_meaning_of_the_label_is_not_seen_by_the_estimate() -> None:
    turned = (GENERATOR.random(20_000) < 0.7 - 0.5 * SCORES).astype(float)

    promised = expected_values(believed(SCORES))
    kept = values_of(scored(turned, SCORES), ESTIMATED)

    assert promised["roc_auc"] - kept["roc_auc"] > 0.3
    assert kept["log_loss"] - promised["log_loss"] > 0.3


def test_intervals_hold_the_realised_value_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    inside = dict.fromkeys(ESTIMATED, 0)
    for seed in range(100):
        p = generator.beta(1.2, 3, 300)
        y = (generator.random(300) < p).astype(float)
        kept = values_of(scored(y, p), ESTIMATED)
        for name, found in estimated(p, seed=seed, resamples=100).items():
            inside[name] += found.low <= kept[name] <= found.high

    # Rows are drawn besides labels, so intervals are a little wide for rows that are given.
    assert min(inside.values()) >= 92


def test_blocks_of_days_widen_intervals_where_days_differ() -> None:
    days = np.repeat(np.arange(40), 100)
    p = np.clip(np.repeat(GENERATOR.beta(2, 4, 40), 100) + GENERATOR.normal(0, 0.02, 4_000), 0, 1)
    y = (GENERATOR.random(4_000) < p).astype(float)

    for single, whole in (
        (estimated(p, seed=1), estimated(p, seed=1, blocks=days)),
        (realised(y, p, seed=1), realised(y, p, seed=1, blocks=days)),
    ):
        assert single["log_loss"].value == whole["log_loss"].value
        wide, narrow = (e["log_loss"].high - e["log_loss"].low for e in (whole, single))
        assert wide > 2 * narrow


def test_equal_seeds_give_equal_intervals_and_no_resamples_none() -> None:
    assert estimated(SCORES[:500], seed=4) == estimated(SCORES[:500], seed=4)
    assert estimated(SCORES[:500], seed=4) != estimated(SCORES[:500], seed=5)
    assert estimated(SCORES[:500], seed=4, resamples=0)["brier"].low is None


def test_an_order_of_rows_does_not_change_which_day_they_are_of() -> None:
    days, order = np.repeat(np.arange(10), 50), GENERATOR.permutation(500)
    first = realised(LABELS[:500], SCORES[:500], seed=1, blocks=days)

    second = realised(LABELS[:500][order], SCORES[:500][order], seed=1, blocks=days[order])

    assert second["brier"].low == pytest.approx(first["brier"].low)


def test_scores_of_one_certainty_have_no_expected_ranking() -> None:
    found = estimated(np.zeros(300), seed=1)

    assert found["roc_auc"].value is None
    assert found["roc_auc"].words == "undefined: the rows hold one class only"
    assert found["accuracy"].value == 1


@pytest.mark.parametrize(
    ("p", "q", "says"),
    [
        ([], None, "at least one scored row, but got none"),
        ([0.5, 1.2], None, "a score must be a probability between 0 and 1, but got 1.2"),
        ([0.5], [float("nan")], "a belief must be a probability between 0 and 1, but got nan"),
        ([0.5], [0.5, 0.5], "p and q must be of one length"),
    ],
)
def test_what_is_no_probability_is_refused(p: list, q: list | None, says: str) -> None:
    with pytest.raises(DataError, match=says):
        believed(p, q)


def test_a_metric_that_cannot_be_estimated_is_refused_by_name() -> None:
    with pytest.raises(DeclarationError, match="an estimated metric must be one of 'roc_auc'"):
        expected_values(believed([0.5]), ("roc",))
    with pytest.raises(DeclarationError, match=r"but got 'cost'"):
        estimated([0.5], seed=1, names=("cost",))
    with pytest.raises(DeclarationError, match=r"one of 'log_loss', .* but got 'roc_auc'"):
        estimated([[0.2, 0.3, 0.5]], seed=1, names=("roc_auc",))


def test_beliefs_learned_from_the_last_labelled_partition_mend_faded_calibration() -> None:
    truth = SCORES * 0.5 + 0.1
    before, now = np.arange(10_000), np.arange(10_000, 20_000)
    y = (GENERATOR.random(20_000) < truth).astype(float)
    kept = values_of(scored(y[now], SCORES[now]), ESTIMATED)

    q = belief(SCORES[now], SCORES[before], y[before])

    mended = expected_values(believed(SCORES[now], q))
    faded = expected_values(believed(SCORES[now]))
    for name in ESTIMATED:
        assert mended[name] == pytest.approx(kept[name], abs=0.015)
    assert abs(faded["roc_auc"] - kept["roc_auc"]) > 0.05


def test_too_few_labels_or_one_class_leave_scores_as_they_are() -> None:
    few = belief(SCORES[:5], SCORES[:199], LABELS[:199])
    one_class = belief(SCORES[:5], SCORES[:500], np.zeros(500))

    assert few.tolist() == one_class.tolist() == SCORES[:5].tolist()
