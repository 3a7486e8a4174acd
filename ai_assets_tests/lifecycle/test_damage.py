"""Files that were cut off, are empty or hold one bad line: what is read, and what is said."""

import gzip
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source
from ai_assets.lifecycle.sources.damage import bad_csv_line, broken_line

COLUMNS = {"pump": {"type": "string"}, "hours": {"type": "float64"}, "kind": {"type": "string"}}
LINES = ["pump,hours,kind", "P-1,1.5,repair", 'P-2,2.5,"oil, filter"', "P-3,12.75,repair"]


def read(folder: Path, **source: str) -> pl.DataFrame:
    table = Table.model_validate({"source": source, "columns": COLUMNS})
    return read_source(table.source, None, table=table, folder=folder).collect()


def error_of(folder: Path, **source: str) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, **source)
    return str(caught.value)


@pytest.mark.parametrize(("end", "found"), [("P-3,12.7", 2), ("P-3", 1), ('"P, 3",12', 2)])
def test_a_csv_file_that_ends_within_a_line_is_refused(
    tmp_path: Path, end: str, found: int
) -> None:
    cut = "\n".join([*LINES[:3], end]).encode()
    (tmp_path / "w.csv").write_bytes(cut)
    (tmp_path / "w.csv.gz").write_bytes(gzip.compress(cut))
    with pa.CompressedOutputStream(str(tmp_path / "w.csv.zst"), "zstd") as packed:
        packed.write(cut)
    (tmp_path / "u.csv").write_bytes(cut.decode().encode("utf-16"))

    for source in (
        {"csv": "w.csv"},
        {"csv": "w.csv.gz"},
        {"csv": "w.csv.zst"},
        {"csv": "u.csv", "encoding": "utf-16"},
    ):
        assert error_of(tmp_path, **source) == (
            f"CSV file '{tmp_path / source['csv']}' must be complete, but its last line ends after "
            f"{found} of 3 fields, without a line break: it was cut off, or is no row."
        )


@pytest.mark.parametrize(
    ("text", "delimiter", "whole"),
    [
        ("pump,x,x,flow,note\nP-1,1,2,3,4\nP-2,1,2,3", ",", False),
        ("pump,flow,note,\nP-1,1,2\nP-2,3,4", ",", True),  # each line but the header ends early
        ("pump,flow,note,,\nP-1,1,2\nP-2,3", ",", False),
        ("pump flow note\nP-1 1 \nP-2 2 ", " ", True),
    ],
)
def test_the_fields_of_a_last_line_are_counted_as_its_header_has_them(
    tmp_path: Path, text: str, delimiter: str, whole: bool
) -> None:
    (tmp_path / "w.csv").write_text(text, encoding="utf-8")
    source = {"csv": "w.csv", "delimiter": delimiter}

    if whole:
        assert read(tmp_path, **source)["pump"].to_list() == ["P-1", "P-2"]
    else:
        assert "fields, without a line break" in error_of(tmp_path, **source)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(LINES),  # no line break at the end, and nothing is missing
        "\r\n".join([*LINES, ""]),
        "\n".join([*LINES[:3], "P-3", ""]),  # written so: empty fields were left out
        "\n".join([*LINES[:3], 'P-3,12.75,"repair\nand oil"']),
        "\n".join([*LINES, "\x1a"]),
    ],
)
def test_a_csv_file_that_ends_with_a_whole_line_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.csv").write_bytes(text.encode())

    assert read(tmp_path, csv="w.csv")["pump"].to_list()[:3] == ["P-1", "P-2", "P-3"]


def test_a_packed_file_under_another_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_bytes(gzip.compress("\n".join(LINES).encode()))

    assert read(tmp_path, csv="w.csv").height == 3


def test_a_gzip_that_was_cut_off_is_told_with_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "w.csv.gz").write_bytes(gzip.compress("\n".join(LINES).encode())[:-9])

    with pytest.raises(DataError, match=r"File '.*w\.csv\.gz' must be complete") as caught:
        read(tmp_path, csv="w.csv.gz")

    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "\n", " \r\n\n"])
def test_an_ndjson_file_without_a_line_has_no_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.ndjson").write_text(text)
    (tmp_path / "w.ndjson.gz").write_bytes(gzip.compress(text.encode()))

    for name in ("w.ndjson", "w.ndjson.gz"):
        empty = read(tmp_path, ndjson=name)
        assert empty.schema == dict.fromkeys(COLUMNS, pl.String())
        assert empty.height == 0


