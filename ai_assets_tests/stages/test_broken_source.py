"""A source whose columns are not as declared: people are told, and nothing is learned from it."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_product import APRIL, FEBRUARY, GOOD_ROWS, JANUARY, MARCH, World

from ai_assets.automation.retraining import WHO
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.operations.page import Chapter
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.resources.ledger import Entry
from ai_assets.stages.broken_source import breaks
from ai_assets.stages.learnable import learnable
from ai_assets.stages.operations import chapters

DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits")
RENAMED = (
    "The data is broken: orders: the source lacks the declared column 'weight'; orders: the source "
    "has 'weights', which is neither declared nor ignored."
)


def rename(world: World, month: str, **names: str) -> None:
    file = world.product.folder / "orders" / f"{month[:7]}.csv"
    pl.read_csv(file, infer_schema=False).rename(names).write_csv(file)


def alerts(world: World) -> list[dict[str, Any]]:
    file = Path(world.tools.notifier.file)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def read_broken(world: World, month: str) -> None:
    """Read a month whose source has another name for a column."""
    rename(world, month, weight="weights")
    with pytest.raises(DataError, match="lacks the declared column 'weight'"):
        world.run("raw/orders", partition=month)


def decisions(world: World) -> list[tuple[str, ...]]:
    rows = world.tools.decisions.history(world.product.name)
    return rows.select("partition", "action", "cause", "who").rows()


def test_people_are_told_of_the_column_and_the_month(copied: World) -> None:
    read_broken(copied, APRIL)

    (alert,) = alerts(copied)
    assert (alert["kind"], alert["severity"]) == ("broken_data", "error")
    assert (alert["product"], alert["partition"]) == ("late_orders", APRIL)
    assert alert["words"] == (
        f"Broken data is not learned from: {RENAMED} orders of {APRIL} was not read. "
        "What is in production stays."
    )


def test_people_are_told_of_one_file_of_several_that_has_another_column(copied: World) -> None:
    several = copied.declared(tables__orders__source={"csv": "orders/*.csv"})
    rename(several, APRIL, weight="weights")

    with pytest.raises(DataError, match=r"2024-04\.csv' and .*2024-01\.csv' differ in weight, "):
        several.run("raw/orders", partition=APRIL)

    (alert,) = alerts(several)
    assert (alert["kind"], alert["partition"]) == ("broken_data", APRIL)
    assert alert["words"] == (
        "Broken data is not learned from: The data is broken: orders: the file '2024-01.csv' lacks "
        "'weights', which '2024-04.csv' has; orders: the file '2024-04.csv' lacks 'weight', which "
        f"'2024-01.csv' has. orders of {APRIL} was not read. What is in production stays."
    )
    assert decisions(several)[-1][:3] == (APRIL, "alert", "broken_data")


def test_reading_it_again_tells_nobody_twice(copied: World) -> None:
    read_broken(copied, APRIL)
    with pytest.raises(DataError):
        copied.run("raw/orders", partition=APRIL)

    assert len(alerts(copied)) == 1
    assert decisions(copied) == [(APRIL, "alert", "broken_data", "raw/orders")]
    assert WHO != "raw/orders"


def test_a_source_that_breaks_again_after_it_was_mended_is_told_of_again(copied: World) -> None:
    for times in (1, 2, 3):
        read_broken(copied, APRIL)
        with pytest.raises(DataError):
            copied.run("raw/orders", partition=APRIL)
        assert len(alerts(copied)) == times
        rename(copied, APRIL, weights="weight")
        assert copied.run("raw/orders", partition=APRIL).success

    assert len({alert["words"] for alert in alerts(copied)[1:]}) == 1
    assert breaks(copied.step("raw/orders", APRIL), "orders") == (3, False)
    assert breaks(copied.step("raw/orders", MARCH), "orders") == (0, False)


def test_a_source_that_is_as_declared_tells_nothing(copied: World) -> None:
    copied.run("raw/orders", partition=APRIL)

    assert alerts(copied) == []
    assert decisions(copied) == []


def test_a_source_that_is_away_is_no_broken_data(copied: World) -> None:
    (copied.product.folder / "orders" / f"{APRIL[:7]}.csv").unlink()
    with pytest.raises(DataError):
        copied.run("raw/orders", partition=APRIL)

    assert alerts(copied) == []


def test_the_month_is_judged_and_stands_on_the_page(copied: World) -> None:
    read_broken(copied, APRIL)

    before, chapter = chapters(copied.step("operations"))
    assert before.partition == MARCH and before.performance
    bundle = copied.tools.ledger.history("late_orders")["stable"][-1]
    assert chapter == Chapter(
        partition=APRIL, bundle=bundle, performance={}, cause="broken_data", severity=1.0,
        words=RENAMED, decision="alert", why=f"Broken data is not learned from: {RENAMED}",
    )  # fmt: skip
    copied.run("operations")
    page = copied.tools.lake.artifact(copied.product.asset("operations"), None) / "operations.html"
    assert "the declared column &#x27;weight&#x27;" in page.read_text(encoding="utf-8")


def test_the_month_is_left_out_of_what_is_learned_later(copied: World) -> None:
    read_broken(copied, APRIL)

    window = learnable(copied.step("training_set", APRIL))
    assert (window.keys, window.left_out) == ([MARCH], {APRIL: RENAMED})
    copied.run("training_set", partition=APRIL)
    assert copied.rows("training_set", APRIL).height == GOOD_ROWS


def test_a_source_that_was_mended_is_learned_from(copied: World) -> None:
    read_broken(copied, APRIL)
    rename(copied, APRIL, weights="weight")

    copied.run(*DATA, "labels", "features", partition=APRIL)

    assert learnable(copied.step("training_set", APRIL)).keys == [MARCH, APRIL]


def test_a_month_that_was_read_before_keeps_its_rows_and_its_verdict(copied: World) -> None:
    rows = copied.rows("raw/orders", MARCH)
    read_broken(copied, MARCH)

    (alert,) = alerts(copied)
    assert alert["words"].endswith(
        f"orders of {MARCH} was not read. What was read before, if anything, stays."
    )
    assert copied.rows("raw/orders", MARCH).equals(rows)
    folder = copied.tools.lake.artifact(copied.product.asset("verdict"), MARCH)
    verdict = Verdict.from_json((folder / "verdict.json").read_text(encoding="utf-8"))
    assert verdict.cause == "none"
    assert decisions(copied) == []
    assert learnable(copied.step("training_set", MARCH)).keys == [FEBRUARY, MARCH]


def test_before_a_release_people_are_told_and_nothing_is_judged(
    shared_folder: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(shared_folder, tmp_path / "late_orders")
    world = World.of(tmp_path / "late_orders", tmp_path / "home")
    read_broken(world, JANUARY)

    assert [alert["kind"] for alert in alerts(world)] == ["broken_data"]
    assert decisions(world) == []
    assert world.tools.lake.artifacts(world.product.asset("verdict")) == []


def test_a_lookup_without_partitions_tells_as_well(copied: World) -> None:
    file = copied.product.folder / "shops.csv"
    pl.read_csv(file).rename({"area": "size"}).write_csv(file)
    with pytest.raises(DataError, match="lacks the declared column 'area'"):
        copied.run("raw/shops")

    (alert,) = alerts(copied)
    assert (alert["kind"], alert["partition"]) == ("broken_data", None)
    assert "the declared column 'area'" in alert["words"]
    assert copied.tools.lake.artifacts(copied.product.asset("verdict")) == [MARCH]


def test_a_lookup_that_was_never_read_is_told_of_and_judges_no_month(
    shared_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(shared_folder, tmp_path / "late_orders")
    world = World.of(tmp_path / "late_orders", tmp_path / "home")
    since = datetime(2024, 3, 1, tzinfo=UTC)
    world.tools.ledger.append(
        Entry("late_orders", since, since, "late_orders:1", "d1", "first release", "ada", "go")
    )
    file = world.product.folder / "shops.csv"
    pl.read_csv(file).rename({"area": "size"}).write_csv(file)

    with pytest.raises(DataError, match="lacks the declared column 'area'"):
        world.run("raw/shops")

    assert [alert["kind"] for alert in alerts(world)] == ["broken_data"]
    assert decisions(world) == []
    assert world.tools.lake.artifacts(world.product.asset("verdict")) == []
