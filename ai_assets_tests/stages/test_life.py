"""The small product's life by value: raw → cleaned → … → release → predictions → drift."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from small_product import (
    FEBRUARY,
    GOOD_ROWS,
    JANUARY,
    MARCH,
    RAW_ROWS,
    World,
    finding,
    findings,
)

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.machine import MACHINE_TAG, Machine
from ai_assets.serving.scoring import Scorer
from ai_assets.stages.delivery import not_emptied

RANGE = (JANUARY, FEBRUARY, MARCH)


@pytest.mark.parametrize("month", RANGE)
def test_every_raw_row_is_cleaned_rejected_or_a_duplicate(shared_world: World, month: str) -> None:
    assert shared_world.rows("raw/orders", month).height == RAW_ROWS
    assert shared_world.rows("cleaned/orders", month).height == GOOD_ROWS

    rejected = shared_world.rows("rejected/orders", month)
    assert rejected["weight"].to_list() == ["heavy"]
    assert "weight" in rejected["_rule"][0]
    metadata = shared_world.metadata("cleaned/orders", month)
    assert (metadata["rejected"], metadata["duplicates"]) == (1, 1)
    assert metadata["dagster/row_count"] == GOOD_ROWS


def test_the_page_of_a_cleaned_table_tells_of_each_column(shared_world: World) -> None:
    orders = shared_world.rows("cleaned/orders", FEBRUARY)
    metadata = shared_world.metadata("cleaned/orders", FEBRUARY)
    page = Path(str(metadata["page"])).read_text(encoding="utf-8")

    lines = str(metadata["columns"]).splitlines()
    told = [line.split("`")[1] for line in lines[2:]]
    assert told == ["number", "placed", "shop", "weight", "delay"]
    (weight,) = [line for line in lines if line.startswith("| `weight` | float64 | 0 |")]
    least, most = orders["weight"].min(), orders["weight"].max()
    assert f"| {least:.4g} |" in weight and f"| {most:.4g} |" in weight
    assert f"<h1>late_orders/cleaned/orders, {FEBRUARY}</h1>" in page
    assert f"{GOOD_ROWS} rows, all of them read." in page
    shops = shared_world.metadata("cleaned/shops")
    assert "north (33%)" in str(shops["columns"])


def without_meaning(world: World, asset: str, month: str) -> list[str]:
    """The columns of an asset of which nothing is told."""
    schema = world.metadata(asset, month)["dagster/column_schema"]
    assert len(schema.columns) >= 4
    return [column.name for column in schema.columns if not column.description]


@pytest.mark.parametrize(
    ("asset", "month"),
    [
        ("labels", MARCH),
        ("features", MARCH),
        ("training_set", FEBRUARY),
        ("predictions", MARCH),
        ("drift", MARCH),
        ("performance", MARCH),
    ],
)
def test_each_column_is_shown_with_what_it_means(
    shared_world: World, asset: str, month: str
) -> None:
    assert without_meaning(shared_world, asset, month) == []


def test_each_column_of_what_was_asked_and_told_and_of_policies_is_shown_with_what_it_means(
    copied: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "{product}.sqlite"))
    assets = ("served", "feedback", "served_drift", "backtest")

    copied.run(*assets, partition=JANUARY)

    assert {name: without_meaning(copied, name, JANUARY) for name in assets} == {
        name: [] for name in assets
    }


def test_raw_and_rejected_rows_are_shown_with_what_is_declared_of_them(
    shared_world: World,
) -> None:
    for asset in ("raw/orders", "rejected/orders"):
        schema = shared_world.metadata(asset, MARCH)["dagster/column_schema"]
        told = {column.name: column.description for column in schema.columns}
        assert told["weight"] == "How heavy the parcel is"
    assert told["_rule"] == "The rule of the contract that the row broke"
    assert shared_world.metadata("rejected/shops")["by_rule"] == "none"


def test_candidates_are_shown_as_numbers_and_how_each_is_made_beside_them(
    shared_world: World,
) -> None:
    shown = shared_world.metadata("compressed_model", FEBRUARY)
    head, _, *rows = shown["candidates"].splitlines()
    made = shown["how_each_is_made"].splitlines()

    assert head == (
        "| name | size | p50 | p99 | metric | metric_loss | max_difference | mean_difference "
        "| best |"
    )
    assert made[0] == "| name | what |" and "| onnx | the winner itself |" in made
    assert {row.split(" | ")[0] for row in rows} == {row.split(" | ")[0] for row in made[2:]}


def test_labels_are_the_declared_sql_and_known_a_day_later(shared_world: World) -> None:
    orders = shared_world.rows("cleaned/orders", JANUARY)
    labels = shared_world.rows("labels", JANUARY)

    both = orders.join(labels, on="_row_id")
    assert both.height == GOOD_ROWS
    assert (both["label"] == (both["delay"] >= 15)).all()
    assert ((both["known_at"] - both["placed"]).dt.total_days() == 1).all()


def test_a_feature_is_the_last_visit_known_an_hour_before_the_order(shared_world: World) -> None:
    orders = shared_world.rows("cleaned/orders", FEBRUARY).sort("placed")
    order = orders.row(300, named=True)
    visits = shared_world.rows("cleaned/visits", FEBRUARY)
    seen = visits.filter(
        pl.col("shop") == order["shop"],
        pl.col("placed") <= order["placed"] - pl.duration(hours=1),
    ).sort("placed")

    features = shared_world.rows("features", FEBRUARY).filter(pl.col("_row_id") == order["_row_id"])

    assert features.drop("_row_id").rows(named=True) == [
        {
            "shop": order["shop"],
            "weight": order["weight"],
            "area": {"east": 120, "north": 300, "south": 80}[order["shop"]],
            "load": seen["load"][-1],
        }
    ]


def test_the_first_hours_of_a_month_see_the_last_hours_of_the_month_before(
    shared_world: World,
) -> None:
    order = shared_world.rows("cleaned/orders", MARCH).sort("placed").row(0, named=True)
    visits = shared_world.rows("cleaned/visits", FEBRUARY)
    last = visits.filter(pl.col("shop") == order["shop"]).sort("placed").row(-1, named=True)

    features = shared_world.rows("features", MARCH)

    assert (order["placed"], last["placed"]) == (
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 2, 28, 18, tzinfo=UTC),
    )
    seen = features.filter(pl.col("_row_id") == order["_row_id"])["load"].to_list()
    assert seen == [last["load"]]


def test_before_the_first_partition_there_is_nothing_to_see(shared_world: World) -> None:
    orders = shared_world.rows("cleaned/orders", JANUARY).sort("placed")
    first = orders["_row_id"][0]

    features = shared_world.rows("features", JANUARY)

    assert features.filter(pl.col("_row_id") == first)["load"].to_list() == [None]


def test_the_online_table_is_the_end_of_the_newest_partition(shared_world: World) -> None:
    visits = shared_world.rows("online/visits")

    newest = datetime(2024, 3, 28, 18, tzinfo=UTC)
    # Twice the lookback of two days, and the horizon of an hour.
    oldest = newest - timedelta(days=4, hours=1)
    assert visits["placed"].max() == newest
    assert visits["placed"].min() == datetime(2024, 3, 24, 18, tzinfo=UTC) > oldest
    assert visits.height == 17 * 3


def test_the_training_set_is_two_months_split_in_order_of_time(shared_world: World) -> None:
    rows = shared_world.rows("training_set", FEBRUARY)

    assert rows.height == 2 * GOOD_ROWS
    assert dict(rows["split"].value_counts().iter_rows()) == {
        "train": 840,
        "validation": 180,
        "test": 180,
    }
    spans = {
        str(key[0]): (group["event_time"].min(), group["event_time"].max())
        for key, group in rows.group_by("split")
    }
    assert spans["train"][1] < spans["validation"][0] <= spans["validation"][1] < spans["test"][0]
    assert shared_world.metadata("training_set", FEBRUARY)["window"] == f"{JANUARY}, {FEBRUARY}"


def test_the_model_learned_what_the_data_was_made_of(shared_world: World) -> None:
    metadata = shared_world.metadata("evaluation", FEBRUARY)

    assert metadata["roc_auc"] > 0.8
    assert metadata["rows"] == 180
    # Why a metric is undefined has a column only where one is.
    head, _, *lines = str(metadata["metrics"]).splitlines()
    assert head == "| metric | value | low | high |"
    assert all(line.count("|") == 5 for line in lines)
    assert shared_world.metadata("model", FEBRUARY)["winner"] == "linear"
    passed, words = finding(shared_world.runs["model"], "better_than_the_base_rate")
    assert passed and "would have" in str(words)


def test_the_first_release_begins_where_its_partition_ends(shared_world: World) -> None:
    history = shared_world.tools.ledger.history("late_orders")
    first = history.row(0, named=True)

    assert first["effective_from"] == datetime(2024, 3, 1, tzinfo=UTC)
    told = shared_world.metadata("release")
    assert told["effective_from"] == str(first["effective_from"]) and "recorded_at" not in told
    assert told["history"].startswith("| effective_from | stable |")
    assert first["cause"] == "first release"
    assert (first["who"], first["why"]) == ("operator", "released by hand")
    assert first["stable"] == shared_world.metadata("bundle", FEBRUARY)["tag"]
    gate = json.loads(first["gate"])
    assert (gate["passed"], gate["bundle"]) == (True, first["stable"])


def test_the_next_month_is_scored_by_the_release(shared_world: World) -> None:
    predictions = shared_world.rows("predictions", MARCH)
    entry = shared_world.tools.ledger.history("late_orders").row(0, named=True)

    assert predictions.height == GOOD_ROWS
    assert predictions["release_id"].unique().to_list() == [entry["release_id"]]
    assert predictions["bundle"].unique().to_list() == [entry["stable"]]
    features = shared_world.rows("features", MARCH).sort("_row_id")
    again = Scorer(shared_world.tools.bundles.load(entry["stable"])).score_features(features)
    scored = predictions.sort("_row_id")
    assert scored["probability"].to_list() == pytest.approx(list(again.probability), abs=1e-9)
    assert set(predictions["predicted"].unique()) == {"late", "not late"}


def test_predictions_know_what_happened(shared_world: World) -> None:
    both = shared_world.rows("predictions", MARCH).join(
        shared_world.rows("labels", MARCH), on="_row_id"
    )
    right = both.filter((pl.col("predicted") == "late") == (pl.col("label") == 1))

    assert right.height / both.height > 0.75


def test_drift_compares_each_feature_and_the_score(shared_world: World) -> None:
    numbers = shared_world.rows("drift", MARCH)

    assert set(numbers["column"]) == {"shop", "weight", "area", "load", "prediction"}
    assert finding(shared_world.runs["watch"], "inputs_as_learned") == (
        True,
        "None of 5 columns has drifted.",
    )
    metadata = shared_world.metadata("drift", MARCH)
    assert 0 <= metadata["psi/weight"] < 0.2
    assert metadata["reference"] == shared_world.metadata("bundle", FEBRUARY)["tag"]


def test_the_drift_report_is_a_page_of_its_own(shared_world: World) -> None:
    name = AssetName("late_orders", "drift_report")

    page = shared_world.tools.lake.artifact(name, MARCH) / "report.html"

    assert "<html" in page.read_text(encoding="utf-8")[:500].lower()
    assert shared_world.metadata("drift_report", MARCH)["report"] == str(page)


def test_one_run_over_a_range_reports_each_partition(shared_world: World) -> None:
    assert shared_world.runs["range"].success
    rows = {m: shared_world.metadata("raw/orders", m)["dagster/row_count"] for m in RANGE}
    shares = {m: shared_world.metadata("labels", m)["positive_rate"] for m in RANGE}

    assert rows == dict.fromkeys(RANGE, RAW_ROWS)
    assert len(set(shares.values())) == 3
    for month, share in shares.items():
        assert share == pytest.approx(shared_world.rows("labels", month)["label"].mean())


def test_one_run_over_a_range_evaluates_each_check_a_partition_and_over_all(
    shared_world: World,
) -> None:
    found = findings(shared_world.runs["range"], "every_row_accounted_for")

    per_partition = {
        key: words for key, passed, words in found if key is not None and "602" in str(words)
    }
    assert per_partition == dict.fromkeys(
        RANGE, "602 raw = 600 cleaned + 1 rejected + 1 duplicates"
    )
    assert all(passed for _, passed, _ in found)


def test_a_range_of_one_partition_evaluates_its_checks_for_that_partition(copied: World) -> None:
    """So a backfill names a single partition; its checks were planned for it, and stayed open."""
    result = copied.run("cleaned/orders", partition=MARCH, last=MARCH)

    check = dg.AssetCheckKey(copied.key("cleaned/orders"), "every_row_accounted_for")
    records = copied.instance.event_log_storage.get_asset_check_execution_history(check, 10)
    mine = {(r.partition, r.status.value) for r in records if r.run_id == result.run_id}
    assert result.success
    assert mine == {(MARCH, "SUCCEEDED"), (None, "SUCCEEDED")}
    assert {key for key, _, _ in findings(result, check.name)} == {MARCH, None}
    assert copied.metadata("cleaned/orders", MARCH)["dagster/row_count"] == GOOD_ROWS


def test_a_run_of_a_stage_tells_its_machine(shared_world: World) -> None:
    run = shared_world.instance.get_run_by_id(shared_world.latest("raw/shops").run_id)

    assert run is not None and run.tags[MACHINE_TAG] == str(Machine.here())


def test_of_an_emptied_partition_its_own_rows_are_counted(shared_world: World) -> None:
    run = shared_world.step("raw/orders", JANUARY)

    assert not_emptied(run, "orders", RAW_ROWS).passed
    emptied = not_emptied(run, "orders", 0)
    assert (emptied.passed, emptied.metadata) == (False, {"rows": 0, "cleaned_rows": GOOD_ROWS})
