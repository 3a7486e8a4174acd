"""What is said of a delivery whose rows are fewer, none, or of another time."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml
from small_product import FEBRUARY, JANUARY, World, finding, write_product

DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "labels", "features")
LOOKUPS = ("raw/shops", "cleaned/shops")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The small product with nothing materialized."""
    return World.of(write_product(tmp_path / "late_orders"), tmp_path / "home")


@pytest.mark.parametrize(("table", "partition"), [("orders", JANUARY), ("shops", None)])
def test_an_empty_delivery_takes_no_rows_away_until_that_is_asked_for(
    world: World, table: str, partition: str | None
) -> None:
    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY)
    keys = [partition] if partition else []
    before = world.rows(f"cleaned/{table}", *keys)
    for file in world.product.folder.glob(f"{table}*/2024-01.csv" if partition else "shops.csv"):
        pl.read_csv(file, infer_schema=False).clear().write_csv(file)

    both = (f"raw/{table}", f"cleaned/{table}")
    result = world.run(*both, partition=partition, raises=False)

    of = f" of {JANUARY}" if partition else ""
    cleaned = f"late_orders/cleaned/{table}"
    words = (
        f"{table} has no rows{of} any more; {cleaned} has {before.height}. They stay, with all "
        f"that was made of them. If it is meant, materialize {cleaned}{of} by itself, and then "
        "this again."
    )
    assert not result.success
    assert finding(result, "not_emptied") == (False, words)
    assert world.rows(f"cleaned/{table}", *keys).equals(before)

    assert world.run(f"cleaned/{table}", partition=partition).success
    assert world.rows(f"cleaned/{table}", *keys).height == 0
    again = world.run(f"raw/{table}", partition=partition)
    assert finding(again, "not_emptied") == (True, "Nothing that was there is gone.")


