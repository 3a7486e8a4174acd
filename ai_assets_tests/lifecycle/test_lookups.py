"""Joins that are lookups give what the joins give, and whatever is not certain stays a join."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.features.hoist import hoist
from ai_assets.lifecycle.features.lookup_index import Index, NoIndexError
from ai_assets.lifecycle.features.prepared import PreparedQuery
from ai_assets.lifecycle.features.query import run_features
from ai_assets_tests.lifecycle.feature_worlds import NAMES, START, tables, trips

PLACES = """
WITH places AS (
    SELECT place, date_trunc('day', due) AS day, count(*) AS n, avg(hour(due)) AS mean
    FROM trips WHERE hour(due) > 3 GROUP BY ALL
),
asked AS (SELECT *, date_trunc('day', prediction_time) AS day FROM request)
SELECT r._row_id, p.n AS trips, p.n + 1 AS more, r.place, p.mean, upper(p.place) AS shouted
FROM asked AS r LEFT JOIN places AS p ON (p.place = r.place AND r.day = p.day)
"""
NEAREST = """
WITH observed AS (SELECT known_at, temp FROM weather WHERE temp::BIGINT % 3 <> 0)
SELECT r._row_id, w.temp AS temp, coalesce(w.temp, -1) AS filled
FROM request AS r ASOF LEFT JOIN observed AS w ON {condition}
"""
ONE = "SELECT r._row_id, p.n FROM request AS r "


def both(sql: str, request: pl.DataFrame | None = None) -> tuple[pl.DataFrame, PreparedQuery]:
    """The answer of the prepared query, after a comparison with that of offline; twice."""
    request = trips() if request is None else request
    history = {**tables(), "trips": trips()}
    offline = run_features(sql, request, history, **NAMES)
    query = PreparedQuery(sql, history, **NAMES)
    payload = request.drop("delay")
    assert query.run(payload).equals(offline)
    assert query.run(payload).equals(offline)
    return offline, query


def test_a_join_on_equal_keys_is_looked_up():
    answers, query = both(PLACES)
    assert query.looks_up
    assert answers.columns == ["_row_id", "trips", "more", "place", "mean", "shouted"]
    assert answers["trips"].null_count() == answers["shouted"].null_count() > 0


@pytest.mark.parametrize(
    "condition",
    [
        "w.known_at <= r.prediction_time",
        "w.known_at < r.prediction_time",
        "w.known_at >= r.prediction_time",
        "w.known_at > r.prediction_time",
        "r.prediction_time > w.known_at",
        "r.due + INTERVAL 30 MINUTE <= w.known_at",
    ],
)
def test_an_asof_join_is_looked_up(condition):
    answers, query = both(NEAREST.format(condition=condition))
    assert query.looks_up
    assert answers["temp"].n_unique() > 20


def test_keys_that_are_null_find_nothing():
    nowhere = trips().with_columns(pl.lit(None, pl.String).alias("place"))
    answers, query = both(PLACES, nowhere)
    assert query.looks_up
    assert answers["trips"].null_count() == answers.height


def test_what_is_no_lookup_stays_a_join_beside_those_that_are():
    sql = PLACES.replace("r.place, p.mean", "r.place, h.late, p.mean") + (
        "LEFT JOIN (SELECT place, max(hour(due)) AS late FROM trips GROUP BY place) AS h "
        "ON h.place = r.place AND h.late > p.n WHERE r._row_id >= 0"
    )
    answers, query = both(sql)
    assert query.looks_up
    assert 0 < answers["late"].null_count() < answers.height
    assert "JOIN" in hoist(sql).quick.query


@pytest.mark.parametrize(
    "states",
    [
        "SELECT DISTINCT 0::DOUBLE AS k, 1 AS n FROM trips",  # a key that is no whole number
        "SELECT DISTINCT 0::INTEGER AS k, 1 AS n FROM trips",  # compared with another type
    ],
)
def test_keys_that_python_might_compare_in_another_way_stay_joins(states):
    sql = f"WITH p AS ({states}) {ONE} LEFT JOIN p ON p.k = r._row_id"
    assert hoist(sql).quick is not None
    assert not both(sql)[1].looks_up


def test_a_table_that_repeats_a_key_stays_a_join():
    sql = (
        "WITH p AS (SELECT place AS k, 1 AS n FROM trips UNION ALL SELECT 'z', 2) "
        f"{ONE} LEFT JOIN p ON p.k = r.place || 'z'"
    )
    assert hoist(sql).quick is not None
    assert not both(sql)[1].looks_up


@pytest.mark.parametrize(
    "query",
    [
        ONE + "LEFT JOIN p ON p.place = r.place AND p.n > 1",
        ONE + "LEFT JOIN p ON p.place <> r.place",
        ONE + "LEFT JOIN p USING (place)",
        ONE + "JOIN p ON p.place = r.place",
        ONE + "RIGHT JOIN p ON p.place = r.place",
        ONE + "LEFT JOIN request AS p ON p.place = r.place",
        ONE + "LEFT JOIN main.p ON p.place = r.place",
        ONE + "LEFT JOIN p ON p.place = r.place LIMIT 3",
        ONE.replace("p.n", "n") + "LEFT JOIN p ON p.place = r.place",
        ONE.replace("p.n", "p.*") + "LEFT JOIN p ON p.place = r.place",
        ONE.replace("p.n", "max(p.n)") + "LEFT JOIN p ON p.place = r.place GROUP BY 1",
        ONE.replace("p.n", "lag(p.n) OVER ()") + "LEFT JOIN p ON p.place = r.place",
        ONE.replace("p.n", "(SELECT p.n)") + "LEFT JOIN p ON p.place = r.place",
        "SELECT 1 AS one",
    ],
)
def test_a_query_of_another_shape_is_left_as_it_is(query):
    assert hoist(query).quick is None
    assert hoist(ONE + "LEFT JOIN p ON p.place = r.place").quick is not None


def test_a_request_with_other_columns_is_prepared_for_anew():
    _, query = both(PLACES)
    answers = query.run(trips().with_columns(pl.lit(1.5).alias("weight")))
    assert answers.equals(query.run(trips()))


def test_no_row_gives_no_row():
    _, query = both(PLACES)
    assert query.run(trips().head(0)).schema == query.run(trips()).schema


def test_an_index_says_where_it_finds_nothing_and_refuses_what_is_not_unique():
    index = Index([["a", None, "b"], [1, 1, 2]], None)
    assert index.places([["b", "a", None], [2, 2, 1]]) == [2, 3, 3]
    with pytest.raises(NoIndexError):
        Index([["a", "a"]], None)
    with pytest.raises(NoIndexError):
        Index([["a", "a"], [3, 3]], "<")


moments = st.integers(0, 60).map(lambda hours: START + timedelta(hours=hours))


@given(asked=st.lists(st.tuples(moments, st.sampled_from(["a", "b", "d", None])), max_size=9))
@settings(max_examples=25, deadline=None)
def test_any_request_gets_what_the_joins_give(asked):
    request = pl.DataFrame(
        {
            "_row_id": range(len(asked)),
            "due": [due for due, _ in asked],
            "place": [place for _, place in asked],
            "delay": [None] * len(asked),
        },
        schema=trips().schema,
    )
    sql = PLACES.replace("r.place, p", "r.place, w.temp, p") + (
        "ASOF LEFT JOIN weather AS w ON w.known_at < r.prediction_time"
    )
    both(sql, request)
