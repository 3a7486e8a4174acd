"""A query that only hands columns on is answered without a database, and exactly as by one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.hoist import hoist
from ai_assets.lifecycle.features.passed_query import PassedStatement
from ai_assets.lifecycle.features.prepared import PreparedQuery
from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.schema.tables import Table

SQL = (
    'SELECT r._row_id, r.fee, r."Tarif (neu)" AS tariff, r.calls, r.since, r.old FROM request AS r'
)
SPEC = Table(
    source={"csv": "x.csv"},
    key=["number"],
    columns={
        "number": {"type": "int64"},
        "fee": {"type": "float64"},
        "Tarif (neu)": {"type": "string"},
        "calls": {"type": "int64"},
        "since": {"type": "datetime"},
        "old": {"type": "bool"},
    },
)
TERMS: dict[str, Any] = {
    "specs": {"customers": SPEC}, "request_table": "customers", "horizon": timedelta(0),
}  # fmt: skip


def rows(count: int = 3) -> pl.DataFrame:
    """With missing, infinite and odd values."""
    numbers = range(count)
    return pl.DataFrame(
        {
            "_row_id": [7 * n for n in numbers],
            "number": list(numbers),
            "fee": [[0.5, None, float("inf")][n % 3] for n in numbers],
            "Tarif (neu)": [["klein", "größer", None][n % 3] for n in numbers],
            "calls": [[2**53 + 1, -1, None][n % 3] for n in numbers],
            "since": [datetime(1960 + n, 1, 2, 3, 4, 5, 678901, tzinfo=UTC) for n in numbers],
            "old": [[True, False, None][n % 3] for n in numbers],
        },
        schema_overrides={"since": pl.Datetime("us", "UTC"), "calls": pl.Int64},
    )


def prepared(sql: str = SQL) -> PreparedQuery:
    return PreparedQuery(sql, {}, **TERMS)


def without_database(query: PreparedQuery) -> bool:
    return isinstance(query._snapshot.ready, PassedStatement)


@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_the_features_are_those_of_the_database(count: int) -> None:
    query, given = prepared(), rows(count)

    found = query.run(given)

    assert without_database(query)
    assert found.equals(run_features(SQL, given, {}, **TERMS))
    assert found.columns == ["_row_id", "fee", "tariff", "calls", "since", "old"]


@pytest.mark.parametrize("count", [1, 3, 200])
def test_the_matrix_is_the_one_of_the_frame(count: int) -> None:
    query = prepared(SQL.replace(" r.since,", ""))
    given = rows(count)
    learned = query.run(rows(30)).with_columns(pl.col("fee").replace(float("inf"), 9.0))
    encoding = Encoding.fit(learned)

    matrix = query.encoded(given, encoding)

    assert without_database(query)
    expected = encoding.transform(query.run(given))
    assert matrix.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize(
    ("sql", "passed"),
    [
        ("SELECT _row_id, fee FROM request", (("_row_id", "_row_id"), ("fee", "fee"))),
        ("SELECT r.calls, r.fee AS price FROM request r", (("calls", "calls"), ("fee", "price"))),
        ("SELECT request.fee FROM request", (("fee", "fee"),)),
        ("SELECT * FROM request", ()),
        ("SELECT r.* FROM request AS r", ()),
        ("SELECT r.fee + 1 AS fee FROM request AS r", ()),
        ("SELECT r.fee, r.calls AS FEE FROM request AS r", ()),
        ("SELECT fee FROM request WHERE fee > 1", ()),
        ("SELECT fee FROM request ORDER BY fee", ()),
        ("SELECT DISTINCT fee FROM request", ()),
        ("SELECT fee FROM request LIMIT 1", ()),
        ("SELECT fee FROM request USING SAMPLE 1", ()),
        ("SELECT fee FROM request TABLESAMPLE 10%", ()),
        ("SELECT fee FROM other.request", ()),
        ("SELECT fee FROM customers", ()),
        ("SELECT a FROM request AS r(a)", ()),
        ("SELECT s.fee FROM request AS r", ()),
        ("SELECT r.fee FROM request AS r, customers AS c", ()),
        ("SELECT fee FROM request UNION ALL SELECT fee FROM request", ()),
        ("WITH r AS (SELECT fee FROM request) SELECT fee FROM r", ()),
    ],
)  # fmt: skip
def test_only_what_hands_columns_on_is_passed(sql: str, passed: object) -> None:
    assert hoist(sql).passed == passed


def test_a_name_in_other_letters_is_left_to_the_database() -> None:
    query = prepared("SELECT r._row_id, r.FEE FROM request AS r")

    found = query.run(rows())

    assert not without_database(query)
    assert found.equals(
        run_features("SELECT r._row_id, r.FEE FROM request AS r", rows(), {}, **TERMS)
    )


def test_a_column_that_is_not_there_is_told_by_the_database() -> None:
    with pytest.raises(DeclarationError, match="fees"):
        prepared("SELECT r._row_id, r.fees FROM request AS r").run(rows())
