"""The life of a product that answers with a number, from labels to a verdict."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from small_product import (
    APRIL,
    FEBRUARY,
    GOOD_ROWS,
    JANUARY,
    LEARNING,
    MARCH,
    NAME,
    World,
    failure,
    finding,
    findings,
    lived,
    write_product,
)

from ai_assets.automation.why import Records, why_prediction
from ai_assets.automation.why.words_of_prediction import prediction_text
from ai_assets.lifecycle.evaluation.metrics import metric_value
from ai_assets.lifecycle.evaluation.names import OF_COUNTS, OF_VALUES
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings
from ai_assets.stages.evaluation import (
    interval_finding,
    judged,
    scores_of,
    scores_of_test_rows,
)
from ai_assets.stages.model_card import read_evaluation
from ai_assets.stages.outcomes import arrived_outcomes
from ai_assets.stages.training_data import artifact, load_training_data, read_json

FAMILIES = ("model/linear", "model/lightgbm", "model/mlp")
CHANGES: dict[str, Any] = {
    "description": "By how many minutes will this order be late?",
    "label__sql": "delay",
    "label__task": "regression",
    "label__interval": 0.9,
    "label__positive": None,
    "tables__orders__columns__delay__unit": "minute",
    "training__families": ["linear", "lightgbm", "mlp"],
    "gate": {"max": {"rmse": 10.0}, "min": {"r2": 0.5, "coverage": 0.8}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A number of minutes, from raw data to a release as of February, and the verdict of March."""
    folder = write_product(tmp_path_factory.mktemp("values") / NAME, **CHANGES)
    return lived(folder, tmp_path_factory.mktemp("world"), learning=(*FAMILIES, *LEARNING))


def test_labels_are_the_values(world: World) -> None:
    labels = world.rows("labels", JANUARY)
    delays = world.rows("cleaned/orders", JANUARY).select("_row_id", "delay")
    both = labels.join(delays, on="_row_id")
    assert both["label"].to_list() == both["delay"].cast(pl.Float64).to_list()
    values = both["label"].n_unique()
    checks = findings(world.runs["range"], "more_than_one_value")
    words = f"{GOOD_ROWS} labelled rows of {values} different values."
    assert (JANUARY, True, words) in checks
    told = world.metadata("labels", JANUARY)
    assert told["mean"] == pytest.approx(both["label"].mean())
    assert told["largest"] == both["label"].max()


def test_a_value_that_is_not_finite_is_an_error(copied: World) -> None:
    changes = CHANGES | {"label__sql": "delay / 0.0"}
    result = copied.declared(**changes).run("labels", partition=JANUARY, raises=False)
    assert "label.sql must give finite numbers or null" in failure(result)


def test_outcomes_that_are_all_alike_teach_nothing(copied: World) -> None:
    again = copied.declared(**CHANGES | {"label__sql": "7"})
    result = again.run("labels", "features", partition=JANUARY, last=FEBRUARY)
    one = (JANUARY, False, f"{GOOD_ROWS} labelled rows of 1 different values.")
    assert one in findings(result, "more_than_one_value")
    result = again.run("training_set", partition=FEBRUARY, raises=False)
    assert "needs rows of at least two different values, but all" in failure(result)
    assert "labels are 7" in failure(result)


def test_the_families_compete_by_their_error(world: World) -> None:
    winner = read_json(artifact(world.step("model", FEBRUARY), "model"), "winner.json")
    assert {"linear", "lightgbm", "mlp"} <= {row["family"] for row in winner["families"]}
    values = [row["value"] for row in winner["families"]]
    assert values == sorted(values)
    assert "has rmse" in winner["why"]
    # Delays are 4 times the weight, with noise of standard deviation 8: no model can do better.
    assert 7 < min(values) < 9


def test_the_evaluation_judges_the_error_of_the_test_rows(world: World) -> None:
    metadata = world.metadata("evaluation", FEBRUARY)
    found = read_evaluation(world.step("model_card", FEBRUARY))
    assert set(found.metrics) == set(OF_VALUES) - set(OF_COUNTS)
    rmse = found.metrics["rmse"]
    assert rmse.low < rmse.value < rmse.high
    assert 7 < metadata["rmse"] == rmse.value < 9
    assert metadata["r2"] == pytest.approx(1 - (rmse.value / found.constant["rmse"]) ** 2)
    assert metadata["mae"] < metadata["rmse"]
    assert {"predicted", "residuals", "importances"} <= set(metadata)
    assert not {"roc", "calibration", "confusion", "classes"} & set(metadata)
    assert (found.positives, found.threshold) == (None, None)
    shops = found.slices.filter(pl.col("slice") == "shop")
    assert shops["rows"].sum() == found.rows
    passed, words = finding(world.runs["model"], "better_than_the_mean")
    assert passed and f"always answering the mean would have {found.constant['rmse']:.4g}" in words


