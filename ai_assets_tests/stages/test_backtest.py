"""Other policies on the small product, its page, and searches that are taken over."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_product import APRIL, FEBRUARY, JANUARY, MARCH, World, finding, write_product

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.evaluation.metrics import scored, values_of
from ai_assets.lifecycle.training.whole import Learned
from ai_assets.stages import backtest
from ai_assets.stages.anomalies import ordered, versions_after
from ai_assets.stages.backtest import (
    before_key,
    labelled_rows,
    learned_from,
    nothing_to_compare,
    of_newest,
)
from ai_assets.stages.binding import StageRun
from ai_assets.stages.operations import scored_by_all
from ai_assets.stages.tuning import fresh_search


def test_a_backtest_scores_every_policy_with_what_was_known_before(copied: World) -> None:
    result = copied.run("backtest", "operations", partition=MARCH)

    assert finding(result, "policies_compared") == (
        True,
        f"never, rolling, expanding: compared by {copied.rows('backtest', MARCH).height} rows.",
    )
    rows = copied.rows("backtest", MARCH)
    labels = copied.rows("labels", MARCH)
    assert rows.height == labels["label"].drop_nulls().len()
    for policy in ("never", "rolling", "expanding"):
        p = rows[policy].to_numpy()
        loss = values_of(scored(rows["label"].to_numpy(), p), ("log_loss",))["log_loss"]
        assert loss is not None and loss < 0.5, policy
        assert copied.metadata("backtest", MARCH)[f"log_loss/{policy}"] == loss
    # The first release was made as of February, so both are the same model's answers.
    assert np.allclose(rows["never"], rows["rolling"], atol=1e-6)


def test_the_rolling_policy_learns_from_as_many_partitions_as_declared(
    shared_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shared_world.step("backtest", MARCH)
    before, rows = run.at(before_key(run)), labelled_rows(run)
    learned: list[list[str]] = []

    def learn(run: StageRun, keys: list[str]) -> Learned:
        learned.append(keys)
        return learned_from(run, keys)

    monkeypatch.setattr(backtest, "learned_from", learn)
    answers = [of_newest(before, rows, length) for length in (1, 2, None)]

    # January and February are the product's own window: its model answers as it is.
    assert learned == [[FEBRUARY]]
    assert np.array_equal(answers[1], answers[2])
    assert np.abs(answers[0] - answers[1]).max() > 0.001
    losses = [values_of(scored(rows["label"].to_numpy(), p), ("log_loss",)) for p in answers]
    assert all(loss["log_loss"] < 0.5 for loss in losses)


def test_the_page_compares_the_loop_with_the_policies(copied: World) -> None:
    copied.run("backtest", "operations", partition=MARCH)

    folder = copied.tools.lake.artifact(copied.product.asset("operations"), None)
    policies = pl.read_csv(folder / "policies.csv")
    assert policies["policy"].to_list() == ["loop", "never", "rolling", "expanding"]
    loop = policies.row(0, named=True)["log_loss"]
    assert loop == pytest.approx(policies.row(1, named=True)["log_loss"], abs=1e-6)
    page = (folder / "operations.html").read_text(encoding="utf-8")
    assert "late_orders in operation" in page and MARCH in page


def test_nothing_is_compared_before_a_release_was_in_production(shared_world: World) -> None:
    run = shared_world.step("backtest", FEBRUARY)
    assert nothing_to_compare(run, labelled_rows(run)) == (
        f"Nothing was in production at the start of {FEBRUARY}: no policy to compare."
    )


def test_a_backtest_without_a_model_before_is_empty_and_says_which(copied: World) -> None:
    copied.run("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", partition=APRIL)
    result = copied.run("labels", "features", "backtest", "operations", partition=APRIL)

    assert finding(result, "policies_compared") == (
        False,
        f"There is no model as of {MARCH}: materialize its compressed_model to compare.",
    )
    assert copied.metadata("backtest", APRIL)["nothing_compared"].startswith("There is no model")
    assert copied.rows("backtest", APRIL).height == 0
    assert "policies" not in copied.metadata("operations")


def test_the_page_leaves_out_what_was_not_compared(copied: World) -> None:
    copied.run("backtest", partition=MARCH)
    compared = copied.rows("backtest", MARCH)
    copied.run("backtest", partition=FEBRUARY)
    run = copied.step("operations", MARCH)
    both = scored_by_all(run)
    assert both is not None and both.height == compared.height

    copied.tools.lake.replace(copied.product.asset("backtest"), compared.clear(), MARCH)
    assert scored_by_all(run) is None
    assert copied.run("operations").success


def test_nothing_was_known_before_the_first_partition(shared_world: World) -> None:
    run = shared_world.step("backtest", JANUARY)
    assert before_key(run) is None
    assert "2024-01-01 is the first partition" in nothing_to_compare(run, labelled_rows(run))


def test_without_labels_there_is_nothing_to_compare_by(shared_world: World) -> None:
    run = shared_world.step("backtest", MARCH)
    rows = labelled_rows(run)
    assert nothing_to_compare(run, rows) == ""
    assert nothing_to_compare(run, rows.clear()) == (
        f"No label of {MARCH} arrived: nothing to compare by."
    )


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The product with searches that hold for two partitions, learned as of three months."""
    home = tmp_path_factory.mktemp("refreshed")
    folder = write_product(
        home / "late_orders", training__tune={"trials": 2, "folds": 1, "refresh": 2}
    )
    world = World.of(folder, home / "home")
    world.run("raw/shops", "cleaned/shops")
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "labels", "features")
    world.run(*data, partition=JANUARY, last=APRIL)
    for month in (FEBRUARY, MARCH, APRIL):
        world.run("training_set", "tuning", partition=month)
    return world


