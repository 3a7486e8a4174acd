"""A product that is judged by groups of people, from biased and from unbiased rows to its gate."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from small_product import World, failure, finding

from ai_assets.stages.training_data import artifact, read_json

ROWS = 4_000
LIFE = (
    "raw/people", "cleaned/people", "labels", "features", "training_set", "tuning",
    "model/linear", "model", "compressed_model", "evaluation", "model_card", "bundle", "gate",
)  # fmt: skip
SQL = "SELECT r._row_id, r.skill, r.club, r.years FROM request AS r\n"


def hired(folder: Path, *, biased: bool) -> None:
    """People of two teams; where biased, those of team b were hired less often at equal skill.

    The club gives the team away in nine cases of ten, so a model learns the bias without the team.
    """
    luck = np.random.default_rng(11)
    team = luck.choice(["a", "b"], ROWS)
    skill = luck.normal(0, 1, ROWS).round(3)
    worth = 1.5 * skill + luck.logistic(0, 0.5, ROWS) - 1.6 * ((team == "b") & biased)
    other = luck.random(ROWS) < 0.1
    pl.DataFrame(
        {
            "number": range(ROWS),
            "skill": skill,
            "club": np.where((team == "a") != other, "chess", "rowing"),
            "years": luck.integers(0, 30, ROWS),
            "team": team,
            "hired": worth > 0.3,
        }
    ).write_csv(folder / "people.csv")


def write(
    folder: Path, *, biased: bool, split: dict[str, Any] | None = None, **fairness: Any
) -> Path:
    declared = {
        "description": "Is this person hired?",
        "request": "people",
        "tables": {
            "people": {
                "source": {"csv": "people.csv"},
                "key": ["number"],
                "columns": {
                    "number": {"type": "int64", "example": 1},
                    "skill": {"type": "float64", "example": 0.5},
                    "club": {"type": "string", "example": "chess"},
                    "years": {"type": "int64", "example": 3},
                    "team": {"type": "string", "known_at": "NULL"},
                    "hired": {"type": "bool", "known_at": "NULL"},
                },
            }
        },
        "label": {"sql": "hired", "positive": "hired"},
        "training": {
            "families": ["linear"],
            "tune": {"trials": 1, "folds": 1},
            "split": {"test": 0.3} if split is None else split,
            "threads": 1,
        },
        "fairness": {"columns": ["team"], "metric": "demographic_parity", **fairness},
    }
    folder.mkdir(parents=True)
    content = {"type": "ai_assets.components.TabularProduct", "attributes": declared}
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "features.sql").write_text(SQL, encoding="utf-8")
    hired(folder, biased=biased)
    return folder


def lived(folder: Path, *, biased: bool, **declared: Any) -> World:
    world = World.of(write(folder / "hiring", biased=biased, **declared), folder / "home")
    world.runs["life"] = world.run(*LIFE, raises=False)
    return world


def told(world: World) -> dict[str, Any]:
    content: dict[str, Any] = read_json(
        artifact(world.step("evaluation"), "evaluation"), "fairness.json"
    )
    return content


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
    changes = told(mitigated)["card"]["What reweighing changes"]
    difference, loss, order = (
        dict(zip(changes["columns"], row, strict=True)) for row in changes["rows"]
    )

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
    changes = told(reduced)["card"]["What reductions changes"]
    difference, loss, order = (
        dict(zip(changes["columns"], row, strict=True)) for row in changes["rows"]
    )
    limit = gate_rows(reduced)["demographic_parity difference of team"]

    assert not gate_rows(biased)["demographic_parity difference of team"]["passed"]
    assert limit["value"] < 0.1 and limit["passed"]
    assert finding(reduced.runs["life"], "within_limits")[0]
    assert difference["without"] == pytest.approx(told(biased)["differences"]["team"])
    assert difference["high"] < -0.1
    assert loss["low"] > 0 and order["high"] < 0


def test_the_page_shows_what_rows_of_each_group_counted_in_training(reduced: World) -> None:
    lines = reduced.metadata("evaluation")["training_weights"].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, rows = cells[0], [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    train = reduced.rows("training_set").filter(pl.col("split") == "train")
    weight = {(row["team"], row["label"]): float(row["weight"]) for row in rows}

    assert head == ["team", "label", "teach", "rows", "weight"]
    assert sum(int(row["rows"].replace(",", "")) for row in rows) == train.height
    # those of team b who were hired count for more, those of team a for less
    assert weight["b", "hired"] > 1.2 > 0.9 > weight["a", "hired"]


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
    changes = told(world)["card"]["What reweighing changes"]
    difference, loss, _ = (
        dict(zip(changes["columns"], row, strict=True)) for row in changes["rows"]
    )

    assert set(world.rows("training_set")["split"]) == {"crossed"}
    assert difference["high"] < -0.05 and difference["without"] > 0.2
    assert difference["with"] == pytest.approx(told(world)["differences"]["team"])
    assert loss["with"] == pytest.approx(world.metadata("evaluation")["log_loss"], abs=1e-9)
    assert loss["low"] > 0


def test_without_a_bias_nothing_is_found_and_nothing_is_changed(unbiased: World) -> None:
    passed, _ = finding(unbiased.runs["life"], "groups_are_treated_alike")
    row = told(unbiased)["card"]["What reweighing changes"]["rows"][0]

    assert passed
    assert told(unbiased)["differences"]["team"] < 0.05
    assert abs(row[3]) < 0.02
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


def test_a_feature_made_of_a_protected_column_stops_the_run(tmp_path: Path) -> None:
    folder = write(tmp_path / "hiring", biased=False)
    text = (folder / "defs.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    content["attributes"]["tables"]["people"]["columns"]["team"] = {"type": "string"}
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "features.sql").write_text(
        "SELECT r._row_id, r.skill, r.team = 'a' AS first FROM request AS r", encoding="utf-8"
    )
    data = ("raw/people", "cleaned/people", "features")
    world = World.of(folder, tmp_path / "home")

    passed, words = finding(world.run(*data, raises=False), "no_feature_of_a_protected_column")
    content["attributes"]["fairness"]["features"] = ["team"]
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    allowed = World.of(folder, tmp_path / "home").run("features", raises=False)

    assert (passed, words) == (False, "first is made of team.")
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
