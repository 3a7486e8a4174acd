"""What raw tables tell of a delivery that lacks rows, or holds those of another partition."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from small_product import JANUARY, World, finding, write_product

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
        "The file of 2024-01-01 holds 3 rows that lie outside it, from 2023-12-31 23:59:59+00:00 "
        "to 2024-02-03 10:00:00+00:00; no partition reads them from there."
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
        "Every row of its file lies in the partition.",
    )