def test_a_delivery_that_was_cut_off_is_told_before_it_is_cleaned(world: World) -> None:
    file = world.product.folder / "orders" / "2024-01.csv"
    whole = pl.read_csv(file, infer_schema=False)
    first = world.run("raw/orders", partition=JANUARY)
    whole.head(whole.height // 3).write_csv(file)

    second = world.run("raw/orders", partition=JANUARY)

    assert finding(first, "not_shrunk") == (True, "Nothing was delivered before.")
    passed, words = finding(second, "not_shrunk")
    assert second.success and not passed
    assert words.startswith(
        f"orders has {whole.height // 3:,} rows of 2024-01-01; the delivery before had "
        f"{whole.height:,}. 67% fewer"
    )


def test_a_delivery_that_was_cut_off_is_told_until_it_is_cleaned(world: World) -> None:
    file = world.product.folder / "orders" / "2024-01.csv"
    whole = pl.read_csv(file, infer_schema=False)
    world.run("raw/orders", "cleaned/orders", partition=JANUARY)
    kept = world.rows("cleaned/orders", JANUARY).height
    whole.clear().write_csv(file)
    world.run("raw/orders", partition=JANUARY, raises=False)
    whole.head(200).write_csv(file)

    for first in ("after an empty one", "again"):
        passed, words = finding(world.run("raw/orders", partition=JANUARY), "not_shrunk")
        assert not passed, first
        assert words is not None and words.startswith(
            f"orders has 200 rows of 2024-01-01; late_orders/cleaned/orders has {kept}. 67% fewer"
        )

    world.run("cleaned/orders", partition=JANUARY)
    assert finding(world.run("raw/orders", partition=JANUARY), "not_shrunk")[0]


def test_rows_of_another_partition_in_a_file_are_told(world: World) -> None:
    file = world.product.folder / "orders" / "2024-01.csv"
    rows = pl.read_csv(file, infer_schema=False)
    strays = rows.head(3).with_columns(
        placed=pl.Series(["2024-02-03 10:00:00", "2023-12-31 23:59:59", "2024-02-01 00:00:00"])
    )
    unreadable = rows.head(1).with_columns(placed=pl.lit("soon"))
    pl.concat([rows, strays, unreadable]).write_csv(file)

    result = world.run("raw/orders", partition=JANUARY)

    words = (
        "The file of 2024-01-01 holds 3 rows that lie outside what is read of it, from 2023-12-31 "
        "23:59:59+00:00 to 2024-02-03 10:00:00+00:00; no partition beside it reads them."
    )
    assert finding(result, "no_row_of_another_partition") == (False, words)
    (check,) = [c for c in result.get_asset_check_evaluations() if "another" in c.check_name]
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.metadata["rows_outside"].value == 3
    assert world.rows("raw/orders", JANUARY).height == rows.height + 1
    rows.write_csv(file)
    again = world.run("raw/orders", partition=JANUARY)
    assert finding(again, "no_row_of_another_partition") == (
        True,
        "Every row of its file lies in a partition that reads it.",
    )


def test_rows_that_correct_earlier_ones_of_their_key_are_told_until_somebody_says_which_stay(
    tmp_path: Path,
) -> None:
    folder = write_product(tmp_path / "late_orders")
    file = folder / "orders" / "2024-01.csv"
    rows = pl.read_csv(file, infer_schema=False)
    corrected = pl.concat([rows, rows[1:4].with_columns(weight=pl.lit("9.5"))])
    corrected.write_csv(file)
    world = World.of(folder, tmp_path / "home")

    result = world.run("raw/orders", "cleaned/orders", partition=JANUARY)

    words = (
        "3 rows repeat the key (number) of an earlier row with other values; the first of each "
        "key stays. If they correct it, declare `duplicates: last`; else `duplicates: first` says "
        "that it is meant."
    )
    assert result.success
    assert finding(result, "duplicates_agree") == (False, words)
    assert world.metadata("cleaned/orders", JANUARY)["duplicates"] == 4
    said = world.declared(tables__orders__duplicates="last")
    corrected.write_csv(file)
    again = said.run("raw/orders", "cleaned/orders", partition=JANUARY)
    checks = {check.check_name for check in again.get_asset_check_evaluations()}
    assert "duplicates_agree" not in checks
    orders = said.rows("cleaned/orders", JANUARY)
    assert orders.filter(pl.col("number").is_in([2, 3, 4]))["weight"].to_list() == [9.5] * 3


def test_rows_that_are_there_twice_as_they_are_agree(world: World) -> None:
    result = world.run("raw/orders", "cleaned/orders", partition=JANUARY)

    words = "No row holds other values than the row of its key that stays."
    assert finding(result, "duplicates_agree") == (True, words)
    assert world.metadata("cleaned/orders", JANUARY)["duplicates"] == 1


def test_a_table_without_a_key_whose_every_row_is_there_again_is_told(tmp_path: Path) -> None:
    folder = write_product(tmp_path / "late_orders", tables__orders__key=[])
    file = folder / "orders" / "2024-01.csv"
    rows = pl.read_csv(file, infer_schema=False)
    world = World.of(folder, tmp_path / "home")
    once = world.run("raw/orders", "cleaned/orders", partition=JANUARY)
    pl.concat([rows, rows]).write_csv(file)

    twice = world.run("raw/orders", "cleaned/orders", partition=JANUARY)

    # One row is there twice from the beginning.
    assert finding(once, "not_doubled") == (True, "Not every row is there again.")
    assert world.rows("cleaned/orders", JANUARY).height == 1_202
    words = (
        "Each of 1,202 rows is there at least twice, and without a key all of them count. Was a "
        "file delivered, or put together, twice? Declare a `key` to keep one of each."
    )
    assert twice.success and finding(twice, "not_doubled") == (False, words)
    pl.concat([rows, rows, rows.head(2).with_columns(weight=pl.lit("0.5"))]).write_csv(file)
    other = world.run("raw/orders", "cleaned/orders", partition=JANUARY)
    assert finding(other, "not_doubled")[0]


def half_too_heavy(world: World) -> int:
    """Have half of January's orders break the contract; how many keep it at most."""
    file = world.product.folder / "orders" / "2024-01.csv"
    rows = pl.read_csv(file, infer_schema=False)
    heavy = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("99")).otherwise("weight")
    rows.with_columns(weight=heavy).write_csv(file)
    return rows.height // 2