def test_the_graph_answers_like_the_model_and_its_loss_is_a_share(world: World) -> None:
    assert finding(world.runs["model"], "answers_like_the_model")[0]
    assert finding(world.runs["model"], "within_budget")[0]
    chosen = read_json(
        artifact(world.step("compressed_model", FEBRUARY), "compressed_model"), "chosen.json"
    )
    (parent,) = [c for c in chosen["candidates"] if c["name"] == "onnx"]
    for one in chosen["candidates"]:
        share = (one["metric"] - parent["metric"]) / parent["metric"]
        assert one["metric_loss"] == pytest.approx(share, abs=1e-5)


def decided(world: World) -> Decision:
    """What the release as of February answers by."""
    folder = artifact(world.step("compressed_model", FEBRUARY), "compressed_model")
    return Decision.from_json((folder / "decision.json").read_text(encoding="utf-8"))


def test_the_interval_is_measured_on_validation_and_judged_on_test_rows(world: World) -> None:
    step = world.step("evaluation", FEBRUARY)
    data, interval = load_training_data(step), decided(world).interval
    validation = data.split("validation")
    errors = np.sort(np.abs(validation.y - judged(step)(validation.x)))
    rank = int(np.ceil((len(errors) + 1) * 0.9))
    assert interval.half_width == pytest.approx(errors[rank - 1])
    # Nine tenths of normal noise of standard deviation 8 lie within 13.2.
    assert 11 < interval.half_width < 16
    y, p = scores_of_test_rows(step, data)
    inside = np.mean(np.abs(y - p) <= interval.half_width)
    found = read_evaluation(world.step("model_card", FEBRUARY)).metrics
    assert found["coverage"].value == pytest.approx(inside)
    assert found["interval_width"].value == pytest.approx(2 * interval.half_width)
    passed, words = finding(world.runs["model"], "intervals_hold")
    assert passed and words.startswith(f"{inside:.1%} of {len(y):,} outcomes lie in their interval")


def test_intervals_that_hold_too_few_are_told(world: World) -> None:
    y, p = np.arange(200.0), np.arange(200.0) + np.resize([1.0, 5.0], 200)
    wide, narrow = (Interval(0.9, width, 200) for width in (5.0, 4.0))
    assert interval_finding(world.product, y, p, wide)["intervals_hold"].passed
    found = interval_finding(world.product, y, p, narrow)["intervals_hold"]
    assert not found.passed and found.metadata == {"coverage": 0.5, "declared": 0.9}
    assert interval_finding(world.product, y, p, None) == {}


def test_the_card_tells_of_values(world: World) -> None:
    card = world.metadata("model_card", FEBRUARY)["card"]
    assert "- **The answer is:** delay" in card
    assert "test rows, which nothing else used. The value itself is the answer." in card
    assert "| RMSE |" in card and "Root of the mean squared error" in card
    assert "positive" not in card.split("## Performance")[1].split("## Calibration")[0]


def test_the_gate_judges_the_limits(world: World) -> None:
    passed, words = finding(world.runs["model"], "within_limits")
    assert passed and words == "Passed: all 3 limits are met."


def test_a_limit_that_is_not_met_stops_the_release(copied: World, world: World) -> None:
    strict = World(
        world.declared(**CHANGES | {"gate": {"max": {"rmse": 1.0}}}).product,
        world.home,
        world.instance,
    )
    result = strict.run("gate", partition=FEBRUARY, raises=False)
    write_product(world.product.folder, **CHANGES)
    passed, words = finding(result, "within_limits")
    assert not passed and words.startswith("1 of 1 limits not met: rmse must be at most 1, but is")


def test_predictions_are_values(world: World) -> None:
    rows = world.rows("predictions", MARCH)
    assert rows["predicted"].cast(pl.Float64).to_list() == rows["probability"].to_list()
    assert "probabilities" not in rows.columns
    bundle = world.tools.bundles.load(rows["bundle"][0])
    features = world.rows("features", MARCH).join(rows.select("_row_id"), on="_row_id")
    again = dict(zip(features["_row_id"], scores_of(bundle, features).tolist(), strict=True))
    assert again == dict(zip(rows["_row_id"], rows["probability"].to_list(), strict=True))
    told = world.metadata("predictions", MARCH)
    assert told["mean_prediction"] == pytest.approx(rows["probability"].mean())


