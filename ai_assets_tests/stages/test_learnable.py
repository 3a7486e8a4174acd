"""Nothing is learned from a month that was judged broken, unless a person says it is right."""

import json
from dataclasses import replace

import polars as pl
import pytest
from pydantic import ValidationError
from small_product import APRIL, FEBRUARY, GOOD_ROWS, JANUARY, LEARNING, MARCH, World, failure

from ai_assets.automation.why import Records
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.stages.backtest import of_newest
from ai_assets.stages.binding import StageRun
from ai_assets.stages.learnable import (
    JUDGED,
    QUERY,
    content_of,
    learnable,
    learned_by,
    learned_partitions,
    write_verdict,
)
from ai_assets.stages.monitoring import sketch_of_window
from ai_assets.stages.operations import told_by_metric
from ai_assets.stages.performance import told_so_far
from ai_assets.stages.training_data import save_folder, write_json
from ai_assets.stages.verdict import tell_who_learned

DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
WORDS = "The data is broken: orders.weight is missing in 40% of the rows."


def judge(world: World, month: str, cause: str = "broken_data", judged: bool = True) -> None:
    """Keep a verdict on a month, as the stage does."""
    run = world.step("verdict", month)
    verdict = Verdict(world.product.name, month, "b:1", cause, 1.0, WORDS, [], True)  # type: ignore[arg-type]

    def write(folder) -> None:
        write_json(folder, "verdict.json", json.loads(verdict.to_json()))
        if judged:
            write_json(folder, JUDGED, content_of(run))

    save_folder(run, "verdict", write)


def rows_by_month(world: World, as_of: str) -> dict[int, int]:
    rows = world.rows("training_set", as_of)
    return dict(rows.group_by(pl.col("event_time").dt.month()).len().iter_rows())


def heavier(world: World, month: str) -> None:
    """The month's orders as their source gives them after somebody has mended it."""
    file = world.product.folder / "orders" / f"{month[:7]}.csv"
    orders = pl.read_csv(file, infer_schema=False)
    weight = (pl.col("weight").cast(pl.Float64, strict=False) / 2).cast(pl.String)
    orders.with_columns(weight=weight).write_csv(file)


def digest_of(world: World, asset: str) -> str:
    """Of what the lake has of March."""
    return world.tools.lake.digest(world.product.asset(asset), MARCH)


def with_a_new_feature(world: World) -> World:
    """The world after a column was added to the query and all features were made anew."""
    file = world.product.folder / "features.sql"
    query = file.read_text("utf-8").replace("v.load\n", "v.load, r.weight * 2 AS twice\n")
    file.write_text(query, encoding="utf-8")
    changed = World.of(world.product.folder, world.home)
    changed.run("features", partition=FEBRUARY, last=MARCH)
    return changed


def test_a_broken_month_is_not_learned_from_by_the_next(copied: World) -> None:
    copied.run(*DATA, "labels", "features", partition=APRIL)
    judge(copied, MARCH)

    copied.run("training_set", partition=APRIL)

    assert rows_by_month(copied, APRIL) == {4: GOOD_ROWS}
    metadata = copied.metadata("training_set", APRIL)
    assert (metadata["window"], metadata["left_out"]) == (APRIL, {MARCH: WORDS})
    assert learned_partitions(copied.step("training_set", APRIL)) == [APRIL]


def test_sketches_and_card_are_of_what_was_learned_from(copied: World) -> None:
    copied.run(*DATA, "labels", "features", partition=APRIL)
    judge(copied, MARCH)

    copied.run(*LEARNING, partition=APRIL)

    run = copied.step("bundle", APRIL)
    assert sketch_of_window(run, "orders").rows == GOOD_ROWS
    card = copied.tools.lake.artifact(copied.product.asset("model_card"), APRIL) / "model_card.md"
    text = card.read_text(encoding="utf-8")
    assert APRIL in text and MARCH not in text


@pytest.mark.parametrize("cause", ["none", "covariate_drift", "concept_drift", "changed_code"])
def test_a_month_with_another_verdict_is_learned_from(copied: World, cause: str) -> None:
    judge(copied, MARCH, cause)

    copied.run("training_set", partition=MARCH)

    assert rows_by_month(copied, MARCH) == {2: GOOD_ROWS, 3: GOOD_ROWS}
    assert "left_out" not in copied.metadata("training_set", MARCH)


