"""What is guessed of a file of rows, and what is said of one that cannot be used."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.profile.bounds import bounds
from ai_assets.lifecycle.profile.declare import Asked, propose
from ai_assets.lifecycle.profile.plans import families_of, search_of
from ai_assets.lifecycle.profile.sql_words import quoted, table_name

ROWS = 400


def customers(rows: int = ROWS) -> pl.DataFrame:
    """A table with a column of each use: key, person, leak, constant, gap, moment, class."""
    churned = (np.random.default_rng(7).random(rows) < 0.25).tolist()
    return pl.DataFrame(
        {
            "customer_id": [f"C{10_000 + 7 * i}" for i in range(rows)],
            "e-mail": [f"person{i}@example.org" for i in range(rows)],
            "Gender": ["female" if i % 3 else "male" for i in range(rows)],
            "Monatliche Gebühr": [str(round(20 + (i * 37 % 800) / 10, 2)) for i in range(rows)],
            "calls.total": ["?" if i % 50 == 7 else str(i * 13 % 40) for i in range(rows)],
            "zip": [f"0{1000 + i % 50}" for i in range(rows)],
            "plan": [("basic", "No", "plus")[i * 7 % 3] for i in range(rows)],
            "country": ["SE"] * rows,
            "cancel_reason": ["moved" if c else "" for c in churned],
            "churned": ["Yes" if c else "No" for c in churned],
        }
    )


EXPECTED = """\
# Written from customers.csv: all 400 rows, 10 columns.
# Read with care: its fields are split by semicolon.
# Comments say why. Yours to add: descriptions, units, and what you know better.
type: ai_assets.components.TabularProduct
attributes:
  description: What is churned of a row of customers?
  owners: []   # e-mail addresses, or team:<name>
  request: customers
  tables:
    customers:
      description: A row of customers.csv.
      source: {csv: "FILE", delimiter: ";", null_values: ["", NA, "?"]}   # words that stand for missing among numbers
      key: [customer_id]   # every row has its own
      columns:
        customer_id: {type: string}   # every row has its own
        e-mail: {type: string, personal: true, known_at: "NULL"}   # an e-mail address, 100% of the values look so: neither asked nor learned from
        Gender: {type: string, allowed: [female, male], nullable: false, example: female, sensitive: true}   # a group of people
        Monatliche Gebühr: {type: float64, min: 0, max: 140, nullable: false, example: 58.9}
        calls.total: {type: int64, min: 0, max: 60, example: 20}   # 2.0% missing
        zip: {type: string, nullable: false, example: "01000"}
        plan: {type: string, allowed: ["No", basic, plus], nullable: false, example: basic}
        churned: {type: string, allowed: ["No", "Yes"], known_at: "NULL"}   # what is predicted: not known when somebody asks
      ignore:
        - country   # always SE
        - cancel_reason   # too good to be true: alone it tells churned with a ROC-AUC of 1.000
  label: {task: binary, sql: "churned = 'Yes'", positive: "Yes", negative: "No"}   # two values, yes and no: Yes in 26.8% of the rows
  training:
    families: [linear, lightgbm, extra_trees]   # 400 rows are few for mlp
    metric: log_loss   # judges the probability, not only the answer
    tune: {trials: 8, folds: 5, space: wide}   # each row is held out once
    refit: full   # judged without the test rows, served with them
  slices: [Gender]   # judged group by group
  gate: {min: {roc_auc: 0.55}}   # hardly better than chance is not released; raise it
"""  # noqa: E501
QUERY = """\
-- What models see of a row. One DuckDB SELECT from `request`; other tables may be joined.
-- The same text runs over the past and in the server.
SELECT
    r._row_id,
    r.Gender,
    r."Monatliche Gebühr",
    r."calls.total",
    r.zip,
    r.plan
