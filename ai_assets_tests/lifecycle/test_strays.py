"""What lies in a partition's own file and belongs to another partition is counted."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ai_assets.lifecycle.partitions import Partitions, Span
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_delivery
from ai_assets.lifecycle.sources.reach import reach
from ai_assets.lifecycle.sources.request import Request

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


@pytest.mark.parametrize(
    ("every", "zone", "place", "key", "first", "end"),
    [
        ("day", "UTC", "{start:%Y-%m}.csv", "2026-03-30", "2026-03-01", "2026-04-01"),
        ("day", "UTC", "{start:%Y-%m}.csv", "2026-03-01", "2026-03-01", "2026-04-01"),
        ("day", "UTC", "{start:%G-W%V}.csv", "2026-01-01", "2025-12-29", "2026-01-05"),
        ("day", "UTC", "{start:%Y}/*.csv", "2026-08-17", "2026-01-01", "2027-01-01"),
        ("day", "UTC", "{start:%m}.csv", "2026-08-17", "2026-08-01", "2026-09-01"),
        ("day", "UTC", "{partition}.csv", "2026-08-17", "2026-08-17", "2026-08-18"),
        ("week", "UTC", "{start:%Y-%m}.csv", "2026-03-29", "2026-03-01", "2026-04-05"),
        ("month", "UTC", "{start:%Y}.csv", "2026-03-01", "2026-01-01", "2027-01-01"),
        ("hour", "UTC", "{start:%Y}.csv", "2026-03-01-05:00", "2026-01-01", "2027-01-01"),
        ("hour", "UTC", "{start:%Y-%m-%d}.csv", "2026-03-29-05:00", "2026-03-29", "2026-03-30"),
    ],
)  # fmt: skip
def test_partitions_that_share_a_file_read_it_together(
    every: Any, zone: str, place: str, key: str, first: str, end: str
) -> None:
    partitions = Partitions(every=every, start="2023-01-01", timezone=zone)
    table = Table.model_validate({"source": {"csv": place}, "columns": COLUMNS, "time": "at"})
    request = Request(table.source, table, Path(), partitions.span(key), key)

    read = reach(request, partitions)

    assert (f"{read.start:%Y-%m-%d %H}", f"{read.end:%Y-%m-%d %H}") == (f"{first} 00", f"{end} 00")


def test_a_name_that_is_the_same_for_all_partitions_ends_somewhere() -> None:
    partitions = Partitions(every="month", start="2013-01-01")
    source = {"csv": "{start:%%}.csv"}
    table = Table.model_validate({"source": source, "columns": COLUMNS, "time": "at"})

    read = reach(Request(table.source, table, Path(), FEBRUARY, KEY), partitions)

    assert read.start.year < 1950 and read.end.year > 2080


def test_rows_of_days_that_share_a_file_are_no_strays(tmp_path: Path) -> None:
    rows = [f"2026-{day},1" for day in ("02-28", "03-01", "03-02", "03-31", "04-01")]
    (tmp_path / "2026-03.csv").write_text("\n".join(["at,n", *rows]) + "\n")
    partitions = Partitions(every="day", start="2026-03-01")
    source = {"csv": "{start:%Y-%m}.csv"}
    table = Table.model_validate({"source": source, "columns": COLUMNS, "time": "at"})

    read = read_delivery(
        table.source,
        partitions.span("2026-03-02"),
        table=table,
        folder=tmp_path,
        partition="2026-03-02",
        partitions=partitions,
    )

    assert read.rows.collect()["at"].to_list() == ["2026-03-02"]
    assert read.strays is not None
    first, last = datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    assert read.strays.collect().row(0) == (2, first, last)
