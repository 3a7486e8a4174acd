"""A feature that the query gives no more: models learn without it, and a bundle never needs it."""

import polars as pl
import pytest
from small_product import FEATURES, FEBRUARY, JANUARY, LEARNING, World

from ai_assets.lifecycle.errors import BundleError
from ai_assets.stages.backtest import labelled_rows, rows_to_learn_from
from ai_assets.stages.evaluation import scores_of
from ai_assets.stages.features import features_given
from ai_assets.stages.training_data import load_training_data

WITHOUT_AREA = FEATURES.replace(" s.area,", "")


def with_query(world: World, sql: str) -> World:
    """The world, whose query is another one from now on."""
    (world.product.folder / "features.sql").write_text(sql, encoding="utf-8")
    return World.of(world.product.folder, world.home)


def test_what_the_query_gives_is_asked_of_the_query(copied: World) -> None:
    assert features_given(copied.step("training_set", FEBRUARY)) == [
        "shop", "weight", "area", "load",
    ]  # fmt: skip
    changed = with_query(copied, WITHOUT_AREA.replace("r.weight", "r.weight / 2"))
    assert features_given(changed.step("training_set", FEBRUARY)) == [
        "shop", "(r.weight / 2)", "load",
    ]  # fmt: skip


def test_a_dropped_feature_is_learned_from_no_more_and_the_bundle_answers(
    copied: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_ADMIT_NEW_COLUMNS", "1")
    world = with_query(copied, WITHOUT_AREA)

    # January's features stay those of the query before, and March's keep the column in the lake
    world.run("features", *LEARNING, partition=FEBRUARY)

    assert "area" in world.rows("features", JANUARY, FEBRUARY).columns
    data = load_training_data(world.step("model", FEBRUARY))
    assert [column.name for column in data.encoding.columns] == ["shop", "weight", "load"]
    assert data.features("train").columns == ["shop", "weight", "load"]
    tag = str(world.metadata("bundle", FEBRUARY)["tag"])
    bundle = world.tools.bundles.load(tag)
    given = pl.DataFrame({"shop": ["north"], "weight": [9.5], "load": [0.9]})
    assert scores_of(bundle, given)[0] > 0.5


def test_a_backtest_does_not_learn_from_it_either_but_scores_what_was_released_before(
    copied: World,
) -> None:
    step = with_query(copied, WITHOUT_AREA).step("backtest", FEBRUARY)

    learned = rows_to_learn_from(step, [JANUARY, FEBRUARY])

    features = {"shop", "weight", "load", "area"}
    assert set(learned.columns) & features == {"shop", "weight", "load"}
    assert set(labelled_rows(step).columns) & features == features


def test_a_model_that_learned_by_another_query_is_not_built_into_a_bundle(copied: World) -> None:
    before = copied.tools.bundles.tags(copied.product.name)
    world = with_query(copied, WITHOUT_AREA)

    with pytest.raises(BundleError) as error:
        world.run("bundle", partition=FEBRUARY)

    assert str(error.value) == (
        "features.sql must give every feature that the model of 2024-02-01 learned from, but gives "
        "no 'area'. Materialize features, training_set and what follows once more, or put it back."
    )
    assert world.tools.bundles.tags(world.product.name) == before
