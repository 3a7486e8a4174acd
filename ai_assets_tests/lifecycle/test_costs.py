"""Costs of answers: how they are declared, what is answered, and what that costs."""

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate
from ai_assets.lifecycle.evaluation.metrics import METRICS, RARE, metrics_of, scored, values_of
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.training.costs import best_threshold, matrix_of

NAMES = ("fine", "worn", "broken")
DECLARED = """
description: What will become of this part?
request: parts
tables:
  parts:
    source: {csv: parts.csv}
    key: [number]
    columns:
      number: {type: int64}
      state: {type: string, allowed: [fine, worn, broken], known_at: "NULL"}
"""


def declared(label: str, training: str, **more: object) -> TabularDeclaration:
    parts = {"label": yaml.safe_load(label), "training": yaml.safe_load(training), **more}
    return TabularDeclaration.model_validate(yaml.safe_load(DECLARED) | parts)


BINARY = "{sql: \"state = 'broken'\", positive: broken}"
SEVERAL = "{sql: state, task: multiclass}"


def test_two_costs_and_a_gain_make_a_matrix_and_a_threshold():
    costs = declared(BINARY, "{costs: {missed: 5, false_alarm: 1, hit: 4}}").training.costs
    assert matrix_of(costs, ("fine", "broken")) == ((0.0, 1.0), (5.0, -4.0))
    assert best_threshold(matrix_of(costs, ("fine", "broken"))) == pytest.approx(0.1)


def test_costs_of_classes_go_by_name_and_are_1_where_nothing_is_said():
    costs = declared(SEVERAL, "{costs: {broken: {fine: 20, worn: 5}}}").training.costs
    assert matrix_of(costs, NAMES) == ((0, 1, 1), (1, 0, 1), (20, 5, 0))


@pytest.mark.parametrize(
    ("label", "costs", "words"),
    [
        (BINARY, "{missed: -5, false_alarm: 1}", "a cost must be a number above 0, but got -5.0"),
        (BINARY, "{missed: 5, false_alarm: 0}", "a cost must be a number above 0, but got 0.0"),
        (BINARY, "{missed: .inf, false_alarm: 1}", "a number above 0, but got inf"),
        (BINARY, "{missed: 5}", "false_alarm"),
        (BINARY, "{mised: 5, false_alarm: 1}", "Did you mean 'missed'?"),
        (BINARY, "{broken: {fine: 2}}", "of a binary task must be `missed` and `false_alarm`"),
        (SEVERAL, "{missed: 5, false_alarm: 1}", "must be a mapping for each class"),
        (SEVERAL, "{broken: {fine: 0}}", "a cost must be a number above 0, but got 0.0"),
        (SEVERAL, "{brocken: {fine: 2}}", "Did you mean 'broken'?"),
        (SEVERAL, "{broken: {fin: 2}}", "but got 'fin'. Did you mean 'fine'?"),
        (SEVERAL, "{broken: {broken: 2}}", "to answer 'broken' where it is right costs nothing"),
        ("{sql: number, task: regression}", "{missed: 5, false_alarm: 1}", "of a regression"),
    ],
)
def test_wrong_costs_are_refused_in_words(label: str, costs: str, words: str):
    with pytest.raises(ValidationError) as error:
        declared(label, f"{{costs: {costs}}}")
    assert words in str(error.value)


def test_a_limit_on_costs_wants_costs():
    limit = {"gate": {"max": {"cost": 0.5}}}
    assert declared(BINARY, "{costs: {missed: 5, false_alarm: 1}}", **limit).gate.max == {
        "cost": 0.5
    }
    with pytest.raises(
        ValidationError, match="a metric of the gate of a binary task can be 'cost'"
    ):
        declared(BINARY, "{}", **limit)


def test_versions_are_compared_by_cost_where_costs_are_declared():
    gate = {"gate": {"champion": {"metric": "cost"}}}
    for label, costs in (
        (BINARY, "{costs: {missed: 5, false_alarm: 1}}"),
        (SEVERAL, "{costs: {broken: {fine: 2}}}"),
    ):
        assert declared(label, costs, **gate).gate.champion.metric == "cost"
        with pytest.raises(ValidationError) as error:
            declared(label, "{}", **gate)
        assert (
            "can be 'cost' only where training.costs says what answers cost, but none are declared."
        ) in str(error.value)
    with pytest.raises(
        ValidationError, match=r"gate\.champion\.metric of a regression task must be"
    ):
        declared("{sql: number, task: regression}", "{}", **gate)


