"""Partitions that were to be replaced, and are left as they are."""

from pathlib import Path

import polars as pl
import pytest

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

NAME = AssetName("shop", "cleaned/orders")
JANUARY, FEBRUARY = "2024-01-01", "2024-02-01"


def rows(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"number": numbers}, schema={"number": pl.Int64})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(root=str(tmp_path))
    made.replace(NAME, rows(1, 2), JANUARY)
    made.replace(NAME, rows(3), FEBRUARY)
    return made


def numbers(lake: Lake, key: str) -> list[int]:
    return lake.scan(NAME, [key]).collect()["number"].to_list()


def test_a_partition_that_is_left_stays_and_the_others_are_replaced(lake: Lake) -> None:
    before = lake.snapshot(NAME).files[JANUARY]
    replacing = lake.replacing(NAME, [JANUARY, FEBRUARY])
    replacing.leave(JANUARY)
    replacing.add(FEBRUARY, rows(4, 5))

    written = replacing.commit()

    assert (list(written), written[FEBRUARY].rows) == ([FEBRUARY], 2)
    assert (numbers(lake, JANUARY), numbers(lake, FEBRUARY)) == ([1, 2], [4, 5])
    assert lake.snapshot(NAME).files[JANUARY] == before


def test_where_all_are_left_nothing_is_committed(lake: Lake) -> None:
    version = lake.version(NAME)
    replacing = lake.replacing(NAME, [JANUARY])
    replacing.leave(JANUARY)

    assert replacing.commit() == {}
    assert lake.version(NAME) == version
    assert numbers(lake, JANUARY) == [1, 2]