def test_an_empty_file_among_others_takes_nothing_from_them(tmp_path: Path) -> None:
    (tmp_path / "1.ndjson").write_text("")
    (tmp_path / "2.ndjson").write_text('{"pump": "P-1", "hours": 2, "kind": "repair", "by": "x"}\n')
    (tmp_path / "3.ndjson").write_text("\n" * 100_000)

    assert read(tmp_path, ndjson="*.ndjson").rows() == [("P-1", "2", "repair", "x")]


def test_lines_before_much_blank_space_are_read(tmp_path: Path) -> None:
    row = '{"pump": "P-1", "hours": 2, "kind": "repair"}'
    (tmp_path / "w.ndjson").write_text(row + "\n" * 100_000)

    assert read(tmp_path, ndjson="w.ndjson").rows() == [("P-1", "2", "repair")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"pump": "P-3", "ho', "Unterminated string starting at, at character 17"),
        ('{"pump": "P-3", "hours": NaN}', "JSON has no NaN"),
        ('\ufeff{"pump": "P-3"}', "Unexpected UTF-8 BOM (decode using utf-8-sig), at character 1"),
    ],
)
def test_the_line_that_is_no_json_is_named(tmp_path: Path, line: str, why: str) -> None:
    rows = ['{"pump": "P-1", "hours": 1}', "", line, '{"pump": "P-4", "hours": 1}']
    (tmp_path / "w.ndjson").write_text("\n".join(rows) + "\n", encoding="utf-8")

    assert error_of(tmp_path, ndjson="w.ndjson") == (
        f"NDJSON file '{tmp_path / 'w.ndjson'}' must be complete, with one JSON object a line, "
        f"but line 3 is none: {why}."
    )


def test_what_is_json_and_no_object_is_named() -> None:
    assert broken_line([b'{"a": 1}', b"[1, 2]"]) == "line 2 is none, but a list"
    assert broken_line([b'{"a": 1}', b"", b'{"a": [1]}']) is None
    assert str(broken_line([b'{"a": "\xe4"}'])).startswith("line 1 is none: 'utf-8' codec")


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        ([*LINES[:2], "P-2,2,5,repair", *LINES[3:]], "line 3 has 4 fields, and its header 3"),
        (["pump;hours;kind", "P-1;1,5;repair"], "line 2 has 2 fields, and its header 1"),
        ([*LINES[:3], 'P-3,1,"oil', *LINES[1:]], "the quotes of line 4 are unbalanced"),
        (['pump,hours,"kind', 'of work"', "P-1,1,2,3"], "line 3 has 4 fields, and its header 3"),
    ],
)
def test_the_line_of_a_csv_file_that_is_broken_is_named(
    tmp_path: Path, lines: list[str], wrong: str
) -> None:
    text = "\n".join([*lines, ""])
    (tmp_path / "w.csv").write_text(text)
    (tmp_path / "w.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "u.csv").write_bytes(text.encode("utf-16"))
    allowed = "text, with the same number of fields in each line"

    for name, encoding in (("w.csv", "utf-8"), ("w.csv.gz", "utf-8"), ("u.csv", "utf-16")):
        assert error_of(tmp_path, csv=name, encoding=encoding) == (
            f"CSV file '{tmp_path / name}' must be complete {encoding} {allowed}, but {wrong}."
        )


def test_a_line_of_another_encoding_is_left_to_whoever_decodes(tmp_path: Path) -> None:
    text = "\n".join([*LINES, "P-4,1,\xf6l", ""])
    (tmp_path / "w.csv").write_bytes(text.encode("latin-1"))

    assert "but line 5 holds 0xf6, which is none." in error_of(tmp_path, csv="w.csv")
    assert bad_csv_line([b"a,b", b"1,\xf6"], ",") is None
    assert bad_csv_line([b"a,b", b"1,2"], ",") is None


def test_of_a_packed_file_under_another_name_no_line_is_named(tmp_path: Path) -> None:
    text = "\n".join([*LINES, "1,2,3,4", ""])
    (tmp_path / "w.csv").write_bytes(gzip.compress(text.encode()))

    assert "but reading it failed: " in error_of(tmp_path, csv="w.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_told_as_one(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "w.csv").write_bytes((mark + "\n".join([*LINES, ""])).encode(encoding))

    assert error_of(tmp_path, csv="w.csv").endswith(
        "w.csv' must be utf-8 text, but begins as UTF-16 does. If it is, declare `encoding: "
        "utf-16` of its source."
    )
    assert read(tmp_path, csv="w.csv", encoding="utf-16").height == 3


def test_a_link_to_nothing_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "w.csv").symlink_to(tmp_path / "gone.csv")

    assert error_of(tmp_path, csv="w.csv") == (
        f"source.csv must be a file that exists, but '{tmp_path / 'w.csv'}' is a link to "
        f"'{tmp_path / 'gone.csv'}', which does not."
    )
