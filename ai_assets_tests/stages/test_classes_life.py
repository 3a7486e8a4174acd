"""The life of a product of several classes, from labels to a verdict."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from served_entries import BUNDLE, answered, order, outcome
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

from ai_assets.lifecycle.evaluation.metrics import metric_value
from ai_assets.lifecycle.schema.scores import scores_in
from ai_assets.serving.record.store import Store
from ai_assets.stages.evaluation import scores_of
from ai_assets.stages.labels import every_class
from ai_assets.stages.model_card import read_evaluation
from ai_assets.stages.outcomes import arrived_outcomes
from ai_assets.stages.training_data import artifact, read_json
from ai_assets.stages.verdict import labelled_rows

CLASSES = ("früh", "on time", "late")
SQL = "CASE WHEN delay < 5 THEN 'früh' WHEN delay < 20 THEN 'on time' ELSE 'late' END"
FAMILIES = ("model/linear", "model/lightgbm", "model/mlp")
CHANGES = {
    "label__sql": SQL,
    "label__task": "multiclass",
    "label__classes": list(CLASSES),
    "label__positive": None,
    "training__families": ["linear", "lightgbm", "mlp"],
    "training__calibration": "sigmoid",
    "gate": {"min": {"roc_auc": 0.6, "macro_f1": 0.5}, "champion": {"metric": "macro_f1"}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three classes, from raw data to a release as of February, and the verdict of March."""
    folder = write_product(tmp_path_factory.mktemp("classes") / NAME, **CHANGES)
    return lived(folder, tmp_path_factory.mktemp("world"), learning=(*FAMILIES, *LEARNING))


def test_labels_are_the_numbers_of_the_classes(world: World) -> None:
    labels = world.rows("labels", JANUARY)
    delays = world.rows("cleaned/orders", JANUARY).select("_row_id", "delay")
    both = labels.join(delays, on="_row_id")
    expected = np.digitize(both["delay"].to_numpy(), [5, 20]).astype(float)
    assert both["label"].to_list() == expected.tolist()
    checks = findings(world.runs["range"], "every_class")
    assert (JANUARY, True, f"{GOOD_ROWS} labelled rows of 3 of 3 classes.") in checks


def test_a_class_without_rows_is_told_in_words() -> None:
    lacking = every_class(pl.Series([0.0, 0.0, 2.0]), CLASSES)
    assert (lacking.passed, lacking.warn) == (False, True)
    assert lacking.words == "3 labelled rows of 2 of 3 classes; none is on time."
    assert every_class(pl.Series([0.0, 1.0, 2.0]), CLASSES).passed


def test_a_label_that_is_no_declared_class_names_the_nearest(copied: World) -> None:
    changes = CHANGES | {"label__sql": SQL.replace("'late'", "'later'")}
    result = copied.declared(**changes).run("labels", partition=JANUARY, raises=False)
    words = failure(result)
    assert "must be one of 'früh', 'on time', 'late', but got 'later'" in words
    assert words.endswith("Did you mean 'late'?")


def test_a_class_that_nothing_can_be_learned_of_is_an_error(copied: World) -> None:
    changes = CHANGES | {"label__classes": [*CLASSES, "never"]}
    again = copied.declared(**changes)
    again.run("labels", "features", partition=JANUARY, last=FEBRUARY)
    result = again.run("training_set", partition=FEBRUARY, raises=False)
    assert "has no train rows of 'never', which label.classes names" in failure(result)


def test_the_families_compete_and_the_winner_is_judged_class_by_class(world: World) -> None:
    winner = read_json(artifact(world.step("model", FEBRUARY), "model"), "winner.json")
    assert {"linear", "lightgbm", "mlp"} <= {row["family"] for row in winner["families"]}
    metadata = world.metadata("evaluation", FEBRUARY)
    assert metadata["macro_f1"] > 0.5
    assert metadata["log_loss"] < np.log(3)
    found = read_evaluation(world.step("model_card", FEBRUARY))
    assert found.classes["class"].to_list() == list(CLASSES)
    assert found.classes["rows"].sum() == found.rows == metadata["rows"]
    assert metadata["classes"].startswith("| class | rows | answered | precision |")
    assert {"calibration", "confusion", "importances"} <= set(metadata)
    assert "roc" not in metadata
    passed, words = finding(world.runs["model"], "better_than_the_base_rate")
    assert passed and "always answering the classes' shares" in str(words)
    assert finding(world.runs["model"], "answers_like_the_model")[0]
    assert finding(world.runs["model"], "within_limits")[0]


def test_the_card_names_the_classes(world: World) -> None:
    card = world.metadata("model_card", FEBRUARY)["card"]
    assert "- **Classes:** früh, on time, late" in card
    assert "of 3 classes, which nothing else used. The likeliest class is the answer." in card
    assert "Macro F1" in card


