"""Rows against their contract, and the account of where each went."""

import subprocess
import sys
from datetime import UTC, date, datetime
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.cleaning import check_columns, clean
from ai_assets.lifecycle.cleaning.identity import (
    Digest,
    _text_hashes,
    occurrences,
    repeated,
    row_hashes,
)
from ai_assets.lifecycle.errors import ColumnsError, DataError
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources.spool import Spool


def table(columns: dict[str, Any], **rest: Any) -> Table:
    return Table.model_validate({"source": {"csv": "x.csv"}, "columns": columns, **rest})


def rules_of(raw: pl.DataFrame, declared: Table) -> list[str]:
    return clean(raw.lazy(), declared).rejected.collect()["_rule"].to_list()


def test_text_becomes_the_declared_types() -> None:
    declared = table(
        {
            "i": {"type": "int64"},
            "f": {"type": "float64"},
            "b": {"type": "bool"},
            "t": {"type": "datetime"},
            "d": {"type": "date"},
            "s": {"type": "string"},
        }
    )
    raw = pl.DataFrame(
        {
            "i": [" 9007199254740993", "15.0", None],
            "f": ["1.5", "-2e3", None],
            "b": ["True", "0", None],
            "t": ["2013-01-01T05:00:00Z", "2013-01-01 05:00:00.250000+02:00", None],
            "d": ["2013-01-01", "2013-01-02T00:00:00", None],
            "s": [" as it is ", "", None],
        }
    )

    cleaned = clean(raw.lazy(), declared)
    good = cleaned.good.collect()

    assert good.drop("_row_id").rows() == [
        (2**53 + 1, 1.5, True, datetime(2013, 1, 1, 5, tzinfo=UTC), date(2013, 1, 1), " as it is "),
        (15, -2000.0, False, datetime(2013, 1, 1, 3, 0, 0, 250000, UTC), date(2013, 1, 2), ""),
        (None, None, None, None, None, None),
    ]  # fmt: skip
    assert good.schema["t"] == pl.Datetime("us", "UTC")
    assert cleaned.counts.rejected == 0


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ({"type": "int64"}, "15.5", "x is not an int64"),
        ({"type": "float64"}, "many", "x is not a float64"),
        ({"type": "bool"}, "perhaps", "x is not a bool"),
        ({"type": "datetime"}, "2013-02-30T00:00:00Z", "x is not a datetime"),
        ({"type": "date"}, "01/02/2013", "x is not a date"),
        ({"type": "int64", "min": 1, "unit": "mile"}, "0", "x is below 1 mile"),
        ({"type": "float64", "max": 2.5}, "2.6", "x is above 2.5"),
        ({"type": "string", "allowed": ["EWR", "JFK"]}, "ewr", "x is not one of EWR, JFK"),
        ({"type": "int64", "allowed": [1, 2]}, "3", "x is not one of 1, 2"),
        ({"type": "string", "pattern": "[A-Z]{2}|x"}, "ABC", "x does not match [A-Z]{2}|x"),
        ({"type": "string", "pattern": "[A-Z]+"}, "AB\n", "x does not match [A-Z]+"),
        ({"type": "string", "nullable": False}, None, "x is missing"),
        ({"type": "float64"}, "inf", "x is not a finite number"),
    ],
)
def test_a_broken_rule_is_named_in_words(
    column: dict[str, Any], value: str | None, words: str
) -> None:
    raw = pl.DataFrame({"x": [value]}, schema={"x": pl.String})

    assert rules_of(raw, table({"x": column})) == [words]


def test_a_row_that_breaks_two_rules_names_both_and_is_rejected_once() -> None:
    declared = table({"a": {"type": "int64", "max": 3}, "b": {"type": "string", "nullable": False}})

    cleaned = clean(pl.LazyFrame({"a": ["5", "1"], "b": [None, "y"]}), declared)

    assert cleaned.rejected.collect().drop("_row_id").rows() == [
        ("a is above 3; b is missing", "5", None)
    ]
    assert cleaned.counts.by_rule == {"a is above 3": 1, "b is missing": 1}
    assert (cleaned.counts.raw, cleaned.counts.cleaned, cleaned.counts.rejected) == (2, 1, 1)