def test_of_classes_the_answer_is_that_of_the_least_expected_cost():
    costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (20.0, 5.0, 0.0))
    likely = np.array([[0.9, 0.02, 0.08], [0.96, 0.01, 0.03], [0.1, 0.8, 0.1]])
    decision = Decision("multiclass", classes=NAMES, costs=costs)
    # To answer fine costs 20 times 0.08 in the first row, broken costs 0.92.
    assert decision.answers(likely) == ["broken", "fine", "worn"]
    assert decision.confidence(likely).tolist() == [0.08, 0.96, 0.8]
    assert Decision.from_json(decision.to_json()) == decision
    plain = Decision("multiclass", classes=NAMES)
    assert plain.answers(likely) == ["fine", "fine", "worn"]
    assert "costs" not in plain.to_json()


def test_what_is_answered_does_not_depend_on_who_else_asks():
    random = np.random.default_rng(0)
    likely = random.dirichlet(np.ones(3), 500)
    decision = Decision(
        "multiclass", classes=NAMES, costs=((0.0, 0.3, 0.7), (0.1, 0.0, 0.9), (0.6, 0.2, 0.0))
    )
    alone = [int(decision.codes(likely[at : at + 1])[0]) for at in range(500)]
    assert decision.codes(likely).tolist() == alone


def test_the_cost_of_an_answer_is_a_metric_with_an_interval_beside_those_of_one_answer_to_all():
    random = np.random.default_rng(1)
    p = random.beta(0.5, 6, 4000)
    y = (random.random(4000) < p).astype(float)
    costs = ((0.0, 1.0), (5.0, 0.0))
    found = evaluate(
        _no_columns(4000), y, p, 1 / 6, seed=0, classes=("fine", "broken"), costs=costs
    )
    answers = p >= 1 / 6
    each = np.where(y == 1, 5.0 * ~answers, 1.0 * answers)
    cost = found.metrics["cost"]
    assert cost.value == pytest.approx(each.mean())
    assert cost.low < cost.value < cost.high
    table = {row["answered"]: row for row in found.costs.to_dicts()}
    assert table["as served"]["cost"] == pytest.approx(each.mean())
    assert table["always fine"]["cost"] == pytest.approx(5 * y.mean())
    assert table["always broken"]["cost"] == pytest.approx(1 - y.mean())
    one = table["always fine"]
    assert one["dearer_by"] == pytest.approx(5 * y.mean() - each.mean())
    assert 0 < one["dearer_low"] < one["dearer_by"] < one["dearer_high"]
    # Paired on the same rows, the difference is surer than two costs by themselves.
    apart = one["high"] - one["low"] + table["as served"]["high"] - table["as served"]["low"]
    assert one["dearer_high"] - one["dearer_low"] < apart
    assert Evaluation.from_json(found.to_json()).costs.equals(found.costs)


def test_without_costs_there_is_no_table_and_no_metric():
    found = evaluate(_no_columns(4), [0, 1, 0, 1], [0.1, 0.9, 0.2, 0.4], 0.5, seed=0)
    assert found.costs.height == 0 and "cost" not in found.metrics


def test_of_classes_metrics_of_the_answer_follow_the_costs():
    y = np.array([2, 0, 1])
    p = np.array([[0.9, 0.02, 0.08], [0.96, 0.01, 0.03], [0.1, 0.8, 0.1]])
    costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (20.0, 5.0, 0.0))
    assert values_of(scored(y, p))["accuracy"] == pytest.approx(2 / 3)
    with_costs = values_of(scored(y, p, costs=costs))
    assert (with_costs["accuracy"], with_costs["cost"]) == (1.0, 0.0)
    assert METRICS["cost"].compute(scored(y[::-1], p, costs=costs), np.ones((1, 3)))[0] > 0


@pytest.mark.parametrize(("positives", "first"), [(9, "pr_auc"), (10, "roc_auc")])
def test_precision_and_recall_come_first_where_positives_are_rare(positives: int, first: str):
    y = np.array([1] * positives + [0] * (100 - positives))
    p = np.linspace(1, 0, 100)
    assert RARE == 0.1
    names = metrics_of(scored(y, p))
    assert names[0] == first
    assert set(names) == set(metrics_of(scored(np.resize([0, 1], 100), p)))
    if first == "pr_auc":
        assert names[:3] == ("pr_auc", "precision", "recall")
    assert next(iter(evaluate(_no_columns(100), y, p, 0.5, seed=0).metrics)) == first


def _no_columns(rows: int):
    import polars as pl

    return pl.DataFrame({"row": range(rows)})