def test_a_later_verdict_is_not_seen_by_an_earlier_month(copied: World) -> None:
    before = copied.tools.lake.digest(copied.product.asset("training_set"), FEBRUARY)
    judge(copied, MARCH)

    copied.run("training_set", partition=FEBRUARY)

    assert copied.version("training_set", FEBRUARY) == before
    assert rows_by_month(copied, FEBRUARY) == {1: GOOD_ROWS, 2: GOOD_ROWS}


def test_the_same_verdicts_give_the_same_training_set(copied: World) -> None:
    judge(copied, FEBRUARY)
    versions = []
    for _ in range(2):
        copied.run("training_set", partition=MARCH)
        versions.append(copied.version("training_set", MARCH))

    assert versions[0] == versions[1]


def test_data_that_was_made_again_with_other_content_counts_again(copied: World) -> None:
    judge(copied, MARCH)
    copied.run(*DATA, "labels", "features", partition=MARCH)
    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY]  # as it was

    heavier(copied, MARCH)
    copied.run(*DATA, "labels", "features", partition=MARCH)

    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY, MARCH]


def test_a_new_feature_does_not_let_a_broken_month_back(
    copied: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_ADMIT_NEW_COLUMNS", "1")
    judge(copied, MARCH)
    before = digest_of(copied, "features")

    world = with_a_new_feature(copied)

    assert digest_of(world, "features") != before
    assert learnable(world.step("training_set", MARCH)).keys == [FEBRUARY]
    heavier(world, MARCH)
    world.run(*DATA, "labels", "features", partition=MARCH)
    assert learnable(world.step("training_set", MARCH)).keys == [FEBRUARY, MARCH]


def test_features_that_differ_by_the_same_query_count_again(copied: World) -> None:
    judge(copied, MARCH)
    other = copied.rows("features", MARCH).with_columns(pl.col("weight") + 1)
    copied.tools.lake.replace(copied.product.asset("features"), other, MARCH)

    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY, MARCH]


def test_a_table_beside_the_request_that_was_mended_counts_again(
    copied: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_ADMIT_NEW_COLUMNS", "1")
    judge(copied, MARCH)
    visits = copied.rows("cleaned/visits", MARCH).head(3)
    world = with_a_new_feature(copied)
    world.tools.lake.replace(world.product.asset("cleaned/visits"), visits, MARCH)

    assert learnable(world.step("training_set", MARCH)).keys == [FEBRUARY, MARCH]


def test_a_verdict_from_before_more_was_compared_stands_while_its_requests_are_the_same(
    copied: World,
) -> None:
    judge(copied, MARCH)
    folder = copied.tools.lake.artifact(copied.product.asset("verdict"), MARCH)
    known = json.loads((folder / JUDGED).read_text(encoding="utf-8"))
    run = copied.step("verdict", MARCH)

    def older(folder) -> None:
        write_verdict(
            Verdict(run.product.name, MARCH, "b:1", "broken_data", 1.0, WORDS, [], True),
            {name: known[name] for name in ("features", "cleaned/orders")},
            folder,
        )

    save_folder(run, "verdict", older)

    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY]
    heavier(copied, MARCH)
    copied.run(*DATA, "labels", "features", partition=MARCH)
    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY, MARCH]


def test_a_month_that_is_judged_anew_counts_again(copied: World) -> None:
    judge(copied, MARCH, judged=False)  # as before it was told what had been judged
    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY]

    copied.run("verdict", partition=MARCH)

    assert copied.metadata("verdict", MARCH)["cause"] == "none"
    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY, MARCH]


def test_the_stage_keeps_what_it_judged(shared_world: World) -> None:
    folder = shared_world.tools.lake.artifact(shared_world.product.asset("verdict"), MARCH)
    judged = json.loads((folder / JUDGED).read_text(encoding="utf-8"))

    lake = shared_world.tools.lake
    tables = ("cleaned/orders", "rejected/orders", "cleaned/visits", "rejected/visits")
    digests = {
        name: lake.digest(shared_world.product.asset(name), MARCH)
        if lake.exists(shared_world.product.asset(name), MARCH)
        else ""
        for name in ("features", *tables)
    }
    assert {name: judged[name] for name in digests} == digests
    assert judged.keys() == {*digests, QUERY}
    assert judged["features"] == shared_world.version("features", MARCH)


def test_labels_that_come_later_mend_nothing(copied: World) -> None:
    judge(copied, MARCH)
    labels = copied.rows("labels", MARCH).with_columns(label=1 - pl.col("label"))
    copied.tools.lake.replace(copied.product.asset("labels"), labels, MARCH)

    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY]


