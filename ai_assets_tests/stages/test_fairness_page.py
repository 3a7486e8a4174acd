"""What the page of fairness says of a search: what it could not compare, and whose weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hiring import ROWS, lived, write
from small_product import World

from ai_assets.lifecycle.product import read_product
from ai_assets.stages.binding import StageRun
from ai_assets.stages.fairness import left_alone, training_weights
from ai_assets.stages.training_data import artifact, load_training_data, read_json, write_json
from ai_assets.stages.tuning import MADE


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> World:
    """4,000 people, half of each team: 2,000 teach the fold of a search and 2,400 those of the
    cross-validation."""
    split = {"least_test": 2 * ROWS, "repeats": 2}
    folder = tmp_path_factory.mktemp("crossed")
    return lived(folder, biased=True, split=split, mitigation="reductions", min_rows=1_500)


def declared_anew(world: World, folder: Path, **declared: Any) -> StageRun:
    """The evaluation of the same rows and models under another declaration."""
    product = read_product(write(folder / "hiring", biased=True, **declared))
    return StageRun(product, None, world.tools)


@contextmanager
def rewritten(world: World, asset: str, file: str, **changes: Any) -> Iterator[None]:
    """Have an artifact's file say something else within the block."""
    folder = artifact(world.step("evaluation"), asset)
    said: dict[str, Any] = read_json(folder, file)
    write_json(folder, file, said | changes)
    try:
        yield
    finally:
        write_json(folder, file, said)


def test_folds_of_the_cross_validation_that_are_too_small_are_told(crossed: World) -> None:
    run = crossed.step("evaluation")

    told = left_alone(run, load_training_data(run))

    assert told == {
        "folds of tuning": "'team' in 1 of 1",
        "folds of the cross-validation": "'team' in 10 of 10",
    }
    assert crossed.metadata("evaluation")["mitigation_in_words"].endswith(
        " Too few rows to compare in folds of the cross-validation: 'team' in 10 of 10; there that "
        "difference is left as it is."
    )


def test_folds_of_a_search_are_told_by_the_partition_that_searched(
    tmp_path: Path, crossed: World
) -> None:
    split = {"least_test": 2 * ROWS, "repeats": 1}
    many = {"split": split, "mitigation": "reductions", "min_rows": 3_000}
    run = declared_anew(crossed, tmp_path, **many)
    data = load_training_data(run)

    own = left_alone(run, data)
    with rewritten(crossed, "tuning", MADE, partition="2024-01"):
        taken_over = left_alone(run, data)

    assert list(own) == ["training", "folds of tuning", "folds of the cross-validation"]
    assert own["folds of tuning"] == "'team' in 1 of 1"
    assert list(taken_over) == ["training", "folds of the cross-validation"]


def test_nothing_is_said_of_a_mitigation_that_compares_nothing(
    tmp_path: Path, crossed: World
) -> None:
    run = declared_anew(crossed, tmp_path, mitigation="reweighing", min_rows=3_000)

    assert left_alone(run, load_training_data(run)) == {}


@pytest.mark.parametrize("mitigation", ["reductions", "reweighing"])
def test_families_of_a_blend_that_learn_from_other_weights_are_told_apart(
    tmp_path: Path, crossed: World, mitigation: str
) -> None:
    """The linear family does not see the club, which tells of teams: it has nothing to close."""
    ignored = {"families": ["linear", "lightgbm"], "ignore_features": {"linear": ["club"]}}
    run = declared_anew(crossed, tmp_path, training=ignored, mitigation=mitigation)
    data = load_training_data(run)

    weights = {"linear": 0.5, "lightgbm": 0.5}
    with rewritten(crossed, "model", "winner.json", weights=weights):
        table = training_weights(run, data)

    if mitigation == "reweighing":
        assert table.columns == ["team", "label", "teach", "rows", "weight"]
        assert table.height == 4
    else:
        found = {name: own["weight"] for (name,), own in table.group_by("families")}
        of_linear, of_trees = found["linear"], found["lightgbm"]
        assert len(of_linear) == len(of_trees) == 4
        assert of_trees.max() - of_trees.min() > of_linear.max() - of_linear.min() + 0.2
    assert table["rows"].sum() == ROWS * (1 if mitigation == "reweighing" else 2)
