"""What lies in a partition's own file and belongs to another partition is counted."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ai_assets.lifecycle.partitions import Span
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_delivery

KEY = "2013-02-01"
FEBRUARY = Span(datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC))
TIMES = [pl.Datetime("us", "UTC"), pl.Datetime("us"), pl.Datetime("ns"), pl.Date]
COLUMNS = {"at": {"type": "datetime"}, "n": {"type": "int64"}}


def strays(folder: Path, **source: Any) -> tuple[Any, ...] | None:
    """How many rows of February's own file lie elsewhere, with the first and last of their times;
    None where it has no own file."""
    table = Table.model_validate({"source": source, "columns": COLUMNS, "time": "at"})
    read = read_delivery(table.source, FEBRUARY, table=table, folder=folder, partition=KEY)
    return None if read.strays is None else read.strays.collect().row(0)


@pytest.mark.parametrize("kind", TIMES)
def test_rows_outside_the_partition_of_its_own_file_are_counted(tmp_path: Path, kind: Any) -> None:
    days = [datetime(2013, 1, 31), datetime(2013, 2, 5), None, datetime(2013, 3, 1)]
    at = pl.Series(days).dt.replace_time_zone("UTC").cast(kind)
    frame = pl.DataFrame({"at": at, "n": ["x"] * 4})
    frame.write_parquet(tmp_path / "2013-02.parquet")
    frame.write_ndjson(tmp_path / "2013-02.ndjson")

    typed = strays(tmp_path, parquet="{start:%Y-%m}.parquet")

    assert typed == (2, at[0], at[3])
    assert (strays(tmp_path, ndjson="{start:%Y-%m}.ndjson") or ())[0] == 2
    assert strays(tmp_path, parquet="2013-02.parquet") is None


def test_a_file_of_the_partition_alone_has_no_strays(tmp_path: Path) -> None:
    (tmp_path / f"{KEY}.csv").write_text("at,n\n2013-02-01T00:00:00Z,1\nsoon,2\n")

    assert strays(tmp_path, csv="{partition}.csv") == (0, None, None)


@pytest.mark.parametrize(
    ("place", "own"),
    [
        ("a/{start:%Y-%m}.csv", True), ("a/{end}.csv", True), ("${AREA}/{partition}.csv", True),
        ("${start}.csv", False), ("a/*.csv", False), ("a/{{start}}.csv", False),
    ],
)  # fmt: skip
def test_a_template_names_the_partition(place: str, own: bool) -> None:
    url = {"url": f"https://x.example/{place}"}
    for source in ({"csv": place}, {"http": url}):
        assert Source.model_validate(source).is_template == own


def test_a_source_without_a_place_is_no_template() -> None:
    for source in ({"python": "source.rows"}, {"sql": {"url": "sqlite://", "table": "rows"}}):
        assert not Source.model_validate(source).is_template
