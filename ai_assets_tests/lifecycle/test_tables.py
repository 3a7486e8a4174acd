import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table

COLUMNS = {"id": {"type": "int64"}, "at": {"type": "datetime"}, "city": {"type": "string"}}


def table(**changes: object) -> Table:
    return Table.model_validate(
        {"source": {"csv": "x.csv"}, "columns": COLUMNS, "key": ["id"], **changes}
    )


def test_a_field_that_is_not_known_offers_the_nearest_one() -> None:
    with pytest.raises(
        ValidationError, match=r"'collumns' is not a field here. Did you mean 'columns'"
    ):
        Table.model_validate({"source": {"csv": "x"}, "collumns": COLUMNS})


def test_a_key_must_name_a_declared_column() -> None:
    with pytest.raises(
        ValidationError,
        match=r"key must name a declared column, but got 'cty'. Did you mean 'city'",
    ):
        table(key=["cty"])


def test_the_time_must_be_a_moment() -> None:
    with pytest.raises(ValidationError, match="'city' is string"):
        table(time="city")
    assert table(time="at").time == "at"


@pytest.mark.parametrize("given", [{}, {"csv": "a", "parquet": "b"}])
def test_a_source_is_of_exactly_one_kind(given: dict) -> None:
    with pytest.raises(ValidationError, match="source must have exactly one of"):
        Source.model_validate(given)


def test_late_columns_are_those_that_declare_a_moment() -> None:
    late = table(columns={**COLUMNS, "delay": {"type": "int64", "known_at": "at + to_days(1)"}})

    assert late.late_columns == {"delay": "at + to_days(1)"}
    assert table().late_columns == {}


@pytest.mark.parametrize("name", ["", " "])
def test_a_column_must_have_a_name(name: str) -> None:
    with pytest.raises(ValidationError, match=r"columns must have a name each.* under 'ignore'"):
        table(columns={name: {"type": "string"}, **COLUMNS})
    assert table(ignore=[name]).ignore == [name]


@pytest.mark.parametrize(
    ("description", "unit", "told"),
    [
        ("Distance flown", "mile", "Distance flown (unit: mile)"),
        ("Distance flown", None, "Distance flown"),
        ("Mean brightness", "1", "Mean brightness"),
        ("", "mile", "(unit: mile)"),
        ("", None, ""),
    ],
)
def test_what_a_column_means_names_its_unit(description: str, unit: str | None, told: str) -> None:
    column = Column(type="float64", description=description, unit=unit)
    assert column.meaning == told