def test_a_missing_key_is_rejected_even_where_nullable() -> None:
    declared = table({"k": {"type": "int64"}}, key=["k"])

    assert rules_of(pl.DataFrame({"k": [None, "1"]}), declared) == [
        "k is missing (it is part of the key)"
    ]


@pytest.mark.parametrize(
    ("duplicates", "kept", "counts"),
    [
        ("first", ["a", "c"], (2, 0, 1)),
        ("last", ["b", "c"], (2, 0, 1)),
        ("reject", ["c"], (1, 2, 0)),
    ],
)
def test_rows_with_the_same_key_are_resolved_as_declared(
    duplicates: str, kept: list[str], counts: tuple[int, int, int]
) -> None:
    declared = table(
        {"k": {"type": "int64"}, "v": {"type": "string"}}, key=["k"], duplicates=duplicates
    )

    cleaned = clean(pl.LazyFrame({"k": ["1", "01", "2"], "v": ["a", "b", "c"]}), declared)

    found = cleaned.counts
    assert cleaned.good.collect()["v"].to_list() == kept
    assert (found.cleaned, found.rejected, found.duplicates) == counts
    if duplicates == "reject":
        rejected = cleaned.rejected.collect()
        assert rejected["k"].to_list() == ["1", "01"]
        assert rejected["_rule"].unique().to_list() == ["another row has the same key (k)"]


def test_without_a_key_equal_rows_all_stay_and_have_ids_of_their_own() -> None:
    good = clean(pl.LazyFrame({"x": ["a", "a", "b"]}), table({"x": {"type": "string"}})).good

    assert good.collect()["x"].to_list() == ["a", "a", "b"]
    assert good.collect()["_row_id"].n_unique() == 3


def test_native_types_are_cast_and_nan_is_missing() -> None:
    declared = table(
        {
            "f": {"type": "float64"},
            "n": {"type": "int64"},
            "t": {"type": "datetime"},
            "s": {"type": "string"},
        }
    )
    raw = pl.LazyFrame(
        {
            "f": [float("nan"), 1.0],
            "n": [2.0, float("nan")],
            "t": [datetime(2013, 1, 1)] * 2,
            "s": [1, 2],
        }
    )

    good = clean(raw, declared).good.collect()

    instant = datetime(2013, 1, 1, tzinfo=UTC)
    assert good.drop("_row_id").rows() == [(None, 2, instant, "1"), (1.0, None, instant, "2")]


def test_names_with_spaces_dots_and_umlauts_and_200_columns_work() -> None:
    names = ["größe in m²", "a.b c", "東京", *(f"c{i}" for i in range(200))]
    declared = table({n: {"type": "int64", "max": 5} for n in names}, key=["東京"])
    raw = pl.LazyFrame({n: ["1", "2", "9"] if n == "a.b c" else ["1", "2", "3"] for n in names})

    cleaned = clean(raw, declared)

    assert cleaned.good.collect().columns == ["_row_id", *names]
    assert cleaned.counts.by_rule == {"a.b c is above 5": 1}


def test_an_empty_table_keeps_its_columns() -> None:
    raw = pl.LazyFrame(schema={"x": pl.String})

    cleaned = clean(raw, table({"x": {"type": "int64"}}))

    assert cleaned.good.collect().schema == {"_row_id": pl.Int64, "x": pl.Int64}
    assert cleaned.counts.raw == 0


