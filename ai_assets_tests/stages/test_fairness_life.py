"""A product that is judged by groups of people, from biased and from unbiased rows to its gate."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hiring import ROWS, lived, write
from small_product import World, failure, finding

from ai_assets.stages.training_data import artifact, read_json


def told(world: World) -> dict[str, Any]:
    content: dict[str, Any] = read_json(
        artifact(world.step("evaluation"), "evaluation"), "fairness.json"
    )
    return content


def changes(world: World, by: str) -> list[dict[str, Any]]:
    """What a mitigation changed: the difference, then its price in each metric."""
    table = told(world)["card"][f"What {by} changes"]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def gate_rows(world: World) -> dict[str, dict[str, Any]]:
    rows = read_json(artifact(world.step("gate"), "gate"), "gate.json")["limits"]
    return {row["limit"]: row for row in rows}


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> World:
    return lived(tmp_path_factory.mktemp("biased"), biased=True)


@pytest.fixture(scope="module")
def mitigated(tmp_path_factory: pytest.TempPathFactory) -> World:
    return lived(tmp_path_factory.mktemp("mitigated"), biased=True, mitigation="reweighing")


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> World:
    return lived(tmp_path_factory.mktemp("reduced"), biased=True, mitigation="reductions")


@pytest.fixture(scope="module")
def unbiased(tmp_path_factory: pytest.TempPathFactory) -> World:
    return lived(tmp_path_factory.mktemp("unbiased"), biased=False, mitigation="reweighing")


def test_a_bias_is_found_and_the_gate_refuses_the_bundle(biased: World) -> None:
    passed, words = finding(biased.runs["life"], "groups_are_treated_alike")
    limit = gate_rows(biased)["demographic_parity difference of team"]

    assert not passed and words is not None
    assert "selection rate of 'a' above that of 'b'" in words
    assert limit["value"] > 0.2 and not limit["passed"]
    assert not finding(biased.runs["life"], "within_limits")[0]


def test_reweighing_brings_the_bias_down_and_its_price_is_told(
    biased: World, mitigated: World
) -> None:
    difference, loss, order = changes(mitigated, "reweighing")

    assert difference["measure"] == "largest difference of team, demographic parity"
    assert difference["high"] < -0.05  # clearly smaller than without
    # the twin without is the model of the product that declares no mitigation
    assert difference["without"] == pytest.approx(told(biased)["differences"]["team"])
    assert difference["with"] == pytest.approx(told(mitigated)["differences"]["team"])
    assert loss["measure"] == "Log loss" and loss["low"] > 0
    shown = mitigated.metadata("evaluation")
    assert loss["with"] == pytest.approx(shown["log_loss"], abs=1e-4)
    assert order["measure"] == "ROC-AUC" and order["high"] < 0
    assert order["with"] == pytest.approx(shown["roc_auc"], abs=1e-4)


def test_reductions_bring_the_difference_below_the_limit_and_the_gate_lets_the_bundle_through(
    biased: World, reduced: World
) -> None:
    difference, loss, order = changes(reduced, "reductions")
    limit = gate_rows(reduced)["demographic_parity difference of team"]

    assert not gate_rows(biased)["demographic_parity difference of team"]["passed"]
    assert limit["value"] < 0.1 and limit["passed"]
    assert finding(reduced.runs["life"], "within_limits")[0]
    assert difference["without"] == pytest.approx(told(biased)["differences"]["team"])
    assert difference["high"] < -0.1
    assert loss["low"] > 0 and order["high"] < 0


def training_weights(world: World) -> list[dict[str, str]]:
    """What the page says rows of each group counted for."""
    lines = world.metadata("evaluation")["training_weights"].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_the_page_shows_what_rows_of_each_group_counted_in_training(reduced: World) -> None:
    rows = training_weights(reduced)
    train = reduced.rows("training_set").filter(pl.col("split") == "train")
    weight = {(row["team"], row["label"]): float(row["weight"]) for row in rows}

    assert list(rows[0]) == ["team", "label", "teach", "rows", "weight"]
    assert sum(int(row["rows"].replace(",", "")) for row in rows) == train.height
    # those of team b who were hired count for more, those of team a for less
    assert weight["b", "hired"] > 1.2 > 0.9 > weight["a", "hired"]


def test_the_page_tells_of_the_features_that_families_learn_from_and_of_what_was_not_compared(
    tmp_path: Path, reduced: World
) -> None:
    """Skill alone tells nothing of teams: nothing is to be closed. A fold has too few of each."""
    world = lived(tmp_path, biased=True, mitigation="reductions", ignored=["club"], min_rows=1_000)
    said = world.metadata("evaluation")["mitigation_in_words"]
    card = world.metadata("model_card")["card"]
    words = (
        "Too few rows to compare in folds of tuning: 'team' in 1 of 1; there that difference is "
        "left as it is."
    )

    assert {row["weight"] for row in training_weights(world)} == {"1"}
    assert all(row["label"] == row["teach"] for row in training_weights(world))
    assert said.endswith(words) and words in card
    assert "Too few rows" not in reduced.metadata("evaluation")["mitigation_in_words"]


def test_rows_that_judge_have_no_part_in_the_weights(reduced: World) -> None:
    rows, name = reduced.rows("training_set"), reduced.step("model").name("training_set")
    judging = pl.col("split") == "test"
    label = pl.when(judging).then(1 - pl.col("label")).otherwise("label").alias("label")
    fewer = rows.with_columns(label).filter(~judging | (pl.col("_row_id") % 2 == 0))
    without_one = rows.slice(rows["split"].to_list().index("train") + 1)
    learned = [(reduced.version("tuning"), reduced.version("model/linear"))]

    for changed in (fewer, without_one, rows):
        reduced.tools.lake.replace(name, changed, None)
        reduced.run("tuning", "model/linear")
        learned.append((reduced.version("tuning"), reduced.version("model/linear")))

    assert learned[0] == learned[1] == learned[3]
    assert learned[2][0] != learned[0][0] and learned[2][1] != learned[0][1]


def test_a_limit_that_is_not_reached_is_refused_by_the_gate_whatever_was_done(
    tmp_path: Path,
) -> None:
    world = lived(tmp_path, biased=True, mitigation="reductions", max_difference=0.0005)
    limit = gate_rows(world)["demographic_parity difference of team"]

    assert 0.0005 < limit["value"] < 0.1 and not limit["passed"]
    assert not finding(world.runs["life"], "within_limits")[0]
    assert not finding(world.runs["life"], "groups_are_treated_alike")[0]


def test_rows_too_few_to_tell_groups_apart_are_named_where_they_are_gathered(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path / "hiring", biased=True, metric="equal_opportunity", min_rows=200,
                   mitigation="reductions")  # fmt: skip
    world = World.of(folder, tmp_path / "home")
    world.run("raw/people", "cleaned/people", "labels", "features")

    assert failure(world.run("training_set", raises=False)) == (
        "fairness.mitigation: reductions needs two groups of 'team' with at least 200 rows of "
        "'hired' to train on each (fairness.min_rows), but 'a' has 475, 'b' has 143. More data "
        "may have them, or larger groups, made in the source; else declare fairness.mitigation: "
        "none or reweighing."
    )


def test_where_cross_validation_judges_so_it_does_of_the_mitigation(tmp_path: Path) -> None:
    split = {"least_test": 2 * ROWS, "repeats": 1}
    world = lived(tmp_path, biased=True, split=split, mitigation="reweighing")
    difference, loss, _ = changes(world, "reweighing")

    assert set(world.rows("training_set")["split"]) == {"crossed"}
    assert difference["high"] < -0.05 and difference["without"] > 0.2
    assert difference["with"] == pytest.approx(told(world)["differences"]["team"])
    assert loss["with"] == pytest.approx(world.metadata("evaluation")["log_loss"], abs=1e-9)
    assert loss["low"] > 0


def test_without_a_bias_nothing_is_found_and_nothing_is_changed(unbiased: World) -> None:
    passed, _ = finding(unbiased.runs["life"], "groups_are_treated_alike")
    difference, *_ = changes(unbiased, "reweighing")

    assert passed
    assert told(unbiased)["differences"]["team"] < 0.05
    assert abs(difference["change"]) < 0.02
    assert finding(unbiased.runs["life"], "within_limits")[0]
    assert gate_rows(unbiased)["demographic_parity difference of team"]["passed"]


def test_the_pages_show_groups_their_picture_and_what_the_mitigation_does(
    mitigated: World,
) -> None:
    shown = mitigated.metadata("evaluation")
    card = mitigated.metadata("model_card")["card"]

    assert "| team | a |" in shown["fairness"] and "| team | b |" in shown["fairness"]
    assert shown["groups"].startswith("![groups of people](data:image/png;base64,")
    assert shown["difference_team"] == pytest.approx(told(mitigated)["differences"]["team"])
    assert "without reweighing" in shown["mitigation_in_words"]
    assert "## Groups of people" in card and "## What reweighing changes" in card
    assert "**Sensitive columns:** people.team" in card


def test_callers_are_not_asked_for_the_team(mitigated: World) -> None:
    tag = read_json(artifact(mitigated.step("bundle"), "bundle"), "bundle.json")["tag"]
    bundle = mitigated.tools.bundles.load(tag)

    assert set(bundle.request.table.columns) == {"number", "skill", "club", "years"}
    assert [column.name for column in bundle.encoding.columns] == ["skill", "club", "years"]


@pytest.mark.parametrize("team", ["team", "Team"])
def test_a_feature_made_of_a_protected_column_stops_the_run(tmp_path: Path, team: str) -> None:
    folder = write(tmp_path / "hiring", biased=False)
    for name in ("defs.yaml", "people.csv"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("team", team), encoding="utf-8")
    content = yaml.safe_load((folder / "defs.yaml").read_text(encoding="utf-8"))
    content["attributes"]["tables"]["people"]["columns"][team] = {"type": "string"}
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "features.sql").write_text(
        "SELECT r._row_id, r.skill, r.team = 'a' AS first FROM request AS r", encoding="utf-8"
    )
    data = ("raw/people", "cleaned/people", "features")
    world = World.of(folder, tmp_path / "home")

    passed, words = finding(world.run(*data, raises=False), "no_feature_of_a_protected_column")
    content["attributes"]["fairness"]["features"] = [team]
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    allowed = World.of(folder, tmp_path / "home").run("features", raises=False)

    assert (passed, words) == (False, f"first is made of {team}.")
    assert allowed.success


def test_a_protected_column_of_many_values_is_named_where_training_rows_are_gathered(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path / "hiring", biased=False, columns=["years"], mitigation="reweighing",
                   features=["years"])  # fmt: skip
    world = World.of(folder, tmp_path / "home")
    world.run("raw/people", "cleaned/people", "labels", "features")

    result = world.run("training_set", raises=False)

    assert failure(result) == (
        "fairness.columns must have at most 20 different values, which are groups, but 'years' has "
        "30. Cut it into groups in the source, such as decades."
    )
