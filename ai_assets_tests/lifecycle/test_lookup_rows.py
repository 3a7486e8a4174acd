"""Rows keep their place from the request to the matrix, or the query stays one with joins."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.hoist import hoist
from ai_assets.lifecycle.features.moments import RequestMoments, with_moments
from ai_assets.lifecycle.features.prepared import PreparedQuery
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets_tests.lifecycle.feature_worlds import HORIZON, NAMES, SPECS, tables, trips
from ai_assets_tests.lifecycle.test_lookups import both

ASKED = "WITH asked AS ({asked}) SELECT r._row_id, w.temp FROM asked AS r "
NEAREST = "ASOF LEFT JOIN weather AS w ON w.known_at <= r.prediction_time"
MANY = """
WITH places AS (
    SELECT place, count(*) AS n, avg(hour(due)) AS mean, upper(place) AS name
    FROM trips WHERE place <> 'c' GROUP BY ALL
)
SELECT r._row_id, r.place, p.n, w.temp, p.n > 3 AS busy, p.name, p.mean * w.temp AS product,
       r.place || 'x' AS suffixed, hour(r.due)::TINYINT AS hour
FROM request AS r LEFT JOIN places AS p ON p.place = r.place
ASOF LEFT JOIN weather AS w ON w.known_at <= r.prediction_time
"""


def payload() -> pl.DataFrame:
    """The trips as a server gets them: the declared columns that are known, and row numbers."""
    rows = trips().select("due", "place").head(9)
    return rows.with_columns(pl.int_range(9, dtype=pl.Int64).alias("_row_id"))


def query(sql: str) -> PreparedQuery:
    return PreparedQuery(sql, {**tables(), "trips": trips()}, **NAMES)


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT * FROM request",
        "SELECT *, hour(due) AS h FROM request AS q",
        "SELECT _row_id, prediction_time FROM request",
        "SELECT q.* EXCLUDE (place) FROM request AS q",
    ],
)
def test_rows_that_are_computed_one_from_one_are_looked_up(asked):
    _, prepared = both(ASKED.format(asked=asked) + NEAREST)
    assert prepared.looks_up


def test_columns_that_are_named_in_two_steps_are_looked_up():
    sql = ASKED.format(asked="SELECT _row_id, prediction_time AS p FROM request").replace(
        " SELECT r.", ", more AS (SELECT _row_id, p AS prediction_time FROM asked) SELECT r."
    )
    _, prepared = both(sql.replace("asked AS r", "more AS r") + NEAREST)
    assert prepared.looks_up


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT *, row_number() OVER (ORDER BY place) AS n FROM request",
        "SELECT * FROM request WHERE _row_id >= 0",
        "SELECT DISTINCT * FROM request",
        "SELECT * FROM request ORDER BY place",
        "SELECT _row_id, max(prediction_time) AS prediction_time FROM request GROUP BY _row_id",
        "SELECT *, unnest([1]) AS one FROM request",
        "SELECT *, generate_subscripts([1], 1) AS one FROM request",
        "SELECT request.* FROM request, (SELECT 1) AS one",
        "SELECT * FROM (FROM request)",
        "FROM request UNION ALL SELECT * FROM request WHERE _row_id < 0",
    ],
)
def test_rows_that_may_change_places_or_number_stay_joined(asked):
    sql = ASKED.format(asked=asked) + NEAREST
    assert hoist(sql).quick is None
    both(sql)


def test_an_aggregate_that_only_duckdb_knows_is_no_row_by_row():
    asked = (
        "SELECT fsum(_row_id)::BIGINT AS _row_id, "
        "make_timestamptz(favg(epoch_us(prediction_time))::BIGINT) AS prediction_time FROM request"
    )
    sql = ASKED.format(asked=asked) + NEAREST
    assert hoist(sql).quick is not None
    _, prepared = both(sql, trips().head(1))
    assert not prepared.looks_up


def test_a_request_with_a_column_of_the_name_that_lookups_use_stays_joined():
    prepared = query(ASKED.format(asked="SELECT * FROM request") + NEAREST)
    named = payload().with_columns(pl.lit(1).alias("_found"))
    assert prepared.run(named).equals(prepared.run(payload()))


@pytest.mark.parametrize("key", ["'infinity'", "'-infinity'", "NULL"])
@pytest.mark.parametrize("comparison", ["<=", ">="])
def test_keys_without_end_find_what_joins_find(key, comparison):
    asked = (
        f"SELECT *, CASE WHEN place = 'a' THEN {key}::TIMESTAMPTZ ELSE due END AS k FROM request"
    )
    sql = ASKED.format(asked=asked) + f"ASOF LEFT JOIN weather AS w ON w.known_at {comparison} r.k"
    _, prepared = both(sql)
    assert prepared.looks_up


def test_days_are_keys():
    sql = (
        "WITH days AS (SELECT due::DATE AS day, count(*) AS n FROM trips GROUP BY ALL) "
        "SELECT r._row_id, d.n FROM request AS r "
        "LEFT JOIN days AS d ON d.day = r.prediction_time::DATE"
    )
    answers, prepared = both(sql)
    assert prepared.looks_up
    assert answers["n"].null_count() == 2


def test_the_matrix_is_that_of_the_features():
    prepared = query(MANY)
    encoding = Encoding.fit(prepared.run(payload()))
    assert {c.kind for c in encoding.columns} == {"numeric", "categorical"}
    for rows in (payload(), payload().head(1), payload().head(0), trips(), trips().drop("delay")):
        expected = encoding.transform(prepared.run(rows))
        found = prepared.encoded(rows, encoding)
        assert prepared.looks_up
        assert found.flags.c_contiguous and found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    assert np.isnan(found[:, encoding.names.index("n")]).any()


@pytest.mark.parametrize(
    "change",
    [
        ("hour(r.due)::TINYINT", "hour(r.due)::DECIMAL(9, 2)"),  # no plain value
        ("SELECT r._row_id, r.place", "SELECT r.place, r._row_id"),  # not the first column
        ("ON w.known_at", "ON r._row_id >= 0 AND w.known_at"),  # a join that stays
    ],
)
def test_the_matrix_of_a_query_that_is_not_that_simple_is_made_of_its_features(change):
    prepared = query(MANY.replace(*change))
    encoding = Encoding.fit(prepared.run(payload()))
    found = prepared.encoded(payload(), encoding)
    np.testing.assert_array_equal(found, encoding.transform(prepared.run(payload())))


def test_rows_that_come_out_in_another_order_are_put_in_theirs():
    prepared = query(MANY.replace("r._row_id,", "8 - r._row_id AS _row_id,", 1))
    encoding = Encoding.fit(prepared.run(payload()))
    found = prepared.encoded(payload(), encoding)
    np.testing.assert_array_equal(found, encoding.transform(prepared.run(payload())))


def test_a_feature_that_the_query_lacks_is_named():
    encoding = Encoding((EncodedColumn("wind", "numeric"),))
    with pytest.raises(DataError, match="feature 'wind' is missing"):
        query(MANY).encoded(payload(), encoding)


def test_the_moments_of_a_request_are_those_that_any_table_gets():
    moments = RequestMoments(SPECS["trips"], HORIZON, payload()["_row_id"])
    for rows in (payload(), payload().head(0), payload().head(1)):
        expected = with_moments(rows, SPECS["trips"], is_request=True, horizon=HORIZON)
        assert moments.take(rows)
        assert moments.of(rows).equals(expected)
        assert moments.of(rows).schema == expected.schema == moments.schema
    assert moments.of(payload())["prediction_time"][0] == payload()["due"][0] - timedelta(hours=2)


def test_a_request_of_another_shape_gets_its_moments_as_any_table_does():
    spec = SPECS["trips"]
    moments = RequestMoments(spec, HORIZON, payload()["_row_id"])
    assert not moments.take(trips())
    assert not moments.take(payload().with_columns(pl.col("_row_id").cast(pl.Int32)))
    assert not moments.take(payload().select("place", "due", "_row_id"))
    told = Table(**{**spec.model_dump(), "known_at": "due"})
    assert not RequestMoments(told, HORIZON, payload()["_row_id"]).take(payload())
    timeless = Table(source=spec.source, columns={"place": Column(type="string")}, key=["place"])
    rows = payload().select("place", "_row_id")
    assert not RequestMoments(timeless, HORIZON, rows["_row_id"]).take(rows)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("x", [1, None, 2**60 + 1], pl.Int64),
        pl.Series("x", [0.1, None, float("nan"), 1e300, -float("inf")], pl.Float64),
        pl.Series("x", [True, None, False], pl.Boolean),
        pl.Series("x", ["a", None, "b", "z"], pl.String),
    ],
)
def test_plain_values_are_encoded_as_a_series_is(values):
    text = values.dtype == pl.String
    column = EncodedColumn("x", "categorical" if text else "numeric", ("a", "b") if text else ())
    assert column.takes_plain(values.dtype)
    np.testing.assert_array_equal(column.encode_plain(values.to_list()), column.encode(values))


def test_values_that_are_not_plain_are_not_taken_as_such():
    assert not EncodedColumn("x", "numeric").takes_plain(pl.String())
    assert not EncodedColumn("x", "categorical", ("1",)).takes_plain(pl.Int64())
    assert not EncodedColumn("x", "numeric").takes_plain(None)
