"""Columns are checked as rows are: the same values pass, and the same words refuse the others."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_payload as small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.schema.tables import Column
from ai_assets.serving import suspects
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.columns import ColumnCheck
from ai_assets.serving.frames import ColumnReader
from ai_assets.serving.problems import Refused
from ai_assets.serving.request import RequestReader

INSTANTS = st.one_of(
    st.sampled_from(
        ["2013-04-10T15:30:00Z", "2013-04-10 15:30+02:00", "20130410T153000Z", "2013-W15-3T12Z",
         "2013-04-10T15:30:00.5Z", "2013-04-10T15:30:00.123456+05:30", "2013-04-10T23:59:60Z",
         "2013-02-30T15:30:00Z", "2013-04-10T15:30:00", "0001-01-01T00:00:00+14:00",
         "2999-12-31T23:59:59-23:59", "2013-04-10T15:30:00+24:00", "٢٠١٣-04-10T15:30:00Z", ""]
    ),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
)  # fmt: skip
COLUMNS: dict[str, tuple[Any, Any]] = {
    "due": (pl.String, INSTANTS),
    "place": (pl.String, st.sampled_from(["EWR", "JFK", "LGA", "EWK", "ewr", ""])),
    "carrier": (pl.String, st.one_of(st.sampled_from(["UA", "AA"]), st.text(max_size=3))),
    "distance": (pl.Int64, st.integers(-(2**63), 2**63 - 1) | st.integers(0, 6001)),
    "weight": (pl.Float64, st.floats(allow_nan=False)),
    "name": (pl.String, st.sampled_from(["x", "X", "x\n", ""])),
    "first": (pl.Boolean, st.booleans()),
    "booked": (pl.String, st.sampled_from(["2013-02-28", "2013-02-30", "20130228", "2013-1-1"])),
}
ROW = st.fixed_dictionaries({name: st.none() | values for name, (_, values) in COLUMNS.items()})


@pytest.fixture(scope="module")
def reader(shared: Path) -> RequestReader:
    return RequestReader(load_bundle(shared / "payload"), max_rows=1000)


def by_rows(reader: RequestReader, rows: list[dict[str, Any]]) -> Any:
    """The frame of the rows, or what is wrong with which field of which row."""
    try:
        return reader.frame(reader.rows(json.dumps(rows).encode()))
    except Refused as refused:
        return {(d.row, d.field): d.message for d in refused.details}


def by_columns(reader: RequestReader, rows: list[dict[str, Any]]) -> Any:
    columns = {
        name: pl.Series(name, [row[name] for row in rows], dtype)
        for name, (dtype, _) in COLUMNS.items()
    }
    try:
        return ColumnReader(reader).frame(columns, len(rows))
    except Refused as refused:
        return {(d.row, d.field): d.message for d in refused.details}


@pytest.fixture(params=["few", "many"])
def as_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instants are read one by one where they are few, and all at once where they are many."""
    if request.param == "many":
        monkeypatch.setattr(suspects, "_FEW", 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=6))
@pytest.mark.usefixtures("as_rows")
def test_columns_pass_and_are_refused_as_rows_are(
    reader: RequestReader, rows: list[dict[str, Any]]
):
    found, wanted = by_columns(reader, rows), by_rows(reader, rows)

    if isinstance(wanted, dict):
        assert found == wanted
    else:
        assert found.equals(wanted)
        assert found.schema == wanted.schema


def test_many_wrong_values_are_told_up_to_the_bound(reader: RequestReader):
    rows = [{**dict.fromkeys(COLUMNS), **small.ROW, "distance": -1}] * 200

    with pytest.raises(Refused) as refused:
        ColumnReader(reader).frame(
            {n: pl.Series(n, [r[n] for r in rows], t) for n, (t, _) in COLUMNS.items()}, 200
        )

    assert [detail.row for detail in refused.value.details] == list(range(50))


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_an_infinite_number_is_refused_where_no_bound_is_declared(value: float):
    check = ColumnCheck("ratio", Column(type="float64"), required=False)
    series = pl.Series([0.5, value, None])

    assert suspects.suspects(check, series, series) == [1]
    assert suspects.suspects(check, series.head(1), series.head(1)) == []


def test_the_given_columns_stay_as_they_are(reader: RequestReader):
    places = pl.Series("place", ["EWR", "EWK"])

    checked = ColumnReader(reader).check({"place": places}, 2)

    assert places.to_list() == ["EWR", "EWK"]
    assert checked.frame["place"].to_list() == ["EWR", None]


@pytest.mark.parametrize(
    ("name", "given_values", "wanted"),
    [
        ("distance", pl.Series([1.0, float("nan")], dtype=pl.Float64), [1, None]),
        ("distance", pl.Series([5, 6], dtype=pl.UInt8), [5, 6]),
        ("weight", pl.Series([5, 6], dtype=pl.Int16), [5.0, 6.0]),
        ("weight", pl.Series([float("nan"), 2.0], dtype=pl.Float32), [None, 2.0]),
        ("place", pl.Series(["EWR", "JFK"], dtype=pl.Categorical), ["EWR", "JFK"]),
    ],
)
def test_other_types_that_hold_the_same_values_pass(
    reader: RequestReader, name: str, given_values: pl.Series, wanted: list[Any]
):
    checked = ColumnReader(reader).check({name: given_values}, 2)

    assert checked.frame[name].to_list() == wanted


@pytest.mark.parametrize(
    ("name", "given_values", "words"),
    [
        ("distance", pl.Series([1.5]), "distance must be a whole number, but got 1.5."),
        ("distance", pl.Series([2**63], dtype=pl.UInt64), "64 bits"),
        ("distance", pl.Series(["5"]), "distance must be a whole number, but got '5'."),
        ("distance", pl.Series([[5]]), "distance must be a whole number"),
        ("place", pl.Series([5]), "place must be a text"),
        ("first", pl.Series([1]), "first must be true or false, but got 1."),
        ("due", pl.Series([small.NOON.replace(tzinfo=None)]), "with its UTC offset"),
    ],
)
def test_other_types_are_refused_in_the_words_of_the_check(
    reader: RequestReader, name: str, given_values: pl.Series, words: str
):
    checked = ColumnReader(reader).check({name: given_values}, 1)

    assert words in next(d.message for d in checked.problems if d.field == name)
