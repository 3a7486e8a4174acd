"""Challenger against champion by what their answers cost, in the graph."""

import numpy as np
import pytest
from challengers import gate_of
from small_product import MARCH, World

from ai_assets.stages.evaluation import scores_of


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
