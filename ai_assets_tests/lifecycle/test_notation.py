"""Numbers and dates of CSV as their country writes them: found out, declared, and read so."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from ai_assets.lifecycle.cleaning import clean
from ai_assets.lifecycle.partitions import Span
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.profile.declare import Asked, propose
from ai_assets.lifecycle.profile.notation import Found, notation_of
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source
from ai_assets_tests.http_servers import file_server

DAYS = [datetime(2025, 1, 1, 3, 4) + timedelta(hours=7 * i) for i in range(300)]
COLUMNS = {"at": {"type": "datetime"}, "n": {"type": "float64"}, "word": {"type": "string"}}


def read(folder: Path, text: str, span: Span | None = None, **source: Any) -> list[Any]:
    """The rows of a CSV file with `at;n;word`, as the source gives them."""
    (folder / "rows.csv").write_text(f"at;n;word\n{text}", encoding="utf-8")
    declared = {"csv": "rows.csv", "delimiter": ";", **source}
    table = Table.model_validate({"source": declared, "columns": COLUMNS, "time": "at"})
    return read_source(table.source, span, table=table, folder=folder).collect().rows()


def found(delimiter: str = ";", **columns: list[str]) -> Found:
    """The notation of columns, each repeated to 300 rows."""
    rows = {name: (values * 300)[:300] for name, values in columns.items()}
    return notation_of(pl.DataFrame(rows), delimiter)


def written(form: str) -> list[str]:
    return [day.strftime(form) for day in DAYS]


@pytest.mark.parametrize(
    ("source", "given", "wanted"),
    [
        ({"decimal": ","}, "0,44", "0.44"),
        ({"decimal": ","}, " -3,5e-2 ", "-3.5e-2"),
        ({"decimal": ",", "thousands": "."}, "1.234.567,5", "1234567.5"),
        ({"decimal": ",", "thousands": "."}, "1.234", "1234"),
        ({"decimal": ",", "thousands": " "}, "1\u202f234,5", "1234.5"),
        ({"thousands": "'"}, "1\u2019234.5", "1234.5"),
        ({"thousands": ","}, "1,234.50", "1234.50"),
        # what is not in the notation is for cleaning to judge
        ({"decimal": ",", "thousands": "."}, "12.34,5", "12.34,5"),
        ({"decimal": ","}, "none", "none"),
        ({}, "0,44", "0,44"),
    ],
)
def test_a_number_is_read_in_the_declared_notation(
    tmp_path: Path, source: dict[str, str], given: str, wanted: str
) -> None:
    assert read(tmp_path, f"2025-01-01;{given};{given}\n", **source) == [
        ("2025-01-01", wanted, given)
    ]


@pytest.mark.parametrize(
    ("form", "given", "wanted"),
    [
        ("%d.%m.%Y", "5.4.2025", "2025-04-05"),
        ("%d.%m.%Y %H:%M", "05.04.2025 04:05", "2025-04-05T04:05:00.000000"),
        ("%m/%d/%Y %I:%M %p", "4/5/2025 3:07 PM", "2025-04-05T15:07:00.000000"),
        ("%d.%m.%Y %H:%M:%S%z", "05.04.2025 01:00:00+02:00", "2025-04-04T23:00:00.000000Z"),
        ("%d %b %y", "5 Apr 25", "2025-04-05"),
        ("%d.%m.%Y", "2025-04-05T01:00:00Z", "2025-04-05T01:00:00Z"),
        ("%d.%m.%Y", "31.02.2025", "31.02.2025"),
        ("%d.%m.%Y", "05.04.25", "05.04.25"),
    ],
)
def test_a_date_is_read_in_the_declared_format(
    tmp_path: Path, form: str, given: str, wanted: str
) -> None:
    rows = read(tmp_path, f"{given};1;{given}\n", dates=["%Y/%m/%d", form])
    assert rows == [(wanted, "1", given)]


def test_partitions_are_cut_out_by_dates_in_the_declared_format(tmp_path: Path) -> None:
    text = "31.01.2025 23:59;1;a\n01.02.2025 00:00;2;b\n01.03.2025 00:00;3;c\nno date;4;d\n"
    february = Span(datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC))

    rows = read(tmp_path, text, february, dates=["%d.%m.%Y %H:%M"])

    assert [word for _, _, word in rows] == ["b", "d"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"decimal": ",", "thousands": ","}, "thousands must differ from source.decimal"),
        ({"dates": ["DD.MM.YYYY"]}, r"formats of strptime with a day, .*but got 'DD.MM.YYYY'"),
        ({"delimiter": ";;"}, "source.delimiter must be one ASCII character, but got ';;'"),
        ({"decimal": ";"}, r"Input should be '.' or ','"),
    ],
)
def test_a_notation_that_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Source.model_validate({"csv": "rows.csv", **given})


@pytest.mark.parametrize(
    ("delimiter", "columns", "declared"),
    [
        (";", {"x": ["0,44", "12", "-"]}, {"decimal": ","}),
        (";", {"x": ["0,44", "1.234,56"]}, {"decimal": ",", "thousands": "."}),
        (";", {"x": ["0,44", "2,5"], "y": ["3.14"]}, {"decimal": ","}),
        (";", {"x": ["1\u00a0234,5", "7"]}, {"decimal": ",", "thousands": " "}),
        (",", {"x": ["1'234.5", "7.5"]}, {"thousands": "'"}),
        # three digits behind a comma: thousands where commas part fields, else a fraction
        (",", {"x": ["1,234", "12"]}, {"thousands": ","}),
        (";", {"x": ["1,234", "12"]}, {"decimal": ","}),
        # names of digits: all of one length, or padded
        (";", {"phone": ["612 345 678", "912 345 678"], "id": ["01,5", "02,5"]}, {}),
        (";", {"phone": ["612 345 678", "912 345 678"], "x": ["1 234,5", "7"]},
         {"decimal": ",", "thousands": " "}),
        # a file that has fractions after a point, too, sets nothing apart by points
        (";", {"x": ["0,44", "1.234,56"], "y": ["3.14"]}, {}),
        (",", {"x": ["1", "2.5"], "y": ["a,b", "1,2,3"], "z": ["192.168.1.1"]}, {}),
        (";", {"t": written("%d.%m.%Y %H:%M")}, {"dates": ["%d.%m.%Y %H:%M"]}),
        (",", {"t": written("%m/%d/%Y %I:%M %p")}, {"dates": ["%m/%d/%Y %I:%M %p"]}),
        (",", {"t": written("%d/%m/%y")}, {"dates": ["%d/%m/%y"]}),
        (",", {"t": written("%d-%b-%Y"), "u": written("%B %d, %Y")},
         {"dates": ["%d-%b-%Y", "%B %d, %Y"]}),
        # the name of a month, short or long, is a month's however it is read
        (",", {"t": written("%b %d, %Y"), "u": written("%d %b %Y %H:%M")},
         {"dates": ["%b %d, %Y", "%d %b %Y %H:%M"]}),
        (",", {"t": written("%b %d %Y"), "u": written("%B %d %Y"), "v": written("%d/%b/%Y")},
         {"dates": ["%b %d %Y", "%B %d %Y", "%d/%b/%Y"]}),
        (",", {"t": written("%Y-%m-%dT%H:%M:%S"), "u": ["01.02", "28.02"]}, {}),
    ],
)  # fmt: skip
def test_how_a_file_writes_is_found_out(
    delimiter: str, columns: dict[str, list[str]], declared: dict[str, Any]
) -> None:
    assert found(delimiter, **columns).source() == declared


def test_names_of_digits_stay_as_they_are_where_numbers_are_written_alike() -> None:
    columns = {"phone": ["612 345 678", "912 345 678"], "x": ["1 234,5", "7"], "n": ["12", "3"]}
    looked = found(";", **columns)

    assert looked.numbers == ["x", "n"]
    rows = pl.DataFrame({name: values[:1] for name, values in columns.items()}).lazy()
    assert looked.usual(rows).collect().rows() == [("612 345 678", "1234.5", "12")]


def test_what_looks_usual_is_read_in_the_notation_of_its_file() -> None:
    looked = found(";", x=["1.234,56", "7"], y=["3.140"])

    assert looked.source() == {"decimal": ",", "thousands": "."}
    assert looked.usual(pl.LazyFrame({"x": ["1.234,56"], "y": ["3.140"]})).collect().rows() == [
        ("1234.56", "3140")
    ]


def test_dates_that_may_be_read_in_two_ways_stay_text_and_are_told() -> None:
    looked = found(at=["05/04/2025", "01/12/2025"], paid=["05.04.2025"])

    assert looked.moments == ["paid"] and list(looked.unclear) == ["at"]
    assert looked.notes()[-1] == (
        "at may be day or month first, as in 05/04/2025, and stays text until source.dates says "
        "which"
    )


def test_a_file_behind_an_address_is_declared_in_its_notation_too(tmp_path: Path) -> None:
    rows = [f"{i * 13},5;1'{i % 7}00;{i % 3}" for i in range(300)]
    text = "\n".join(["Preis;Menge;Klasse", *rows, "2,5;12;1"])
    (tmp_path / "preise.csv").write_text(text, encoding="utf-8")

    with file_server(tmp_path) as address:
        place = f"{address}/preise.csv"
        proposed = propose(Asked(place, "Klasse"))["defs.yaml"]
        content = yaml.safe_load(proposed)["attributes"]
        table = TabularDeclaration.model_validate(content).tables["preise"]
        read = read_source(table.source, None, table=table, folder=tmp_path).collect()

    source = {"http": {"url": place, "format": "csv"}, "delimiter": ";"}
    assert content["tables"]["preise"]["source"] == source | {"decimal": ",", "thousands": "'"}
    assert "a decimal comma; its thousands are set apart by apostrophes." in proposed
    assert read.row(1)[:2] == ("13.5", "1100")


def test_a_few_odd_values_do_not_hide_a_notation_and_are_rejected(tmp_path: Path) -> None:
    rows = [f"{day:%d.%m.%Y %H:%M};{i % 17},5;{i % 3}" for i, day in enumerate(DAYS * 4)]
    rows[7] = "soon;much;1"
    text = "\n".join(["Datum;Betrag;Klasse", *rows])
    (tmp_path / "umsatz.csv").write_text(text, encoding="utf-8")

    proposed = propose(Asked(tmp_path / "umsatz.csv", "Klasse"))["defs.yaml"]
    content = yaml.safe_load(proposed)["attributes"]
    table = TabularDeclaration.model_validate(content).tables["umsatz"]
    cleaned = clean(read_source(table.source, None, table=table, folder=tmp_path), table)
    rows = cleaned.good.collect()

    assert content["tables"]["umsatz"]["source"] == {
        "csv": str(tmp_path / "umsatz.csv"), "delimiter": ";", "decimal": ",",
        "dates": ["%d.%m.%Y %H:%M"],
    }  # fmt: skip
    assert (table.columns["Datum"].type, table.columns["Betrag"].type) == ("datetime", "float64")
    assert "its numbers have a decimal comma; its dates are written as" in proposed
    assert (cleaned.counts.cleaned, cleaned.counts.rejected) == (1199, 1)
    assert rows["Betrag"].max() == 16.5
    assert rows["Datum"].min() == datetime(2025, 1, 1, 3, 4, tzinfo=UTC)
