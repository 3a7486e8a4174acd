"""Challenger against champion by what their answers cost, in the graph."""

import numpy as np
import pytest
from challengers import gate_of, release, tag
from small_product import APRIL, MARCH, World

from ai_assets.lifecycle.schema.scores import scores_in
from ai_assets.stages.evaluation import scores_of
from ai_assets.stages.outcomes import judged_outcomes


def test_by_cost_both_versions_are_judged_by_what_their_own_answers_cost(
    challenged: World,
) -> None:
    """The champion was released before anybody said what answers cost."""
    world = challenged.declared(
        training__costs={"missed": 5, "false_alarm": 1}, gate__champion={"metric": "cost"}
    )
    world.run("tuning", "model/linear", "model", "compressed_model", "evaluation",
              "model_card", "bundle", "gate", partition=MARCH)  # fmt: skip

    gate = gate_of(world)
    (row,) = gate["comparison"]
    bundles = [world.tools.bundles.load(tag) for tag in (gate["champion"], gate["bundle"])]
    assert bundles[1].decision.threshold == pytest.approx(1 / 6)
    assert bundles[0].decision.threshold > 0.3
    test = world.rows("training_set", MARCH).filter(split="test")
    y = test["label"].to_numpy()
    for bundle, side in zip(bundles, ("champion", "challenger"), strict=True):
        answers = bundle.decision.codes(scores_of(bundle, test))
        cost = np.where(y == 1, 5.0 * (answers == 0), 1.0 * (answers == 1)).mean()
        assert row[side] == pytest.approx(cost)
    assert row["difference"] == pytest.approx(row["challenger"] - row["champion"])
    assert gate["metrics"][0]["metric"] == "cost"
    judged = world.metadata("evaluation", MARCH)["cost"]
    assert row["challenger"] == pytest.approx(judged)


def test_what_answers_will_cost_is_estimated_before_labels_and_judged_by_them(
    challenged: World,
) -> None:
    world = challenged.declared(training__costs={"missed": 5, "false_alarm": 1})
    world.run("tuning", "model/linear", "model", "compressed_model", "evaluation",
              "model_card", "bundle", "gate", partition=MARCH)  # fmt: skip
    release(world)
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
    world.run(*data, "features", "labels", "predictions", "performance", partition=APRIL)

    rows = {row["metric"]: row for row in world.rows("performance", APRIL).to_dicts()}
    bundle = world.tools.bundles.load(tag(world, MARCH))
    outcomes = judged_outcomes(world.step("performance", APRIL), tag(world, MARCH))
    answers = outcomes.p >= bundle.decision.threshold
    cost = np.where(outcomes.y == 1, 5.0 * ~answers, 1.0 * answers).mean()
    assert bundle.decision.threshold == pytest.approx(1 / 6)
    assert rows["cost"]["realised"] == pytest.approx(cost)
    assert rows["accuracy"]["realised"] == pytest.approx((answers == outcomes.y).mean())
    # No outcome of this bundle was known before, so its scores are believed as they are.
    p = scores_in(world.rows("predictions", APRIL)["probability"])
    promised = np.where(p >= bundle.decision.threshold, 1.0 * (1 - p), 5.0 * p).mean()
    assert rows["cost"]["estimate"] == pytest.approx(promised)
    assert rows["cost"]["estimate_low"] < promised < rows["cost"]["estimate_high"]
    assert promised == pytest.approx(cost, abs=0.1)
    assert "cost" in world.metadata("performance", APRIL)