def test_where_all_is_broken_there_is_one_error(copied: World) -> None:
    judge(copied, FEBRUARY)
    judge(copied, MARCH)

    result = copied.run("training_set", partition=MARCH, raises=False)

    assert not result.success
    assert failure(result) == (
        "training_set of late_orders as of 2024-03-01 has nothing to learn from: all of its window "
        f"was judged broken.\n  2024-02-01: {WORDS}\n  2024-03-01: {WORDS}\n"
        "Mend the data and make it again, or, where it is right as it is, name the partition in "
        "training.accept."
    )
    with pytest.raises(DataError, match="nothing to learn from"):
        learnable(copied.step("training_set", MARCH))


def test_a_person_may_say_that_a_month_is_right(copied: World) -> None:
    judge(copied, FEBRUARY)
    judge(copied, MARCH)

    world = copied.declared(training__accept=[MARCH])
    world.run("training_set", partition=MARCH)

    assert rows_by_month(world, MARCH) == {3: GOOD_ROWS}


@pytest.mark.parametrize("key", ["2024-03-02", "2023-12-01", "March"])
def test_only_partitions_are_accepted(copied: World, key: str) -> None:
    with pytest.raises(ValidationError, match=r"training\.accept must be keys of partitions"):
        copied.declared(training__accept=[key])


def test_a_backtest_that_learns_always_does_not_take_a_model_that_left_a_month_out(
    copied: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("ai_assets.stages.backtest.as_of", lambda run, rows: asked.append("model"))
    monkeypatch.setattr(
        "ai_assets.stages.backtest.learned_from",
        lambda run, keys: asked.append(keys) or _Scores(),
    )
    run: StageRun = replace(copied.step("backtest", MARCH))
    copied.run("training_set", partition=MARCH)
    of_newest(run, pl.DataFrame(), 2)
    judge(copied, FEBRUARY)
    copied.run("training_set", partition=MARCH)
    of_newest(run, pl.DataFrame(), 2)

    assert asked == ["model", [FEBRUARY, MARCH]]


class _Scores:
    def score(self, rows: pl.DataFrame) -> None:
        return None


def test_what_a_bundle_learned_from_is_what_it_says_and_not_what_one_would_learn_from_now(
    copied: World,
) -> None:
    tools = copied.tools
    records = Records(copied.product, tools.lake, tools.bundles, tools.ledger, tools.decisions)
    stable = records.releases()[-1]["stable"]
    learned = [JANUARY, FEBRUARY]
    assert records.bundle_facts(stable)["learned_from"] == learned

    judge(copied, JANUARY)
    copied.run("training_set", partition=FEBRUARY)

    assert learned_partitions(copied.step("training_set", FEBRUARY)) == [FEBRUARY]
    assert records.bundle_facts(stable)["learned_from"] == learned
    assert [learned_by(copied.step("verdict", m)) for m in (JANUARY, FEBRUARY, MARCH)] == [
        [stable], [stable], [],
    ]  # fmt: skip


def test_people_are_told_where_what_answers_learned_from_data_that_turned_out_broken(
    copied: World,
) -> None:
    run = copied.step("verdict", JANUARY)
    stable = copied.tools.ledger.history(copied.product.name)["stable"][-1]
    broken = Verdict(copied.product.name, JANUARY, "b:1", "broken_data", 1.0, WORDS, [], True)
    file = copied.home / "alerts.jsonl"

    tell_who_learned(run, broken, ["late_orders:another"])
    assert not file.exists()
    for _ in range(2):
        tell_who_learned(run, broken, ["late_orders:another", stable])

    (line,) = file.read_text("utf-8").splitlines()
    alert = json.loads(line)
    assert (alert["kind"], alert["severity"]) == ("broken_data", "error")
    assert alert["words"].startswith(
        f"{stable} learned from {JANUARY}, of which is now said: {WORDS}"
    )


@pytest.mark.parametrize(("cause", "valid"), [("concept_drift", False), ("none", True)])
def test_an_estimate_cannot_hold_where_the_concept_has_changed(
    copied: World, cause: str, valid: bool
) -> None:
    judge(copied, MARCH, cause)

    told = told_by_metric(copied.step("operations"))

    assert {one.partition: one.valid for one in told["log_loss"]} == {MARCH: valid}


def test_a_months_performance_shows_no_later_month(copied: World) -> None:
    later = copied.rows("performance", MARCH)
    copied.tools.lake.replace(copied.product.asset("performance"), later, APRIL)

    told = [told_so_far(copied.step("performance", month)) for month in (MARCH, APRIL)]

    assert [one.partition for one in told[0]["log_loss"]] == [MARCH]
    assert [one.partition for one in told[1]["log_loss"]] == [MARCH, APRIL]