def test_a_search_is_taken_over_until_it_is_too_old(refreshed: World) -> None:
    assert "taken_from" not in refreshed.metadata("tuning", FEBRUARY)
    assert refreshed.metadata("tuning", MARCH)["taken_from"] == FEBRUARY
    assert refreshed.version("tuning", MARCH) == refreshed.version("tuning", FEBRUARY)
    # In April the search of February is two partitions old: a new one is made.
    assert "taken_from" not in refreshed.metadata("tuning", APRIL)


def test_a_search_of_another_declaration_is_not_taken_over(refreshed: World) -> None:
    run = refreshed.step("tuning", MARCH)
    assert fresh_search(run) == FEBRUARY
    run.product.declaration.training.__dict__["seed"] = 7
    try:
        assert fresh_search(run) is None
    finally:
        run.product.declaration.training.__dict__["seed"] = 0


def test_no_anomaly_unless_one_is_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AI_ASSETS_INJECT", raising=False)
    assert ordered() is None
    assert versions_after({"features": "a"}, MARCH) == {"features": "a"}


def test_an_ordered_anomaly_changes_raw_rows_from_its_partition_on(
    shared_world: World, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_INJECT", "value_stuck")
    monkeypatch.setenv("AI_ASSETS_INJECT_FROM", FEBRUARY)
    world = World.of(shared_world.product.folder, tmp_path_factory.mktemp("injected"))
    world.run("raw/orders", "raw/visits", partition=JANUARY, last=FEBRUARY)

    before = [world.rows(t, JANUARY).equals(shared_world.rows(t, JANUARY)) for t in RAW]
    after = [world.rows(t, FEBRUARY).equals(shared_world.rows(t, FEBRUARY)) for t in RAW]
    assert before == [True, True]
    assert after.count(False) == 1
    assert world.metadata("raw/orders", FEBRUARY)["injected"] == "value_stuck"
    assert "injected" not in world.metadata("raw/orders", JANUARY)


def test_an_anomaly_is_made_of_the_partitions_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_INJECT", "value_stuck")
    source = {"csv": "orders/{partition}.csv"}
    folder = write_product(tmp_path / "late_orders", tables__orders__source=source)
    (folder / "orders" / "2024-01.csv").rename(folder / "orders" / f"{JANUARY}.csv")

    result = World.of(folder, tmp_path / "home").run("raw/orders", partition=JANUARY)

    words = "An anomaly on order stands in for the file."
    assert finding(result, "no_row_of_another_partition") == (True, words)


RAW = ("raw/orders", "raw/visits")


def test_an_unknown_anomaly_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_INJECT", "value_stuk")
    with pytest.raises(DeclarationError, match="value_stuck"):
        ordered()
    assert os.environ["AI_ASSETS_INJECT"] == "value_stuk"


def test_changed_code_shows_in_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_INJECT", "upstream_code_changed")
    monkeypatch.setenv("AI_ASSETS_INJECT_FROM", FEBRUARY)
    assert versions_after({"features": "a"}, JANUARY) == {"features": "a"}
    assert versions_after({"features": "a"}, MARCH) != {"features": "a"}
