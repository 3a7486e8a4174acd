"""CSV whose bytes are no text, and headers that name a column twice, told by place and content."""

import gzip
import lzma
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ai_assets.lifecycle.cleaning.columns import check_columns
from ai_assets.lifecycle.errors import ColumnsError, DataError
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source


def table(ignore: list[str] | None = None, **source: Any) -> Table:
    columns = {"a": {"type": "string"}, "n": {"type": "int64"}}
    return Table.model_validate({"source": source, "columns": columns, "ignore": ignore or []})


def read(folder: Path, **source: Any) -> pl.DataFrame:
    declared = table(**source)
    return read_source(declared.source, None, table=declared, folder=folder).collect()


def said(folder: Path, **source: Any) -> str:
    with pytest.raises(DataError) as raised:
        read(folder, **source)
    return str(raised.value)


def undecodable(place: Path, line: int, wrong: str, encoding: str, other: str) -> str:
    return (
        f"CSV file '{place}' must be {encoding} text, but line {line} holds {wrong}, which is "
        "none. Is the file in another encoding? Then declare it as source.encoding, e.g. "
        f"{other}."
    )


@pytest.mark.parametrize(
    ("content", "line", "wrong"),
    [
        (b"a,n\nx,1\nK\xf6ln,2\n", 3, "0xf6"),
        (b"a,n\xf6\nx,1\n", 1, "0xf6"),
        (b'a,n\n"x\ny",1\n\n\xe2\x82,2\n', 5, "0xe2 0x82"),
        (b"a,n\nx,1\ny,2\xe2\x82", 3, "0xe2 0x82"),
        # Beyond the first part that is read, and across the border of two parts.
        (b"a,n\n" + b"x,1\n" * 300_000 + b"\xff,2\n", 300_002, "0xff"),
        (b"a,n\n" + b"x,1\n" * 262_142 + b"xy,\xe2\x28\n", 262_144, "0xe2"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz", ".xz"])
def test_bytes_that_are_no_utf8_are_told_with_their_line(
    tmp_path: Path, content: bytes, line: int, wrong: str, ending: str
) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lambda data: lzma.compress(data, preset=0)}
    place = tmp_path / f"rows.csv{ending}"
    place.write_bytes(pack[ending](content))

    assert said(tmp_path, csv=place.name) == undecodable(place, line, wrong, "utf-8", "latin-1")


def test_the_encoding_that_is_offered_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"a,n\nx,1\nK\xf6ln,2\n")

    found = read(tmp_path, csv="rows.csv", encoding="latin-1")

    assert found["a"].to_list() == ["x", "Köln"]


@pytest.mark.parametrize(
    ("encoding", "content", "line", "wrong"),
    [
        ("ascii", "a,n\nx,1\nKöln,2\n".encode(), 3, "0xc3"),
        ("cp1252", b"a,n\n\x81,1\n", 2, "0x81"),
        ("utf-16", "a,n\nx,1\n".encode("utf-16-be") + b"\xd8\x00\x00\x41", 3, "0xd8 0x00"),
    ],
)
def test_of_other_encodings_line_and_bytes_are_told_too(
    tmp_path: Path, encoding: str, content: bytes, line: int, wrong: str
) -> None:
    place = tmp_path / "rows.csv"
    mark = b"\xfe\xff" if encoding == "utf-16" else b""
    place.write_bytes(mark + content)

    expected = undecodable(place, line, wrong, encoding, "utf-8")
    assert said(tmp_path, csv="rows.csv", encoding=encoding) == expected


def test_what_is_packed_under_another_name_is_not_called_a_wrong_encoding(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,n\n" + b"x,1\n" * 9000)
    (tmp_path / "rows.csv").write_bytes(whole)
    assert read(tmp_path, csv="rows.csv").height == 9000

    (tmp_path / "rows.csv").write_bytes(whole[:-20])

    words = said(tmp_path, csv="rows.csv")
    assert f"CSV file '{tmp_path / 'rows.csv'}' must be complete" in words
    assert "encoding" not in words


def test_a_header_may_hold_the_very_character_that_stands_for_what_is_no_text(
    tmp_path: Path,
) -> None:
    (tmp_path / "rows.csv").write_text("a,n,\ufffd\nx,1,2\n", encoding="utf-8")

    assert read(tmp_path, csv="rows.csv").columns == ["a", "n", "\ufffd"]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("a,n,a", (1, 3)),
        ('"a",n,x,a', (1, 4)),
        ("x,a,x,n,a", (2, 5)),
        ("a,n,a_duplicated_0,a", (1, 4)),
        ("\ufeffa,n,a", (1, 3)),
        ("\n\na,n,a", (1, 3)),
    ],
)
def test_a_declared_column_that_is_there_twice_is_refused_with_both_places(
    tmp_path: Path, header: str, columns: tuple[int, int]
) -> None:
    place = tmp_path / "rows.csv"
    values = ",".join("1" * len(header.split(",")))
    place.write_text(f"{header}\n{values}\n", encoding="utf-8")

    assert said(tmp_path, csv="rows.csv") == (
        f"The columns of CSV file '{place}' must have different names, but 'a' is there twice "
        f"(columns {columns[0]} and {columns[1]}): which of them is meant? Rename one of them in "
        "the file."
    )


def test_of_a_column_that_nobody_declared_the_first_is_left_under_its_own_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "rows.csv").write_text("x,a,,n,x,,x\n1,b,,2,3,,4\n", encoding="utf-8")

    found = read(tmp_path, csv="rows.csv")

    assert found.columns == ["x", "a", "", "n"]
    assert found.row(0) == ("1", "b", None, "2")
    with pytest.raises(ColumnsError) as raised:
        check_columns(found.lazy(), table(csv="rows.csv"), "things")
    assert raised.value.problems[0] == "the source has 'x', which is neither declared nor ignored"
    assert "_duplicated_" not in str(raised.value)
    check_columns(found.lazy(), table(["x", ""], csv="rows.csv"), "things")


def test_a_name_as_polars_would_give_it_is_a_name_like_others(tmp_path: Path) -> None:
    text = "a,n,a_duplicated_0,x_duplicated_1\n1,2,3,4\n"
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")

    found = read(tmp_path, csv="rows.csv")

    assert found.columns == ["a", "n", "a_duplicated_0", "x_duplicated_1"]
    assert found.row(0) == ("1", "2", "3", "4")


def test_the_column_of_paths_of_a_folder_may_not_be_there_twice(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("path,n,path\na.txt,1,b.txt\n", encoding="utf-8")
    columns = {"a": {"type": "text"}, "n": {"type": "int64"}}
    source = {"folder": ".", "index": "index.csv"}
    declared = Table.model_validate({"source": source, "columns": columns})

    with pytest.raises(DataError, match=r"'path' is there twice \(columns 1 and 3\)"):
        read_source(declared.source, None, table=declared, folder=tmp_path).collect()
