"""A column that is admitted to go, or to come, is admitted once."""

from pathlib import Path

import polars as pl
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

NAME = AssetName("shop", "features")
JAN, FEB, MARCH, APRIL = "2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"
WIDE = pl.DataFrame({"_row_id": [1], "size": [1.5]})
NARROW = WIDE.drop("size")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(root=str(tmp_path / "lake"))
    lake.replace(NAME, WIDE, JAN)
    lake.replace(NAME, WIDE, FEB)
    return lake


def test_a_column_that_may_go_is_not_asked_for_in_later_runs(lake: Lake) -> None:
    lake.replace(NAME, NARROW, FEB, admit_new_columns=True)

    lake.replace(NAME, NARROW, MARCH)  # the next month's run, where nobody admits anything

    found = lake.scan(NAME, [JAN, FEB, MARCH]).collect()
    assert found["size"].to_list() == [1.5, None, None]


def test_a_column_that_went_may_come_back_only_where_it_is_admitted(lake: Lake) -> None:
    lake.replace(NAME, NARROW, FEB, admit_new_columns=True)

    with pytest.raises(DataError, match=r"but got new column 'size' \(double\)\."):
        lake.replace(NAME, WIDE, MARCH)
    with pytest.raises(DataError, match="'size' as string, not double"):
        lake.replace(NAME, WIDE.cast({"size": pl.String}), MARCH, admit_new_columns=True)
    lake.replace(NAME, WIDE, MARCH, admit_new_columns=True)

    lake.replace(NAME, WIDE, APRIL)
    assert lake.scan(NAME, [FEB, APRIL]).collect()["size"].to_list() == [None, 1.5]
    with pytest.raises(DataError, match="no column 'size'"):
        lake.replace(NAME, NARROW, MARCH)