def test_performance_is_not_estimated_and_is_realised(world: World) -> None:
    rows = {row["metric"]: row for row in world.rows("performance", MARCH).to_dicts()}
    assert set(rows) == {"rmse", "mae", "coverage"}
    outcomes = arrived_outcomes(world.step("performance", MARCH))
    coverage = rows.pop("coverage")
    assert coverage["estimate_low"] < coverage["estimate"] == 0.9 < coverage["estimate_high"]
    told = world.metadata("performance", MARCH)
    assert told["estimated_from"] == "what the bundle's intervals promise"
    apart = np.abs(outcomes.y - outcomes.p) <= decided(world).interval.half_width
    assert coverage["realised"] == pytest.approx(apart.mean())
    for name, row in rows.items():
        assert row["estimate"] is None
        assert row["realised"] == pytest.approx(metric_value(name, outcomes.y, outcomes.p))
        assert row["realised_low"] < row["realised"] < row["realised_high"]
    passed, words = finding(world.runs["watch"], "as_promised")
    assert passed and "on the bundle's test rows" in words
    assert f"{apart.mean():.1%} of {len(apart):,} outcomes lie in their interval" in words


def test_drift_watches_the_values_and_a_calm_month_has_none(world: World) -> None:
    columns = world.rows("drift", MARCH)["column"].to_list()
    assert "prediction" in columns and "answer" not in columns
    assert world.metadata("verdict", MARCH)["cause"] == "none"


def test_a_server_answers_the_value_that_the_batch_gave(world: World) -> None:
    # The last one: a server knows the newest visits only.
    row = world.rows("cleaned/orders", MARCH).sort("placed").row(-1, named=True)
    batch = world.rows("predictions", MARCH).filter(pl.col("_row_id") == row["_row_id"])
    payload = world.tools.bundles.payload(batch["bundle"][0])
    settings = Settings(lake=str(world.home / "lake"), access="open")
    asked = {"number": row["number"], "placed": row["placed"].isoformat(), "shop": row["shop"]}
    here: dict[str, Any] = {"client": ("127.0.0.1", 50000), "headers": {"Host": "localhost"}}
    with TestClient(create_app(payload, settings), **here) as client:
        told = client.post("/predict", json=[asked | {"weight": row["weight"]}]).json()
        assert told.get("predictions"), told
        (answer,) = told["predictions"]
    assert answer["label"] == answer["probability"]
    assert answer["label"] == pytest.approx(batch["probability"][0], abs=1e-6)
    half = decided(world).interval.half_width
    assert answer["interval"] == pytest.approx([answer["label"] - half, answer["label"] + half])


def test_why_tells_the_value_with_its_unit_and_interval(world: World) -> None:
    tools = world.tools
    records = Records(world.product, tools.lake, tools.bundles, tools.ledger, tools.decisions)
    row = world.rows("predictions", MARCH).row(300, named=True)
    half = decided(world).interval.half_width

    story = why_prediction(records, str(row["_row_id"]))

    answer, value = story["answer"], row["probability"]
    assert (answer["value"], answer["unit"], answer["coverage"]) == (value, "minute", 0.9)
    assert answer["interval"] == pytest.approx([value - half, value + half])
    text = prediction_text(story)
    assert f"{value:.6g} minute, 90% of outcomes from {value - half:.6g} to" in text
    assert "scored again  the same" in text
    assert "probability" not in text


def test_a_challenger_is_compared_with_the_champion_by_rmse(world: World) -> None:
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
    world.run(*FAMILIES, *LEARNING, partition=MARCH)
    gate = read_json(artifact(world.step("gate", MARCH), "gate"), "gate.json")
    whole = gate["comparison"][0]
    assert whole["rows"] == "all" and 7 < whole["champion"] < 9
    assert whole["difference"] == pytest.approx(whole["challenger"] - whole["champion"])
    slices = gate["comparison"][1:]
    for row in slices:
        margin = float(row["allowed"].rpartition(" ")[2])
        assert margin == pytest.approx(0.02 * row["champion"], rel=1e-4)
    world.run(*data, "labels", "features", partition=APRIL)
    world.run("backtest", partition=APRIL)
    lines = world.rows("backtest", APRIL)
    error = float(np.sqrt(((lines["label"] - lines["never"]) ** 2).mean()))
    assert world.metadata("backtest", APRIL)["rmse/never"] == pytest.approx(error)
    world.run("predictions", "drift", "performance", "verdict", partition=APRIL)
    world.run("operations")
    page = world.metadata("operations")
    assert "realised_RMSE" in page
