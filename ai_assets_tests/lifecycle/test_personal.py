"""What is kept of personal data: pseudonyms, masks, coarser values; nothing of what is broken."""

import hashlib
import hmac
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.cleaning import clean
from ai_assets.lifecycle.cleaning.personal import masked, pseudonym, treat
from ai_assets.lifecycle.schema.tables import Table

KEY = b"a key of sixteen"


def table(key: list[str] | None = None, **columns: dict[str, Any]) -> Table:
    given = {"source": {"csv": "x.csv"}, "columns": columns, "key": key or []}
    return Table.model_validate(given)


def treated(column: dict[str, Any], *values: Any, key: bytes = KEY) -> list[Any]:
    declared = table(c=column)
    return treat(pl.LazyFrame({"c": values}), declared, key).collect()["c"].to_list()


def test_a_pseudonym_is_the_hmac_of_the_value_under_the_key() -> None:
    expected = hmac.new(KEY, b"4711", hashlib.sha256).hexdigest()[:32]

    assert pseudonym("4711", KEY) == expected
    assert pseudonym("4711", b"another key of 16") != expected


def test_a_value_has_one_pseudonym_whatever_type_its_source_gives_it() -> None:
    number = {"type": "int64", "personal": "hash"}
    (expected,) = {pseudonym("15", KEY)}

    assert treated(number, "15", " 15 ", "15.0", None) == [expected] * 3 + [None]
    assert treated(number, 15) == [expected]


def test_a_mask_leaves_at_most_a_quarter_of_the_characters_and_never_more_than_four() -> None:
    column = {"type": "string", "personal": "mask"}

    assert [masked(v) for v in ("", "abc", "abcdefgh", "+49 30 123456789")] == [
        "", "***", "******gh", "************6789",
    ]  # fmt: skip
    assert treated(column, "abcdefgh", None) == ["******gh", None]


@pytest.mark.parametrize(
    ("column", "given", "left"),
    [
        ({"type": "int64", "to": 10}, "37", "30"),
        ({"type": "int64", "to": 10}, "-3", "-10"),
        ({"type": "float64", "to": 0.5}, "1.7", "1.5"),
        ({"type": "string", "to": 2}, "10115", "10"),
        ({"type": "date", "to": "year"}, "1987-05-23", "1987-01-01"),
        ({"type": "date", "to": "month"}, "1987-05-23", "1987-05-01"),
    ],
)
def test_a_generalized_value_is_coarser(column: dict[str, Any], given: str, left: str) -> None:
    assert treated(column | {"personal": "generalize"}, given) == [left]


def test_a_generalized_moment_is_read_back_by_cleaning() -> None:
    declared = table(c={"type": "datetime", "personal": "generalize", "to": "month"})
    rows = treat(pl.LazyFrame({"c": ["1987-05-23T11:30:00Z"]}), declared, KEY)

    assert clean(rows, declared).good.collect()["c"].dt.to_string("iso").to_list() == [
        "1987-05-01 00:00:00.000000+00:00"
    ]


def test_a_value_that_breaks_the_contract_is_rejected_and_kept_nowhere() -> None:
    declared = table(
        number={"type": "int64", "max": 99, "personal": "hash"},
        phone={"type": "string", "pattern": r"\+\d+", "personal": "mask"},
        age={"type": "int64", "personal": "generalize", "to": 10},
    )
    rows = pl.LazyFrame(
        {
            "number": ["12", "777", "Smith", "13"],
            "phone": ["+4930123456", "+4930123456", "+4930123456", "unlisted"],
            "age": ["40", "40", "40", "forty"],
        }
    )

    found = clean(treat(rows, declared, KEY), declared)
    rejected = found.rejected.collect()

    assert found.counts.cleaned == 1
    assert rejected["number"].to_list()[:2] == [
        "(personal) number is above 99",
        "(personal) number is not an int64",
    ]
    assert rejected["phone"].to_list()[2] == r"(personal) phone does not match \+\d+"
    assert rejected["_rule"].to_list() == [
        "number broke its contract before it was treated",
        "number broke its contract before it was treated",
        "phone broke its contract before it was treated; age is not an int64",
    ]
    told = rejected.write_csv()
    assert not any(plain in told for plain in ("777", "Smith", "unlisted", "forty"))


def test_a_missing_value_is_missing_and_rejected_where_it_must_not_be() -> None:
    declared = table(n={"type": "int64", "personal": "hash", "nullable": False})

    found = clean(treat(pl.LazyFrame({"n": [None, "1"]}), declared, KEY), declared)

    assert found.rejected.collect()["_rule"].to_list() == ["n is missing"]
    assert found.good.collect()["n"].to_list() == [pseudonym("1", KEY)]


def test_a_declared_table_has_its_treated_columns_and_keeps_the_plain_contract_aside() -> None:
    declared = table(
        ["number"],
        number={"type": "int64", "min": 1, "personal": "hash", "example": 4711},
        mail={"type": "string", "personal": "drop"},
        age={"type": "int64", "personal": "generalize", "to": 10, "unit": "year"},
    )

    number, age = declared.columns["number"], declared.columns["age"]
    assert list(declared.columns) == ["number", "age"]
    assert (number.type, number.personal, number.min) == ("string", True, None)
    assert number.example == "0" * 32
    assert (age.type, age.personal, age.unit) == ("int64", False, "year")
    assert declared.ignore == ["mail"]
    assert {name: column.personal for name, column in declared.plain.items()} == {
        "number": "hash", "mail": "drop", "age": "generalize",
    }  # fmt: skip
    # what a bundle holds of it is read back as it is
    assert Table.model_validate(declared.model_dump()) == declared


@pytest.mark.parametrize(
    ("column", "key", "words"),
    [
        ({"type": "float64", "personal": "hash"}, [], "the type of 'c', whose personal is hash,"),
        ({"type": "int64", "personal": "mask"}, [], "the type of 'c', whose personal is mask,"),
        ({"type": "string", "personal": "drop"}, ["c"], "personal of 'c', which is in the key,"),
        ({"type": "string", "personal": "mask"}, ["c"], "personal of 'c', which is in the key,"),
        ({"type": "int64", "personal": "generalize"}, [], "to of 'c', a int64,"),
        ({"type": "date", "personal": "generalize", "to": 10}, [], "to of 'c', a date"),
        ({"type": "string", "personal": "encrypt"}, [], "'hash', 'mask' or 'generalize'"),
    ],
)
def test_a_treatment_that_is_not_for_such_a_column_is_refused(
    column: dict[str, Any], key: list[str], words: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        table(key, c=column)

    assert words in str(refused.value)