VALUES = st.sampled_from([None, "1", "2", "3", "9", "x", "", "1.0", "ä"])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(VALUES, VALUES), max_size=30),
    keyed=st.booleans(),
    duplicates=st.sampled_from(["first", "last", "reject"]),
)
def test_every_row_is_accounted_for(
    rows: list[tuple[str | None, str | None]], keyed: bool, duplicates: str
) -> None:
    declared = table(
        {"k": {"type": "int64", "max": 5}, "v": {"type": "string", "pattern": "\\w"}},
        key=["k"] if keyed else [],
        duplicates=duplicates,
    )
    raw = pl.DataFrame(rows, schema={"k": pl.String, "v": pl.String}, orient="row")

    cleaned = clean(raw.lazy(), declared)
    counts, good = cleaned.counts, cleaned.good.collect()

    assert counts.raw == len(rows) == counts.cleaned + counts.rejected + counts.duplicates
    assert good.height == counts.cleaned
    assert cleaned.rejected.collect().height == counts.rejected
    assert good["_row_id"].n_unique() == good.height


def test_a_large_table_goes_through_a_file_and_comes_back_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Spool.__init__, "__defaults__", (1000,))
    raw = pl.LazyFrame({"k": [str(i % 250_000) for i in range(300_000)]})

    good = clean(raw, table({"k": {"type": "int64"}}, key=["k"])).good

    assert good.select(pl.col("k")).collect()["k"].to_list() == list(range(250_000))
    assert good.filter(pl.col("k") == 7).collect().height == 1


HASHED = """
import polars as pl
from datetime import datetime, timezone
from ai_assets.lifecycle.cleaning.identity import row_hashes, Digest
f = pl.DataFrame({"a": ["ä", None, ""], "b": [1.5, -0.0, float("nan")], "c": [1, None, -7],
                  "t": [datetime(2013, 1, 1, tzinfo=timezone.utc)] * 3})
d = Digest(); d.add(f)
print(row_hashes(f, f.columns).tolist(), d.hexdigest())
"""


def test_a_file_of_rows_set_aside_is_read_and_not_mapped_into_memory() -> None:
    rows = pl.DataFrame({"n": range(5000)})
    spool = Spool(rows.schema, in_memory=1000)
    for part in rows.iter_slices(500):
        spool.add(part)
    reader = spool.frames()

    seen = [next(reader)]
    maps = Path("/proc/self/maps")
    if maps.is_file():
        assert "rows.arrow" not in maps.read_text(encoding="utf-8")
    assert pl.concat([*seen, *reader]).equals(rows)


@given(st.lists(st.integers(0, 6), max_size=30))
def test_rows_of_one_hash_are_found_and_counted_in_order(values: list[int]) -> None:
    hashes = np.array(values, dtype=np.uint64) * np.uint64(2**61)

    assert repeated(hashes).tolist() == [values.count(v) > 1 for v in values]
    assert occurrences(hashes).tolist() == [values[:i].count(v) for i, v in enumerate(values)]


@pytest.mark.parametrize("rule", ["first", "last", "reject"])
@given(keys=st.lists(st.integers(0, 9), max_size=20))
def test_of_any_rows_of_one_key_those_stay_that_are_declared_to(rule: str, keys: list[int]) -> None:
    declared = table({"k": {"type": "int64"}, "n": {"type": "int64"}}, key=["k"], duplicates=rule)
    places = range(len(keys))
    raw = pl.DataFrame({"k": keys, "n": places}, schema={"k": pl.Int64, "n": pl.Int64})

    good = clean(raw.lazy(), declared).good.collect()

    after = {"first": lambda i: keys[:i], "last": lambda i: keys[i + 1 :]}
    others = after.get(rule, lambda i: keys[:i] + keys[i + 1 :])
    assert good["n"].to_list() == [i for i in places if keys[i] not in others(i)]


def test_ids_and_digests_are_the_same_in_two_processes() -> None:
    said = {subprocess.check_output([sys.executable, "-c", HASHED]) for _ in range(2)}

    assert len(said) == 1


def test_ids_never_change_with_a_release_of_ours() -> None:
    frame = pl.DataFrame({"a": ["ä", None], "b": [1, 2], "c": [0.5, None]})

    assert row_hashes(frame, ["a", "b", "c"]).tolist() == [
        16765560665105058978,
        15581308068082835138,
    ]


