"""Why a row got its answer: by value, down to the raw rows, on the small product."""

import json
import shutil
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from small_product import FEBRUARY, MARCH, NAME, World

from ai_assets import why as command
from ai_assets.automation.why import Records, why_prediction
from ai_assets.automation.why.origins import find_rows
from ai_assets.automation.why.prediction import shown
from ai_assets.automation.why.words_of_prediction import prediction_text
from ai_assets.lifecycle.cleaning.origin import raw_rows_of
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.naming import AssetName


@pytest.fixture(scope="module")
def records(shared_world: World) -> Records:
    tools = shared_world.tools
    return Records(shared_world.product, tools.lake, tools.bundles, tools.ledger, tools.decisions)


@pytest.fixture(scope="module")
def order(shared_world: World) -> dict[str, Any]:
    """An order from the middle of March."""
    return shared_world.rows("cleaned/orders", MARCH).sort("placed").row(300, named=True)


@pytest.fixture(scope="module")
def story(records: Records, order: dict[str, Any]) -> dict[str, Any]:
    return why_prediction(records, str(order["_row_id"]))


def test_the_answer_the_release_and_the_bundle_are_those_on_record(
    story: dict[str, Any], shared_world: World, order: dict[str, Any]
) -> None:
    recorded = shared_world.rows("predictions", MARCH).filter(pl.col("_row_id") == order["_row_id"])
    entry = shared_world.tools.ledger.history(NAME).row(0, named=True)

    assert story["answer"] == recorded.drop("_row_id").row(0, named=True)
    assert (story["partition"], story["row_id"]) == (MARCH, order["_row_id"])
    assert story["release"]["release_id"] == entry["release_id"]
    assert story["answer"]["bundle"] == entry["stable"]
    assert story["scored_again"] == pytest.approx(story["answer"]["probability"], abs=1e-9)
    assert story["not_reproduced"] == []


def test_each_feature_has_value_contribution_importance_and_columns(
    story: dict[str, Any], shared_world: World, order: dict[str, Any]
) -> None:
    features = shared_world.rows("features", MARCH).filter(pl.col("_row_id") == order["_row_id"])
    parts = {part["feature"]: part for part in story["explanation"]["contributions"]}

    values = features.drop("_row_id").row(0, named=True)
    assert {name: part["value"] for name, part in parts.items()} == values
    told = story["explanation"]
    total = told["base"] + sum(part["contribution"] for part in parts.values())
    assert total == pytest.approx(told["output"])
    assert sum(part["importance"] for part in parts.values()) == pytest.approx(1)
    assert parts["weight"]["made_of"] == ["request.weight"]
    assert parts["load"]["made_of"] == [
        "request.prediction_time", "request.shop", "visits.known_at", "visits.load", "visits.shop",
    ]  # fmt: skip
    assert parts["weight"]["rows"] == {}
    assert parts["load"]["rows"] == {"visits": ("shop",)}
    assert parts["area"]["rows"] == {"shops": ("shop",)}


def test_the_rows_it_stands_on_are_named_by_table_version_and_id(
    story: dict[str, Any], shared_world: World, records: Records, order: dict[str, Any]
) -> None:
    visits = shared_world.rows("cleaned/visits", MARCH).filter(
        pl.col("shop") == order["shop"],
        pl.col("placed").is_between(order["placed"] - timedelta(days=2, hours=1), order["placed"]),
    )
    origins = {origin["table"]: origin for origin in story["stands_on"]}

    (kind,) = origins["visits"]["sets"]
    assert (kind["like"], kind["features"]) == ({"shop": order["shop"]}, ["load"])
    assert sorted(kind["row_ids"]) == sorted(visits["_row_id"].to_list())
    name = AssetName(NAME, "cleaned/visits")
    assert origins["visits"]["cleaned"]["version"] == records.lake.version(name)
    assert origins["visits"]["cleaned"]["written_anew_in"] is None
    raw = {row["_row_id"]: row for row in origins["visits"]["raw"]["rows"]}
    assert set(raw) == set(kind["row_ids"])
    latest = visits.sort("placed").row(-1, named=True)
    assert float(raw[latest["_row_id"]]["load"]) == latest["load"]
    assert [row["shop"] for row in origins["shops"]["cleaned"]["rows"]] == [order["shop"]]
    assert origins["orders"]["sets"] == [], "the query reads no other orders"


def test_the_request_row_is_given_cleaned_and_raw(
    story: dict[str, Any], order: dict[str, Any]
) -> None:
    (cleaned,) = story["request"]["cleaned"]["rows"]
    (raw,) = story["request"]["raw"]["rows"]

    assert (cleaned["number"], cleaned["weight"]) == (order["number"], order["weight"])
    assert (raw["_row_id"], raw["number"]) == (order["_row_id"], str(order["number"]))
    assert story["request"]["raw"]["asset"] == "raw/orders"


def test_a_raw_row_that_was_there_twice_is_given_twice(
    records: Records, shared_world: World
) -> None:
    first = shared_world.rows("cleaned/orders", MARCH).sort("placed").row(0, named=True)
    raw = records.lake.scan(AssetName(NAME, "raw/orders"), [MARCH])
    table = records.product.declaration.tables["orders"]

    found = raw_rows_of(raw, table, pl.Series([first["_row_id"]], dtype=pl.Int64))

    assert found["number"].to_list() == [str(first["number"])] * 2


