"""Watching a release: performance before and with labels, and the cause of what has changed."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from small_product import APRIL, FEBRUARY, GOOD_ROWS, JANUARY, MARCH, World, finding

from ai_assets.lifecycle.estimation.confidence import realised
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.injection import inject
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.stages.outcomes import arrived_outcomes
from ai_assets.stages.performance import as_estimated
from ai_assets.stages.verdict import as_learned, sound

DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
WATCH = ("labels", "features", "predictions", "drift", "performance", "verdict")
MARCH_END = datetime(2024, 4, 1, tzinfo=UTC)


def test_the_estimate_and_the_truth_of_a_calm_month_agree(shared_world: World) -> None:
    rows = {row["metric"]: row for row in shared_world.rows("performance", MARCH).to_dicts()}
    loss = rows["log_loss"]

    outcomes = arrived_outcomes(shared_world.step("performance", MARCH))
    assert outcomes.rows.height == GOOD_ROWS
    assert (loss["rows"], loss["labelled"], loss["valid"]) == (GOOD_ROWS, GOOD_ROWS, True)
    truth = realised(outcomes.y, outcomes.p, seed=0, blocks=outcomes.days)["log_loss"]
    assert loss["realised"] == pytest.approx(truth.value)
    assert loss["estimate_low"] <= loss["estimate"] <= loss["estimate_high"]
    assert loss["realised"] == pytest.approx(loss["estimate"], abs=0.1)
    passed, words = finding(shared_world.runs["watch"], "as_estimated")
    assert passed and str(words).startswith("Log loss was estimated to be 0.")
    metadata = shared_world.metadata("performance", MARCH)
    assert metadata["estimated/log_loss"] == loss["estimate"]
    assert metadata["realised/log_loss"] == loss["realised"]


def test_labels_that_contradict_the_estimate_are_a_warning() -> None:
    estimate = Estimate(0.4, 0.35, 0.45)

    near = as_estimated(estimate, Estimate(0.47, 0.44, 0.5))
    far = as_estimated(estimate, Estimate(0.6, 0.55, 0.65))
    against = as_estimated(estimate, Estimate(0.42, 0.4, 0.44), valid=False)
    none = as_estimated(estimate, None)

    assert (near.passed, far.passed, against.passed, none.passed) == (True, False, False, True)
    assert far.warn and against.warn
    assert far.words.endswith("the intervals lie apart.")
    assert against.words.endswith("labels contradict the scores.")
    assert none.words.endswith("no labels have arrived yet.")


def test_a_label_counts_in_the_month_in_which_it_arrives(copied: World) -> None:
    """Ten days late: orders of the last days of a month are known in the next one."""
    world = copied.declared(label__arrives_after="10 days")
    world.run("labels", partition=JANUARY, last=MARCH)
    world.run(*DATA, "labels", "features", "predictions", partition=APRIL)
    world.run("predictions", "performance", partition=MARCH)
    world.run("performance", partition=APRIL)

    orders = world.rows("cleaned/orders", MARCH)["placed"]
    in_time = int((orders + timedelta(days=10) <= MARCH_END).sum())
    assert 0 < in_time < GOOD_ROWS
    assert world.metadata("performance", MARCH)["labels_arrived"] == in_time
    april = world.rows("cleaned/orders", APRIL)["placed"]
    april_end = datetime(2024, 5, 1, tzinfo=UTC)
    arrived = GOOD_ROWS - in_time + int((april + timedelta(days=10) <= april_end).sum())
    assert world.metadata("performance", APRIL)["labels_arrived"] == arrived


def test_nothing_is_learned_from_a_label_that_had_not_arrived(copied: World) -> None:
    world = copied.declared(label__arrives_after="10 days")
    world.run("labels", partition=JANUARY, last=MARCH)

    world.run("training_set", partition=MARCH)

    rows = world.rows("training_set", MARCH)
    assert rows["known_at"].max() <= MARCH_END
    assert GOOD_ROWS < rows.height < 2 * GOOD_ROWS


def test_before_any_label_arrives_performance_is_an_estimate_alone(copied: World) -> None:
    world = copied.declared(label__arrives_after="60 days")
    world.run("labels", partition=JANUARY, last=MARCH)

    result = world.run("predictions", "performance", partition=MARCH)

    (loss,) = world.rows("performance", MARCH).filter(metric="log_loss").to_dicts()
    assert (loss["labelled"], loss["realised"], loss["valid"]) == (0, None, True)
    assert loss["estimate"] > 0
    assert finding(result, "as_estimated")[0]


def test_a_calm_month_has_no_cause(shared_world: World) -> None:
    metadata = shared_world.metadata("verdict", MARCH)

    assert (metadata["cause"], metadata["severity"]) == ("none", 0.0)
    assert metadata["bundle"] == shared_world.metadata("bundle", FEBRUARY)["tag"]
    assert metadata["labelled"] is True
    assert Verdict.from_json(json.dumps(metadata["verdict"])).partition == MARCH
    run = shared_world.runs["watch"]
    assert finding(run, "data_is_sound") == (True, "Nothing about the data looks broken.")
    assert finding(run, "as_the_release_learned")[0]


def test_before_a_release_there_is_nothing_to_judge(copied: World) -> None:
    result = copied.run("predictions", "drift", "performance", "verdict", partition=FEBRUARY)

    assert result.success
    metadata = copied.metadata("verdict", FEBRUARY)
    assert (metadata["cause"], metadata["bundle"]) == ("none", "none")
    assert metadata["words"] == "Nothing was in production."
    assert metadata["verdict"]["bundle"] == ""


def injected(world: World, name: str, seed: int = 1) -> Verdict:
    """The verdict on an April whose raw rows were changed."""
    folder = world.product.folder
    month = APRIL[:7]
    files = {table: folder / table / f"{month}.csv" for table in ("orders", "visits")}
    frames = {table: pl.read_csv(path, infer_schema=False) for table, path in files.items()}
    frames["shops"] = pl.read_csv(folder / "shops.csv", infer_schema=False)
    changed = inject(name, frames, world.product.declaration, seed)
    for table, path in files.items():
        changed[table].write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%z")
    world.runs["april"] = world.run(*DATA, *WATCH, partition=APRIL, raises=False)
    return Verdict.from_json(json.dumps(world.metadata("verdict", APRIL)["verdict"]))


@pytest.mark.parametrize("name", ["nulls_spread", "unit_changed", "value_stuck"])
def test_broken_data_is_named_and_blocks(copied: World, name: str) -> None:
    verdict = injected(copied, name)

    assert verdict.cause == "broken_data"
    passed, words = finding(copied.runs["april"], "data_is_sound")
    assert (passed, words) == (False, verdict.words)
    assert not copied.runs["april"].success


def assert_warned(world: World, verdict: Verdict) -> None:
    run = world.runs["april"]
    assert run.success
    assert finding(run, "data_is_sound")[0]
    assert finding(run, "as_the_release_learned") == (False, verdict.words)


def test_another_relation_of_outcome_to_inputs_is_a_changed_concept(copied: World) -> None:
    verdict = injected(copied, "base_rate_shifted")

    assert verdict.cause == "concept_drift"
    assert_warned(copied, verdict)
    assert not finding(copied.runs["april"], "as_estimated")[0]


def test_heavier_orders_that_are_late_as_heavy_ones_were_are_covariate_drift(
    copied: World,
) -> None:
    file = copied.product.folder / "orders" / f"{APRIL[:7]}.csv"
    weight = pl.col("weight").cast(pl.Float64, strict=False)
    heavier = 5 + weight / 2
    later = (4 * (heavier - weight)).round().cast(pl.Int64)
    orders = pl.read_csv(file, infer_schema=False).with_columns(
        delay=(pl.col("delay").cast(pl.Int64) + later).cast(pl.String),
        weight=heavier.round(2).cast(pl.String),
    )
    orders.sample(fraction=1.0, seed=1, shuffle=True).write_csv(file)

    copied.runs["april"] = copied.run(*DATA, *WATCH, partition=APRIL, raises=False)

    verdict = Verdict.from_json(json.dumps(copied.metadata("verdict", APRIL)["verdict"]))
    assert verdict.cause == "covariate_drift"
    assert "weight" in {evidence.subject.split(".")[-1] for evidence in verdict.evidence}
    assert_warned(copied, verdict)


def test_a_month_in_which_nothing_was_injected_is_calm(copied: World) -> None:
    result = copied.run(*DATA, *WATCH, partition=APRIL)

    assert result.success
    assert copied.metadata("verdict", APRIL)["cause"] == "none"


def test_findings_of_a_verdict_both_ways() -> None:
    calm = Verdict("p", MARCH, "b", "none", 0.0, "Nothing.", [], True)
    broken = Verdict("p", MARCH, "b", "broken_data", 1.0, "weight is empty.", [], True)

    assert (sound(calm).passed, as_learned(calm).passed) == (True, True)
    assert (sound(broken).passed, sound(broken).warn) == (False, False)
    assert (as_learned(broken).passed, as_learned(broken).warn) == (False, True)
    assert as_learned(broken).metadata == {"cause": "broken_data", "severity": 1.0}
