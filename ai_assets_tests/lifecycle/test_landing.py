"""A folder in which files arrive: which are complete, which are the table, and what is read."""

import os
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.schema.sources import Landing
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source
from ai_assets.lifecycle.sources.landing import (
    Landed,
    check_unchanged,
    content_digest,
    identity,
    look_into,
    taken,
)

LATER = 3600.0


def put(folder: Path, name: str, *numbers: int, age: int = 0) -> Path:
    """A CSV file whose content is `age` seconds old."""
    file = folder / name
    file.write_text("n\n" + "".join(f"{n}\n" for n in numbers), encoding="utf-8")
    moment = time.time() - age
    os.utime(file, (moment, moment))
    return file


def look(folder: Path, *, now: float | None = None, **landing: Any):
    return look_into(folder, Landing(**landing), time.time() + LATER if now is None else now)


def read(folder: Path, **landing: Any) -> pl.DataFrame:
    source = {"landing": {"folder": str(folder), **landing}}
    table = Table.model_validate({"source": source, "columns": {"n": {"type": "int64"}}})
    assert table.source.landing is not None
    files = taken(table.source.landing, look(folder, **landing))
    return read_source(table.source, None, table=table, folder=folder, landed=files).collect()


def test_a_file_is_complete_when_it_has_not_changed_for_a_while_whatever_its_own_time(
    tmp_path: Path,
) -> None:
    put(tmp_path, "old_times.csv", 1, age=86_400)  # as a copy that keeps the times
    now = time.time()

    early, late = look(tmp_path, now=now + 9), look(tmp_path, now=now + 11)

    assert (early.complete, early.unsettled) == ([], ["old_times.csv"])
    assert [file.path.name for file in late.complete] == ["old_times.csv"]
    assert late.unsettled == []


def test_names_of_files_that_are_still_written_are_left_alone_for_ever(tmp_path: Path) -> None:
    for name in (".rows.csv.swp", "rows.csv.part", "rows.csv.tmp"):
        put(tmp_path, name, 1)
    (tmp_path / "earlier").mkdir()
    put(tmp_path, "readme.txt", 1)

    found = look(tmp_path)

    assert found.complete == []
    assert found.unsettled == ["rows.csv.part", "rows.csv.tmp"]
    assert found.ignored == ["readme.txt"]


def test_the_file_with_the_newest_content_is_the_table(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 3, age=10)
    put(tmp_path, "b.csv", 1, 2, age=20)

    assert read(tmp_path)["n"].to_list() == ["3"]


def test_all_files_are_the_table_in_the_order_of_their_times(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 3, age=10)
    put(tmp_path, "b.csv", 1, 2, age=20)
    put(tmp_path, "c.csv", 4, age=10)

    assert read(tmp_path, rows="all")["n"].to_list() == ["1", "2", "3", "4"]


def test_each_format_is_read_by_the_ending_of_its_name(tmp_path: Path) -> None:
    for number, name in enumerate(["x.parquet", "x.ndjson"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        rows = pl.DataFrame({"n": [number, None]})
        write = {"x.parquet": rows.write_parquet, "x.ndjson": rows.write_ndjson}[name]
        write(folder / name)
        assert read(folder)["n"].to_list() == [str(number), None]  # text, as of CSV


def test_a_number_that_is_none_is_missing(tmp_path: Path) -> None:
    pl.DataFrame({"n": [1.5, float("nan")]}).write_parquet(tmp_path / "x.parquet")

    assert read(tmp_path)["n"].to_list() == ["1.5", None]


def test_files_of_two_formats_are_not_one_table(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 1)
    pl.DataFrame({"n": [2]}).write_parquet(tmp_path / "b.parquet")

    with pytest.raises(DataError, match=r"the files of a landing folder must be of one format"):
        read(tmp_path, rows="all")


def test_before_any_file_the_first_rows_stand_and_without_them_nothing_can_be_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "source.py").write_text(
        "import polars as pl\ndef seed(start, end):\n    return pl.DataFrame({'n': [7]})\n"
    )

    assert read(tmp_path, first="source.seed")["n"].to_list() == ["7"]
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    put(tmp_path, "a.csv", 1)

    assert str(refused.value).startswith(
        "source.landing must have a complete file to read, but none has landed yet. Put one there "
        "that ends in .csv, .csv.gz, .parquet"
    )
    assert read(tmp_path, first="source.seed")["n"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.parquet", b"PAR1 and no end", "must be a complete Parquet file"),
        ("x.csv", b"", "must be complete, and utf-8 text with a header line"),
        ("x.csv.gz", b"\x1f\x8b\x08\x00", "must be complete, but its end is missing"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_stays(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(DataError) as refused:
        read(tmp_path)

    assert f"'{file}'" in str(refused.value) and words in str(refused.value)
    assert file.read_bytes() == content


def test_files_are_known_by_name_size_and_time(tmp_path: Path) -> None:
    file = put(tmp_path, "a.csv", 1, age=30)
    before = identity(look(tmp_path).complete)

    again = identity(look(tmp_path).complete)
    moved = identity([Landed.at(file.rename(tmp_path / "b.csv"))])
    put(tmp_path, "b.csv", 2, age=20)  # as many bytes, at another time
    changed = identity([Landed.at(tmp_path / "b.csv")])

    assert before == again
    assert len({before, moved, changed}) == 3


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    file = put(tmp_path, "a.csv", 1)
    (found,) = look(tmp_path).complete

    check_unchanged([found])
    put(tmp_path, "a.csv", 1, 2)
    with pytest.raises(DataError, match=r"a\.csv' must stay as it is while it is read"):
        check_unchanged([found])
    file.unlink()
    with pytest.raises(DataError, match="changed or removed"):
        check_unchanged([found])


def test_the_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"abc")

    assert content_digest(Landed.at(tmp_path / "a.csv")) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_table_with_partitions_has_no_landing_folder() -> None:
    declared = {
        "description": "Late?",
        "request": "orders",
        "partitions": {"every": "month", "start": "2024-01-01"},
        "tables": {
            "orders": {
                "source": {"landing": {}},
                "time": "at",
                "columns": {"at": {"type": "datetime"}},
            }
        },
        "label": {"sql": "true"},
    }

    with pytest.raises(
        ValidationError, match=r"tables\.orders\.source\.landing is for tables with"
    ):
        TabularDeclaration.model_validate(declared)
    del declared["partitions"]
    landing = TabularDeclaration.model_validate(declared).tables["orders"].source.landing
    assert landing is not None and landing.settled.total_seconds() == 10