def test_personal_data_is_not_shown(records: Records) -> None:
    table = records.product.declaration.tables["shops"]
    personal = table.columns["shop"].model_copy(update={"personal": True})
    private = table.model_copy(update={"columns": {**table.columns, "shop": personal}})
    rows = pl.DataFrame({"_row_id": [1], "shop": ["north"], "area": [300]})

    assert shown(rows, private).rows() == [(1, "(personal)", 300)]
    assert shown(rows, table).rows() == [(1, "north", 300)]


def test_rows_written_anew_since_are_read_as_they_were(
    records: Records, shared_world: World, order: dict[str, Any], tmp_path
) -> None:
    """The visits of March are replaced by none, in a copy of the lake; the story stays the same."""
    home = tmp_path / "world"
    shutil.copytree(shared_world.home, home, symlinks=True)
    tools = World.of(shared_world.product.folder, home).tools
    copied = Records(records.product, tools.lake, tools.bundles, tools.ledger, tools.decisions)
    name = AssetName(NAME, "cleaned/visits")
    before = tools.lake.version(name)
    tools.lake.replace(name, shared_world.rows("cleaned/visits", MARCH).clear(), MARCH)

    story = why_prediction(copied, str(order["_row_id"]), MARCH)

    visits = next(o for o in story["stands_on"] if o["table"] == "visits")
    assert (visits["cleaned"]["version"], visits["cleaned"]["written_anew_in"]) == (
        before,
        before + 1,
    )
    assert len(visits["cleaned"]["rows"]) == 9 and story["not_reproduced"] == []
    assert f"(written anew since, in version {before + 1})" in prediction_text(story)
    tools.lake.vacuum(name, keep_hours=0)
    with pytest.raises(DataError, match=f"Version {before} of cleaned/visits can no longer be"):
        why_prediction(copied, str(order["_row_id"]), MARCH)


def test_commits_say_who_wrote_which_partition_when(records: Records) -> None:
    commits = records.lake.commits(AssetName(NAME, "cleaned/orders"))

    assert commits["partition"].to_list() == ["2024-01-01", FEBRUARY, MARCH]
    assert commits["rows"].to_list() == [600] * 3
    assert commits["version"].is_sorted() and commits["at"].is_sorted()
    digest = records.lake.digest(AssetName(NAME, "cleaned/orders"), MARCH)
    assert commits["digest"][-1] == digest


@pytest.mark.parametrize("asked", ["12345", "first"])
def test_an_unknown_row_is_an_error_that_names_some(records: Records, asked: str) -> None:
    with pytest.raises(DataError, match=f"There is no prediction of row '{asked}'") as error:
        why_prediction(records, asked)

    assert "There are: " in str(error.value)


def test_a_mistyped_row_id_and_partition_are_errors_with_the_nearest(
    records: Records, order: dict[str, Any]
) -> None:
    known = str(order["_row_id"])
    mistyped = known[:-1] + ("1" if known[-1] != "1" else "2")
    with pytest.raises(DataError) as error:
        why_prediction(records, mistyped)
    assert f"Did you mean '{known}'?" in str(error.value)
    with pytest.raises(DataError, match=r"partition must be one of '2024-03-01', but got"):
        why_prediction(records, known, "2024-03-02")


def test_the_command_tells_the_story(
    records: Records, order: dict[str, Any], monkeypatch, capsys
) -> None:
    monkeypatch.setattr(Records, "of", classmethod(lambda cls, name: records))

    assert command.main(["prediction", NAME, str(order["_row_id"]), "--partition", MARCH]) == 0
    text = capsys.readouterr().out
    assert command.main(["prediction", NAME, str(order["_row_id"]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert text.startswith(f"Prediction of row {order['_row_id']} of late_orders\n")
    assert "  scored again  the same\n" in text
    assert f"  9 rows with shop = {order['shop']} make load" in text
    assert "orders: no row of it changes any feature." in text
    assert told["explanation"]["space"] == "log odds"


def test_columns_that_tell_only_together_and_rows_that_tell_nothing() -> None:
    rows = pl.DataFrame({"a": [1, 1, 2, 2], "b": [1, 2, 1, 2], "v": [10.0, 20.0, 30.0, 40.0]})
    lineage = {
        name: [("request", "a"), ("request", "b"), ("t", "a"), ("t", "b"), ("t", "v")]
        for name in ("both", "one", "all", "none")
    }

    def run(tables: dict[str, pl.DataFrame]) -> dict[str, Any]:
        frame = tables["t"]
        both = frame.filter(pl.col("a") == 1, pl.col("b") == 2)["v"].sum()
        one = frame.filter(pl.col("a") == 1)["v"].sum()
        return {"both": both, "one": one, "all": frame["v"].sum(), "none": 7}

    found = find_rows(run, {"a": 1, "b": 2}, {"t": rows}, lineage, ["a", "b"])

    assert found.values == {"both": 20.0, "one": 30.0, "all": 100.0, "none": 7}
    assert {name: of["t"] for name, of in found.sets.items()} == {
        "both": ("a", "b"),
        "one": ("a",),
        "all": (),
        "none": None,
    }