def test_a_delivery_of_which_too_much_is_rejected_takes_nothing_away(world: World) -> None:
    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY)
    world.run(*DATA, partition=FEBRUARY)
    cleaned, of_february = world.rows("cleaned/orders", JANUARY), world.rows("features", FEBRUARY)
    counted = world.metadata("cleaned/orders", JANUARY)["dagster/row_count"]
    most = half_too_heavy(world)

    result = world.run("raw/orders", "cleaned/orders", partition=JANUARY, raises=False)

    passed, words = finding(result, "few_rows_rejected")
    assert not result.success and not passed
    assert words is not None and words.endswith(
        f" The {cleaned.height} rows cleaned before stay, with all that was made of them."
    )
    assert finding(result, "every_row_accounted_for")[0]
    assert world.rows("cleaned/orders", JANUARY).equals(cleaned)
    assert world.rows("rejected/orders", JANUARY).height >= most
    assert world.metadata("cleaned/orders", JANUARY)["dagster/row_count"] == counted
    # What looks back at January finds it as it was.
    world.run("features", partition=FEBRUARY)
    assert world.rows("features", FEBRUARY).equals(of_february)

    contract = world.product.folder / "defs.yaml"
    allowed = yaml.safe_load(contract.read_text("utf-8"))
    allowed["attributes"]["tables"]["orders"]["max_rejected"] = 0.6
    contract.write_text(yaml.safe_dump(allowed), encoding="utf-8")
    again = World.of(world.product.folder, world.home)
    assert again.run("cleaned/orders", partition=JANUARY).success
    assert again.rows("cleaned/orders", JANUARY).height <= most


def test_a_delivery_with_more_good_rows_than_there_were_replaces_them(world: World) -> None:
    most = half_too_heavy(world)
    both = ("raw/orders", "cleaned/orders")
    world.run(*both, partition=JANUARY, raises=False)
    few = world.rows("cleaned/orders", JANUARY).height
    file = world.product.folder / "orders" / "2024-01.csv"
    rows = pl.read_csv(file, infer_schema=False)
    mended = pl.when(pl.int_range(pl.len()) < rows.height * 0.9).then(pl.lit("5"))
    rows.with_columns(weight=mended.otherwise("weight")).write_csv(file)

    result = world.run(*both, partition=JANUARY, raises=False)

    passed, words = finding(result, "few_rows_rejected")
    assert not passed and words is not None and "stay" not in words
    assert few <= most < world.rows("cleaned/orders", JANUARY).height


def test_rows_of_an_older_type_may_stay(world: World) -> None:
    both = ("raw/orders", "cleaned/orders")
    contract = world.product.folder / "defs.yaml"
    typed = contract.read_text("utf-8")
    declared = yaml.safe_load(typed)
    declared["attributes"]["tables"]["orders"]["columns"]["weight"] = {"type": "string"}
    contract.write_text(yaml.safe_dump(declared), encoding="utf-8")
    World.of(world.product.folder, world.home).run(*both, partition=JANUARY)
    contract.write_text(typed, encoding="utf-8")
    half_too_heavy(world)

    result = world.run(*both, partition=JANUARY, raises=False)

    assert "rows cleaned before stay" in str(finding(result, "few_rows_rejected")[1])
    assert world.rows("cleaned/orders", JANUARY)["weight"].dtype == pl.String


def test_of_a_first_delivery_the_good_rows_are_there_though_too_much_is_rejected(
    world: World,
) -> None:
    most = half_too_heavy(world)

    result = world.run("raw/orders", "cleaned/orders", partition=JANUARY, raises=False)

    passed, words = finding(result, "few_rows_rejected")
    assert not passed and words is not None and "stay" not in words
    assert 0 < world.rows("cleaned/orders", JANUARY).height <= most
