"""Challenger against champion by what their answers cost, in the graph."""

from dataclasses import replace

import numpy as np
import pytest
from challengers import OF_A_MODEL, gate_of, release, tag
from small_product import APRIL, FEBRUARY, MARCH, World

from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.scores import scores_in
from ai_assets.stages.binding import code_version
from ai_assets.stages.evaluation import scores_of
from ai_assets.stages.operations import performance_of, told_by_metric
from ai_assets.stages.opinions import beliefs
from ai_assets.stages.outcomes import judged_outcomes
from ai_assets.stages.performance import present_costs, told_so_far


def test_by_cost_both_versions_are_judged_by_what_their_own_answers_cost(
    challenged: World,
) -> None:
    """The champion was released before anybody said what answers cost."""
    world = challenged.declared(
        training__costs={"missed": 5, "false_alarm": 1}, gate__champion={"metric": "cost"}
    )
    world.run(*OF_A_MODEL, partition=MARCH)

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
    world.run(*OF_A_MODEL, partition=MARCH)
    release(world)
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
    world.run(*data, "features", "labels", "predictions", "performance", partition=APRIL)

    rows = {row["metric"]: row for row in world.rows("performance", APRIL).to_dicts()}
    bundle = world.tools.bundles.load(tag(world, MARCH))
    run = world.step("performance", APRIL)
    outcomes = judged_outcomes(run, tag(world, MARCH))
    answers = outcomes.p >= bundle.decision.threshold
    cost = np.where(outcomes.y == 1, 5.0 * ~answers, 1.0 * answers).mean()
    assert bundle.decision.threshold == pytest.approx(1 / 6)
    assert rows["cost"]["realised"] == pytest.approx(cost)
    assert rows["accuracy"]["realised"] == pytest.approx((answers == outcomes.y).mean())
    scored = world.rows("predictions", APRIL)
    p, q = scores_in(scored["probability"]), beliefs(run, scored, tag(world, MARCH)).q
    promised = np.where(p >= bundle.decision.threshold, 1.0 * (1 - q), 5.0 * q).mean()
    assert rows["cost"]["estimate"] == pytest.approx(promised)
    assert rows["cost"]["estimate_low"] < promised < rows["cost"]["estimate_high"]
    assert promised == pytest.approx(cost, abs=0.1)
    assert "cost" in world.metadata("performance", APRIL)


def test_what_was_released_before_the_costs_is_watched_by_those_of_today(
    challenged: World,
) -> None:
    """As the gate judges the champion: by its own answers, at the costs that are declared."""
    champion = challenged.tools.bundles.load(tag(challenged, FEBRUARY))
    assert champion.decision.costs is None
    assert "cost" not in challenged.rows("performance", MARCH)["metric"]

    world = challenged.declared(training__costs={"missed": 5, "false_alarm": 1})
    world.run("performance", partition=MARCH)

    outcomes = judged_outcomes(world.step("performance", MARCH), tag(world, FEBRUARY))
    answers = outcomes.p >= champion.decision.threshold
    (row,) = world.rows("performance", MARCH).filter(metric="cost").to_dicts()
    cost = np.where(outcomes.y == 1, 5.0 * ~answers, 1.0 * answers).mean()
    assert row["realised"] == pytest.approx(cost)
    p = scores_in(world.rows("predictions", MARCH)["probability"])
    promised = np.where(p >= champion.decision.threshold, 1.0 * (1 - p), 5.0 * p).mean()
    assert row["estimate"] == pytest.approx(promised)
    assert world.metadata("performance", MARCH)["realised/cost"] == pytest.approx(cost)
    # What gives other answers than those declared has none of their costs.
    others = replace(champion, decision=Decision("multiclass", classes=("a", "b", "c")))
    run = world.step("performance", MARCH)
    assert present_costs(run, champion) == ((0.0, 1.0), (5.0, 0.0))
    assert present_costs(run, others) is None


def test_values_by_other_costs_than_are_declared_are_no_part_of_the_series(
    challenged: World,
) -> None:
    def told(world: World) -> list[list[tuple[str, float | None]]]:
        """Of the asset's own pictures, and of the page of operations."""
        found = (
            told_so_far(world.step("performance", APRIL)),
            told_by_metric(world.step("operations")),
        )
        return [[(one.partition, one.realised.value) for one in f.get("cost", [])] for f in found]

    cheap = challenged.declared(training__costs={"missed": 5, "false_alarm": 1})
    cheap.run("performance", partition=MARCH)
    at_five = cheap.metadata("performance", MARCH)["realised/cost"]
    assert told(cheap) == [[(MARCH, at_five)]] * 2
    assert performance_of(cheap.step("operations"), MARCH)["cost"].startswith(f"{at_five:.4f} (")

    dear = cheap.declared(training__costs={"missed": 500, "false_alarm": 100})
    assert told(dear) == [[], []]
    assert set(performance_of(dear.step("operations"), MARCH)) == {"log_loss", "roc_auc"}
    versions = {
        code_version(stage.code, stage.settings)
        for stage in (world.stages["performance"] for world in (challenged, cheap, dear, dear))
    }
    assert len(versions) == 3

    dear.run("performance", partition=MARCH)
    assert told(dear) == [[(MARCH, pytest.approx(100 * at_five))]] * 2
    assert told(challenged) == [[], []]
