"""Whatever types and values a file has, what is declared of it keeps its rows, or says why not."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from ai_assets.lifecycle.cleaning import clean
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.lineage import column_lineage
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.profile.declare import Asked, propose
from ai_assets.lifecycle.sources import read_source

ROWS = 120
FIRST = datetime(2024, 1, 1)


def frame(name: str, values: list[Any], kind: Any) -> pl.DataFrame:
    """A column of a type beside one to learn from and a target."""
    column = pl.Series(name, values, kind)
    plain = {"size": [i % 17 for i in range(ROWS)], "late": [i % 3 == 0 for i in range(ROWS)]}
    return pl.DataFrame({name: column, **plain})


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ([2**64 - 1 - i * 7 for i in range(ROWS)], pl.UInt64, "key: [c]"),
        ([1e308 if i % 2 else -1e308 for i in range(ROWS)], pl.Float64, "c: {type: float64"),
        ([float("inf") if i % 9 == 0 else i / 7 for i in range(ROWS)], pl.Float64, "are infinite"),
        ([float("nan") if i % 9 == 0 else i / 7 for i in range(ROWS)], pl.Float64, "missing"),
        ([Decimal(i) / 100 for i in range(ROWS)], pl.Decimal(20, 2), "c: {type: float64"),
        ([date(1, 1, 1) + timedelta(days=i * 9_000) for i in range(ROWS)], pl.Date, "type: date"),
        ([FIRST + timedelta(hours=i) for i in range(ROWS)], pl.Datetime("ns"), "type: datetime"),
        ([FIRST.replace(tzinfo=UTC)] * ROWS, pl.Datetime("us", "UTC"), "- c   # always 2024-01-01"),
        ([timedelta(seconds=i) for i in range(ROWS)], pl.Duration, "no kind of value"),
        (
            [["a", "b", None, "b", "a"][i % 5] for i in range(ROWS)],
            pl.Categorical,
            "allowed: [a, b]",
        ),
        ([b"x"] * ROWS, pl.Binary, "no kind of value that a column can hold: Binary"),
        ([None] * ROWS, pl.Null, "- c   # always missing"),
        ([["", " ", "#", "null", "- x", ": y"][i % 6] for i in range(ROWS)], pl.String, '"#"'),
    ],
    ids=lambda given: str(given)[:24] if not isinstance(given, list) else "",
)
@pytest.mark.parametrize("name", ["c"])
def test_every_type_is_declared_so_that_its_rows_stay(
    tmp_path: Path, name: str, values: list[Any], kind: Any, says: str
) -> None:
    frame(name, values, kind).write_parquet(tmp_path / "rows.parquet")

    text = propose(Asked(tmp_path / "rows.parquet", "late"))["defs.yaml"]

    assert says in text
    table = TabularDeclaration.model_validate(yaml.safe_load(text)["attributes"]).tables["rows"]
    kept = clean(read_source(table.source, None, table=table, folder=tmp_path), table).counts
    assert (kept.cleaned, kept.rejected) == (ROWS, 0)


@pytest.mark.parametrize(
    "name",
    [
        "a:b",
        "a#b",
        "{{x}}",
        "年",
        "- x",
        "yes",
        "1.5",
        "a\nb",
        "$HOME",
        "&x",
        '"q"',
        "it's",
        "@",
        "'q'",
        "x;y",
        "$1",
        ":x",
        "@x",
    ],
)
def test_every_name_is_one_that_yaml_and_sql_read_back(tmp_path: Path, name: str) -> None:
    values = [i * 5 % 31 for i in range(ROWS)]
    frame(name, values, pl.Int64).write_parquet(tmp_path / "rows.parquet")

    files = propose(Asked(tmp_path / "rows.parquet", "late"))

    attributes = yaml.safe_load(files["defs.yaml"])["attributes"]
    assert list(attributes["tables"]["rows"]["columns"]) == [name, "size", "late"]
    import duckdb

    with duckdb.connect() as connection:
        given = frame(name, values, pl.Int64).with_row_index("_row_id")
        connection.register("request", given.to_arrow())
        assert pl.DataFrame(connection.sql(files["features.sql"])).columns[1] == name
    traced = column_lineage(files["features.sql"], {"request": ["_row_id", *given.columns[1:]]})
    assert traced == {name: [("request", name)], "size": [("request", "size")]}


@pytest.mark.parametrize("target", ["count", "rows", "value", "proportion", "n", "len"])
@pytest.mark.parametrize("values", [["a", "b", "b"], [1, 2, 4]], ids=["texts", "numbers"])
def test_a_target_may_be_called_as_what_is_counted(
    tmp_path: Path, target: str, values: list[Any]
) -> None:
    given = pl.DataFrame({"x": [i % 31 for i in range(ROWS)], target: values * (ROWS // 3)})
    given.write_csv(tmp_path / "rows.csv")

    attributes = yaml.safe_load(propose(Asked(tmp_path / "rows.csv", target))["defs.yaml"])
    declared = TabularDeclaration.model_validate(attributes["attributes"])

    assert declared.label.task == ("binary" if values[0] == "a" else "multiclass")
    assert declared.tables["rows"].columns[target].allowed == sorted(set(values))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([f"Mazda RX{i}" for i in range(ROWS)], "has no name"),
        ([f"person{i}@example.org" for i in range(ROWS)], "has no name"),
        ([str(i + 1) for i in range(ROWS)], "the row's number"),
    ],
    ids=["texts", "people", "numbers"],
)
def test_a_column_without_a_name_is_left_out(tmp_path: Path, names: list[str], reason: str) -> None:
    given = frame("", names, pl.String)
    given.write_csv(tmp_path / "rows.csv")

    text = propose(Asked(tmp_path / "rows.csv", "late"))["defs.yaml"]

    assert f'- ""   # {reason}' in text
    table = TabularDeclaration.model_validate(yaml.safe_load(text)["attributes"]).tables["rows"]
    assert table.key == [] and list(table.columns) == ["size", "late"]
    for wrong in (Asked(tmp_path / "rows.csv", ""), Asked(tmp_path / "rows.csv", "late", key=[""])):
        with pytest.raises(DataError, match=r"must (be a column|name columns) of .*, but got ''"):
            propose(wrong)


def test_a_few_numbers_with_a_fraction_make_a_column_of_numbers(tmp_path: Path) -> None:
    texts = [str(i % 20) for i in range(2_000)]
    years = ["12.5" if i == 700 else text for i, text in enumerate(texts)]
    size = ["unknown" if i == 700 else text for i, text in enumerate(texts)]
    late = [i % 3 == 0 for i in range(2_000)]
    pl.DataFrame({"years": years, "size": size, "late": late}).write_csv(tmp_path / "rows.csv")

    columns = yaml.safe_load(propose(Asked(tmp_path / "rows.csv", "late"))["defs.yaml"])[
        "attributes"
    ]["tables"]["rows"]["columns"]

    assert columns["years"]["type"] == "float64" and columns["years"]["nullable"] is False
    assert columns["size"]["type"] == "int64"  # a word among numbers: that row is rejected


def test_a_target_without_end_is_refused(tmp_path: Path) -> None:
    values = [float("inf") if i == 5 else i / 7 for i in range(ROWS)]
    frame("price", values, pl.Float64).write_parquet(tmp_path / "rows.parquet")

    with pytest.raises(DataError, match="'price' must be finite, but 1 values are infinite"):
        propose(Asked(tmp_path / "rows.parquet", "price"))


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_of_a_long_file_the_share_of_missing_values_is_that_of_all_rows(
    tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"long.{ending}"
    whole = pl.DataFrame({"n": range(20_000)}).with_columns(y=pl.col("n") % 3 == 0)
    whole = whole.select(pl.when(pl.col("n") % 4 > 0).then(pl.col("n") % 50).alias("x"), "y")
    whole.write_csv(file) if ending == "csv" else whole.write_parquet(file)

    text = propose(Asked(file, "y"), most=2_000)["defs.yaml"]

    assert "# 25.0% missing" in text


def test_a_column_called_as_one_of_the_training_set_is_a_feature_by_another_name(
    tmp_path: Path,
) -> None:
    there = {"label": [i % 7 for i in range(400)], "split": [i % 5 for i in range(400)]}
    given = pl.DataFrame({**there, "split_given": there["label"], "y": there["split"]})
    given = given.with_columns(y=(pl.col("label") * 31 + pl.col("split") * 17) % 11 > 5)
    given.write_csv(tmp_path / "rows.csv")

    sql = propose(Asked(tmp_path / "rows.csv", "y"))["features.sql"]

    assert "r.label AS label_given,\n    r.split AS split_given_,\n    r.split_given\n" in sql