def test_predictions_keep_every_probability(world: World) -> None:
    rows = world.rows("predictions", MARCH)
    scores = scores_in(rows["probabilities"])
    assert scores.shape == (GOOD_ROWS, 3)
    assert np.allclose(scores.sum(axis=1), 1)
    assert rows["probability"].to_list() == scores.max(axis=1).tolist()
    assert rows["predicted"].to_list() == [CLASSES[code] for code in scores.argmax(axis=1)]
    bundle = world.tools.bundles.load(rows["bundle"][0])
    features = world.rows("features", MARCH).join(rows.select("_row_id"), on="_row_id")
    again = dict(zip(features["_row_id"], scores_of(bundle, features).tolist(), strict=True))
    assert again == dict(zip(rows["_row_id"], rows["probabilities"].to_list(), strict=True))


def test_performance_is_estimated_and_realised(world: World) -> None:
    rows = {row["metric"]: row for row in world.rows("performance", MARCH).to_dicts()}
    assert set(rows) == {"log_loss", "brier", "accuracy"}
    outcomes = arrived_outcomes(world.step("performance", MARCH))
    assert outcomes.p.shape == (GOOD_ROWS, 3)
    for name, row in rows.items():
        assert row["realised"] == pytest.approx(metric_value(name, outcomes.y, outcomes.p))
        assert row["estimate_low"] <= row["estimate"] <= row["estimate_high"]
        assert row["realised"] == pytest.approx(row["estimate"], abs=0.1)


def test_drift_watches_the_answers_and_a_calm_month_has_none(world: World) -> None:
    columns = world.rows("drift", MARCH)["column"].to_list()
    assert {"prediction", "answer"} <= set(columns)
    assert world.metadata("verdict", MARCH)["cause"] == "none"


def test_labels_that_contradict_are_found_by_how_often_the_answer_is_right(world: World) -> None:
    step = world.step("verdict", MARCH)
    entry = step.tools.ledger.history(NAME).row(0, named=True)
    features = world.rows("features", MARCH).with_columns(prediction=0.5, answer=pl.lit("late"))
    found = labelled_rows(step, type("Entry", (), {"stable": entry["stable"]})(), features)
    assert found is not None
    assert found.event == "the answer was right"
    right = world.rows("predictions", MARCH).join(world.rows("labels", MARCH), on="_row_id")
    hits = [
        CLASSES[int(label)] == word for label, word in right.select("label", "predicted").rows()
    ]
    assert found.labels.mean() == pytest.approx(np.mean(hits))
    assert "prediction" not in found.segments.columns


def test_served_answers_and_outcomes_of_classes_come_into_the_lake(
    world: World, log: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "{product}.sqlite"))
    row = world.rows("cleaned/orders", MARCH).sort("placed").row(7, named=True)
    scores = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    asked = [order(row["number"], row["placed"]), order(99_999, row["placed"])]
    entry = answered(asked, probability=scores.tobytes(), label=["on time", "late"])
    later = row["placed"] + timedelta(days=1)
    log.write(
        [
            entry,
            outcome(99_999, "früh", later, row["placed"]),
            outcome(99_998, "never", later, row["placed"]),
        ]
    )

    world.run("served", "feedback", partition=MARCH)

    served = world.rows("served", MARCH)
    assert served["probability"].to_list() == [0.5, 0.8]
    assert served["probabilities"].to_list() == scores.tolist()
    assert served["predicted"].to_list() == ["on time", "late"]
    told = world.rows("feedback", MARCH).sort("label", nulls_last=True)
    assert told["label"].to_list() == [0.0, None]
    outcomes = arrived_outcomes(world.step("performance", MARCH)).of(BUNDLE)
    assert sorted(outcomes.p.tolist()) == sorted(scores.tolist())


def test_a_challenger_is_compared_with_the_champion_by_its_own_metric(world: World) -> None:
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
    world.run(*FAMILIES, *LEARNING, partition=MARCH)
    gate = read_json(artifact(world.step("gate", MARCH), "gate"), "gate.json")
    whole = gate["comparison"][0]
    assert (whole["rows"], gate["limits"][1]["limit"]) == ("all", "macro_f1")
    assert whole["difference"] == pytest.approx(whole["challenger"] - whole["champion"])
    world.run(*data, "labels", "features", partition=APRIL)
    world.run("backtest", partition=APRIL)
    lines = world.rows("backtest", APRIL)
    assert lines["rolling"].dtype == pl.List(pl.Float64)
    loss = metric_value("log_loss", lines["label"].to_numpy(), scores_in(lines["never"]))
    assert world.metadata("backtest", APRIL)["log_loss/never"] == pytest.approx(loss)