FROM request AS r
"""


def declared(text: str) -> TabularDeclaration:
    """The declaration as the component reads it."""
    return TabularDeclaration.model_validate(yaml.safe_load(text)["attributes"])


def of(frame: pl.DataFrame, tmp_path: Path, target: str, **asked: object) -> dict[str, str]:
    file = tmp_path / "rows.csv"
    frame.write_csv(file)
    return propose(Asked(file, target, **asked))  # type: ignore[arg-type]


def test_a_table_is_declared_as_an_engineer_would(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    customers().write_csv(file, separator=";")

    files = propose(Asked(file, "churned"))

    assert files["defs.yaml"] == EXPECTED.replace("FILE", str(file))
    assert files["features.sql"] == QUERY
    assert declared(files["defs.yaml"]).answers == ("No", "Yes")


def test_a_file_in_another_encoding_is_read_and_declared_so(tmp_path: Path) -> None:
    file = tmp_path / "alt.csv"
    file.write_bytes(customers().write_csv().encode("cp1252"))

    text = propose(Asked(file, "churned"))["defs.yaml"]

    assert f'source: {{csv: "{file}", encoding: cp1252, null_values:' in text
    assert "Monatliche Gebühr: {type: float64" in text


def test_numbers_of_few_values_are_classes_and_rare_ones_are_not_learned(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [i % 7 for i in range(303)], "stars": [1, 2, 3] * 100 + [4] * 3})

    label = declared(of(frame, tmp_path, "stars")["defs.yaml"]).label

    assert (label.task, label.classes) == ("multiclass", ["1", "2", "3"])
    assert label.sql == "CASE WHEN stars IN (1, 2, 3) THEN stars END"


def test_who_somebody_is_does_not_name_a_row(tmp_path: Path) -> None:
    frame = customers().drop("customer_id", "cancel_reason")

    text = of(frame, tmp_path, "churned")["defs.yaml"]

    assert declared(text).tables["rows"].key == []
    assert declared(text).tables["rows"].columns["e-mail"].known_at == "NULL"


def test_a_row_number_is_left_out_and_without_a_key_the_content_tells_rows_apart(
    tmp_path: Path,
) -> None:
    frame = pl.DataFrame({"rownames": range(1, 101), "x": [i % 9 for i in range(100)]})
    frame = frame.with_columns(y=pl.col("x") * pl.col("rownames") % 7 > 3)

    text = of(frame, tmp_path, "y")["defs.yaml"]

    assert "- rownames   # the row's number" in text
    assert "# no key: no column tells the rows apart" in text
    assert declared(text).tables["rows"].key == []
    assert declared(text).label.sql == "y"


def test_time_that_spans_months_cuts_the_product_and_dates_become_days(tmp_path: Path) -> None:
    days = pl.date_range(pl.date(2024, 1, 3), pl.date(2024, 12, 31), "1d", eager=True)
    frame = pl.DataFrame({"created_at": [d for d in days for _ in range(10)]}).with_columns(
        born=pl.col("created_at") - pl.duration(days=9000),
        x=pl.int_range(pl.len()) % 17,
        late=pl.int_range(pl.len()) % 5 == 0,
    )

    files = of(frame, tmp_path, "late")
    product = declared(files["defs.yaml"])

    assert product.partitions is not None
    assert product.partitions.every == "month"
    assert (str(product.partitions.start), str(product.partitions.end)) == (
        "2024-01-01",
        "2025-01-01",
    )
    assert (product.tables["rows"].time, product.training.window) == ("created_at", 12)
    assert (
        "(epoch(r.created_at) - epoch(r.born)) / 86400 AS born_days_before" in files["features.sql"]
    )
    assert "isodow(r.created_at) AS created_at_isodow" in files["features.sql"]


def test_a_date_that_is_no_moment_of_the_row_is_a_column_like_others(tmp_path: Path) -> None:
    days = pl.date_range(pl.date(2019, 1, 1), pl.date(2023, 12, 20), "1d", eager=True)
    frame = pl.DataFrame({"since when": days}).with_columns(
        x=pl.int_range(pl.len()) % 17, late=pl.int_range(pl.len()) % 5 == 0
    )

    files = of(frame, tmp_path, "late")

    assert declared(files["defs.yaml"]).tables["rows"].time is None
    assert 'epoch(r."since when") / 86400 - 10957 AS "since when_days"' in files["features.sql"]


def test_of_a_long_file_a_sample_is_read_and_whole_columns_give_the_ranges(tmp_path: Path) -> None:
    file = tmp_path / "long.parquet"
    rows = 20_000
    frame = pl.DataFrame({"id": range(rows)}).with_columns(
        x=pl.when(pl.col("id") == 7).then(9_000).otherwise(pl.col("id") % 50),
        word=pl.when(pl.col("id") == 11).then(pl.lit("rare")).otherwise(pl.lit("usual")),
        y=pl.col("id") % 3 == 0,
    )
    frame.write_parquet(file)

    text = propose(Asked(file, "y"), most=2_000)["defs.yaml"]

    assert text.startswith("# Written from long.parquet: a sample of 2,000 of 20,000 rows")
    assert declared(text).tables["long"].key == ["id"]
    assert (declared(text).tables["long"].columns["x"].max or 0) > 9_000


def test_a_sample_of_a_long_csv_file_is_not_misled_by_a_pattern(tmp_path: Path) -> None:
    frame = pl.DataFrame({"turn": ["left", "right"] * 2_000, "x": range(4_000)})
    frame = frame.with_columns(y=pl.col("x") % 7 < 3, x=pl.col("x") % 31)
    file = tmp_path / "turns.csv"
    frame.write_csv(file)

    text = propose(Asked(file, "y"), most=1_000)["defs.yaml"]

    assert "turn: {type: string, allowed: [left, right], nullable: false" in text
    assert text.startswith("# Written from turns.csv: a sample of 1,001 of 4,000 rows")


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(3):
        frame = pl.DataFrame({"x": range(100), "y": [i % 2 for i in range(100)]})
        frame.write_parquet(folder / f"{part}.parquet")

    text = propose(Asked(folder, "y"))["defs.yaml"]

    assert "all 300 rows" in text and f'source: {{parquet: "{folder}/*.parquet"}}' in text


@pytest.mark.parametrize(
    ("low", "high", "whole", "name", "expected"),
    [
        (0.2, 0.9, False, "share", (0, 1)),
        (2, 11, True, "start_month", (1, 12)),
        (-3, 40, True, "x", (-30, 70)),
        (1990, 2015, True, "year", (1970, 2030)),
        (5.0, 5.0, False, "x", (0, 8)),
    ],
)
def test_ranges_leave_room(low, high, whole, name, expected) -> None:
    assert bounds(low, high, whole=whole, name=name) == expected


GOOD = "a,b\n" + "".join(f"{i},{i % 2}\n" for i in range(100))


@pytest.mark.parametrize(
    ("name", "content", "target", "says"),
    [
        ("a.csv", b"", "b", "must have a header line and rows, but it is empty"),
        ("a.csv", b"a,b\n", "b", "must have rows below its header, but it has none"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "b", "the 2 fields of its header, but line 3 has 3"),
        ("a.csv", b"a,b\n1,2\n1\n", "b", "the 2 fields of its header, but line 3 has 1"),
        ("a.csv", b"a^b\n1^2\n", "b", "must name two or more columns, split by one of comma"),
        ("a.csv", b"a,b,a\n1,2,3\n", "b", "'a' is there twice (columns 1 and 3)"),
        ("a.csv", b"Age,b,age\n1,2,3\n", "b", "beside 'Age', which SQL takes for the same"),
        ("a.csv", b"a,b\n\x00\x01,2\n", "b", "must be text, but it holds bytes that no text has"),
        ("a.csv", b"\xff\xfea\x00,\x00b", "b", "must be text in a known encoding"),
        ("a.csv", GOOD.encode(), "bb", "must be a column of"),
        ("a.csv", b"a,b\n1,\n2,\n3,NA\n", "b", "all of them are missing"),
        ("a.csv", b"a,b\n1,x\n2,x\n", "b", "all 2 rows that have one say 'x'"),
        ("a.csv", GOOD.replace("a,", "_row_id,", 1).encode(), "b", "must not be named _row_id"),
        ("a.csv", GOOD.replace("a,", "known_at,", 1).encode(), "b", "must not be named known_at"),
        ("a.xlsx", b"PK", "b", "The suffix of --data must be one of '.csv'"),
        ("a.parquet", b"PAR1", "b", "must be complete Parquet"),
        ("a.csv", b"a,b\n" + b"".join(b"k,n%d\n" % i for i in range(90)), "b", "an identifier?"),
        ("a.csv", b"a,b\n" + b"".join(b"k,n%d\n" % (i % 2) for i in range(90)), "b", "a: always k"),
    ],
)
def test_a_wrong_start_is_told_in_words(tmp_path: Path, name, content, target, says) -> None:
    file = tmp_path / name
    file.write_bytes(content)

    with pytest.raises(DataError) as raised:
        propose(Asked(file, target))

    assert says in str(raised.value)


def test_a_ragged_line_far_down_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(GOOD.replace("a,b\n", "a,b\n" + "1,0\n" * 3000) + "1,2,3\n", encoding="utf-8")

    with pytest.raises(DataError, match="but line 3102 has 3"):
        propose(Asked(file, "b"))


def test_a_missing_file_target_or_key_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(GOOD, encoding="utf-8")

    for asked, near in [
        (Asked(tmp_path / "row.csv", "b"), "Did you mean 'rows.csv'?"),
        (Asked(tmp_path / "rows.csv", "B"), "Did you mean 'b'?"),
        (Asked(tmp_path / "rows.csv", "b", ["A"]), "--key must name columns of"),
        (Asked(tmp_path / "rows.csv", "b", time="a"), "--time must name a column of dates"),
    ]:
        with pytest.raises(DataError) as raised:
            propose(asked)
        assert near in str(raised.value)


def test_a_target_of_many_numbers_is_a_regression(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 7},{(i * 37) % 90 / 2}\n" for i in range(300))
    (tmp_path / "a.csv").write_text("number,size,price\n" + rows, encoding="utf-8")
    text = propose(Asked(tmp_path / "a.csv", "price"))["defs.yaml"]
    assert "task: regression" in text and "metric: rmse" in text
    assert declared(text).gate.min == {"r2": 0.0}


def test_names_that_sql_keeps_for_itself_are_quoted_and_others_are_not() -> None:
    words = ("order", "ANTI", "pivot_longer", "varchar", "current_date", "grant", "Große", "a b")
    assert [quoted(word) for word in words] == [f'"{word}"' for word in words]
    plain = ("year", "type", "user_id", "Gender", "date", "value")
    assert [quoted(word) for word in plain] == list(plain)
    names = {"Select": "select_rows", "request": "request_rows", "Kunden 2024": "kunden_2024"}
    names |= {"2024 sales": "t_2024_sales", "年": "data_rows", "orders": "orders"}
    assert {name: table_name(name) for name in names} == names


@pytest.mark.parametrize(("rarest", "closed"), [(9, False), (10, True)])
def test_words_are_all_there_are_only_where_none_is_rare(
    tmp_path: Path, rarest: int, closed: bool
) -> None:
    frame = pl.DataFrame(
        {
            "heating": ["gas"] * (200 - rarest) + ["wall"] * rarest,
            "price": [float(i * 37 % 200) + 0.5 for i in range(200)],
        }
    )

    table = declared(of(frame, tmp_path, "price")["defs.yaml"]).tables["rows"]

    assert table.columns["heating"].allowed == (["gas", "wall"] if closed else None)


@pytest.mark.parametrize(
    ("rows", "columns", "outputs", "drifts", "search"),
    [
        (400, 9, 1, False, {"trials": 8, "folds": 5, "space": "wide"}),
        (400, 9, 1, True, {"trials": 10, "folds": 5, "rule": "clearly_better"}),
        (7_000, 19, 1, False, {"trials": 6, "folds": 2, "space": "wide"}),
        (20_000, 12, 1, False, {"trials": 6, "folds": 2, "space": "wide"}),
        (20_000, 12, 9, False, {"trials": 3, "folds": 2, "space": "wide"}),
        (1_500, 1_999, 1, False, {"trials": 3, "folds": 2, "space": "wide"}),
        (20_000, 12, 1, True, {"trials": 6, "folds": 2}),
        (200_000, 30, 1, True, {"trials": 3, "folds": 2}),
        (2_000_000, 30, 1, False, {"trials": 5, "folds": 1, "space": "wide"}),
    ],
)
def test_the_search_suits_size_and_time(rows, columns, outputs, drifts, search) -> None:
    assert search_of(rows, columns, outputs, drifts)["tune"][0] == search


@pytest.mark.parametrize(
    ("rows", "columns", "drifts", "why"),
    [
        (1_500, 9, False, "each row is held out once"),
        (1_500, 1_999, False, "few, for each takes long on so many values"),
        (900, 9, True, "few rows favour luck"),
        (900, 1_999, True, "few, for each takes long on so many values"),
        (2_000_000, 30, False, "one fold of so many rows tells enough"),
    ],
)
def test_the_reason_beside_a_search_is_that_of_what_is_written(rows, columns, drifts, why) -> None:
    assert search_of(rows, columns, 1, drifts)["tune"][1] == why


@pytest.mark.parametrize(
    ("rows", "columns", "outputs", "drifts", "families"),
    [
        (7_000, 19, 1, False, ["linear", "lightgbm", "extra_trees"]),
        (20_000, 12, 1, False, ["linear", "lightgbm", "extra_trees", "mlp"]),
        (20_000, 12, 9, False, ["linear", "lightgbm", "mlp"]),
        (1_500, 1_999, 1, False, ["linear", "lightgbm"]),
        (20_000, 12, 1, True, ["linear", "lightgbm", "mlp"]),
        (2_000_000, 30, 1, False, ["linear", "lightgbm"]),
    ],
)
def test_the_families_suit_size_and_time(rows, columns, outputs, drifts, families) -> None:
    found, reason = families_of(rows, columns, outputs, drifts)["families"]
    assert found == families
    costly = not drifts and rows * columns * outputs > 1_200_000
    assert ("extra_trees would take as long" in reason) == costly


def test_many_classes_of_many_rows_are_searched_less(tmp_path: Path) -> None:
    kinds = pl.Series([i * 7919 % 9973 % 9 for i in range(12_000)])
    columns = {f"x{n}": [i % (7 + n) for i in range(12_000)] for n in range(15)}
    nine = pl.DataFrame({**columns, "kind": "kind " + kinds.cast(str)})
    two = nine.with_columns(kind=kinds > 4)

    searches = {
        len(found.answers): found.training.tune.trials
        for found in (declared(of(frame, tmp_path, "kind")["defs.yaml"]) for frame in (nine, two))
    }

    assert searches == {9: 3, 2: 6}