@pytest.mark.parametrize("rows", [6_000, 13_000], ids=["each once", "some thrice"])
def test_a_text_has_one_hash_however_many_stand_beside_it(rows: int) -> None:
    many = pl.DataFrame({"a": [f"ä{i % 6_000}" for i in range(rows)]})

    for few in (slice(0, 2), slice(rows - 9, rows)):
        assert row_hashes(many, ["a"])[few].tolist() == row_hashes(many[few], ["a"]).tolist()


def test_a_digest_does_not_depend_on_the_order_of_rows() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    one, other, changed = Digest(), Digest(), Digest()
    one.add(frame)
    other.add(frame[2:])
    other.add(frame[:2].reverse().select("b", "a"))
    changed.add(frame.with_columns(b=pl.Series(["y", "x", None])))

    assert one.hexdigest() == other.hexdigest() != changed.hexdigest()


@pytest.mark.parametrize(("duplicates", "differing"), [("first", 3), ("last", 3), ("reject", 0)])
def test_duplicates_with_other_values_than_the_row_that_stays_are_counted(
    duplicates: str, differing: int
) -> None:
    keys = [1, 2, 1, 3, 2, 1, 3, 3]
    values = ["a", "b", "a", "c", "x", "a", "y", None]
    columns = {"k": {"type": "int64"}, "v": {"type": "string"}}
    declared = table(columns, key=["k"], duplicates=duplicates)

    counts = clean(pl.LazyFrame({"k": keys, "v": values}), declared).counts

    # Of 1 all agree, of 2 one differs, of 3 all do.
    assert counts.differing == differing


@pytest.mark.parametrize(
    ("values", "doubled"),
    [
        ("abab", True),
        ("aaabbb", True),
        ("aabbbb", True),  # twice over, and one of them was there twice before
        ("aabbb", False),
        ("aab", False),
        ("abc", False),
        ("", False),
    ],
)
def test_rows_without_a_key_that_are_there_again_in_step_are_doubled(
    values: str, doubled: bool
) -> None:
    rows = pl.DataFrame({"v": list(values)}, schema={"v": pl.String()})

    assert clean(rows.lazy(), table({"v": {"type": "string"}})).counts.doubled == doubled


def test_a_missing_column_is_named_with_the_nearest_of_the_source() -> None:
    with pytest.raises(DataError) as error:
        check_columns(pl.LazyFrame({"carier": ["UA"]}), table({"carrier": {"type": "string"}}), "f")

    assert str(error.value) == (
        "The source of table 'f' lacks the declared column 'carrier'. Did you mean 'carier'?\n"
        "Columns of the source: 'carier'."
    )


def test_of_very_many_columns_some_are_told() -> None:
    rows = pl.LazyFrame(schema={f"{n}{'x' * 150}": pl.String() for n in range(3_000)})

    with pytest.raises(ColumnsError) as error:
        check_columns(rows, table({"a": {"type": "string"}}), "f")

    assert str(error.value).startswith("The source of table 'f' lacks the declared column 'a'.\n")
    assert str(error.value).endswith("…', and 2,900 more.")
    assert len(str(error.value)) < 11_500
    assert error.value.problems[0] == "the source lacks the declared column 'a'"
    assert error.value.problems[-1] == "and 2,971 more"


def test_a_new_column_of_the_source_is_refused_with_how_to_admit_it() -> None:
    declared = table({"a": {"type": "string"}}, ignore=["known"])

    with pytest.raises(DataError, match=r"'b', which is neither declared nor ignored. Declare it"):
        check_columns(pl.LazyFrame({"a": [""], "known": [1], "b": [2]}), declared, "f")
    check_columns(pl.LazyFrame({"a": [""], "known": [1]}), declared, "f")


@pytest.mark.parametrize("texts", [[], [None, None], ["a"], ["a", "b", "a", ""]])
def test_the_hash_of_a_text_is_the_beginning_of_its_md5(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})

    found = _text_hashes(frame["t"].fill_null(""))

    expected = [int(md5((text or "").encode()).hexdigest()[:16], 16) for text in texts]
    assert found.dtype == np.uint64
    assert found.tolist() == expected
    assert row_hashes(frame, ["t"]).shape == (len(texts),)
