from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.features.history import open_history
from ai_assets.lifecycle.features.leakage import leaking_features, leaks_of
from ai_assets.lifecycle.features.query import Query, batched_features
from ai_assets.lifecycle.features.trials import asked_at_cuts, trials_of
from ai_assets.lifecycle.features.unknown import changed_after, others_where
from ai_assets_tests.lifecycle.feature_worlds import (
    HORIZON,
    HOURS,
    SPECS,
    WEATHER_KNOWN,
    tables,
    trips,
)


def leaking(sql: str) -> list[str]:
    leaks = leaking_features(sql, trips(), tables(), SPECS, "trips", HORIZON)
    return [leak.feature for leak in leaks]


def test_an_honest_query_passes():
    assert leaking(WEATHER_KNOWN) == []


def test_delays_used_once_they_are_known_pass():
    sql = """
    SELECT r._row_id, t.delay FROM request AS r
    ASOF LEFT JOIN trips AS t ON t.delay_known_at <= r.prediction_time
    """
    assert leaking(sql) == []


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT _row_id, delay AS x FROM request", id="the row's own late column"),
        pytest.param(
            "SELECT r._row_id, t.delay AS x FROM request r "
            "ASOF LEFT JOIN trips t ON t.due <= r.prediction_time",
            id="a delay joined when it was due and not when it was known",
        ),
        pytest.param(
            "SELECT r._row_id, w.temp AS x FROM request r LEFT JOIN weather w ON w.hour = r.due",
            id="the weather at the event and not at the prediction",
        ),
        pytest.param(
            "SELECT _row_id, (SELECT count(*) FROM weather) AS x FROM request",
            id="a count of rows that are still to come",
        ),
    ],
)
def test_knowing_too_early_is_found(sql):
    assert leaking(sql) == ["x"]


OF_OTHERS = [
    "SELECT _row_id, lead(place) OVER (ORDER BY due) AS x FROM request",
    "SELECT _row_id, count(*) OVER (PARTITION BY place) AS x FROM request",
    """
    SELECT r._row_id, (
        SELECT count(*) FROM request AS o WHERE o.place = r.place AND o.due > r.due
    ) AS x FROM request AS r
    """,
]


@pytest.mark.parametrize("sql", OF_OTHERS)
def test_a_feature_of_other_rows_of_the_request_is_found(sql):
    leaks = leaking_features(sql, trips(), tables(), SPECS, "trips", HORIZON)

    assert [(leak.feature, leak.of_others) for leak in leaks] == [("x", True)]
    assert leaks[0].rows > 0
    assert knowing_features(sql) == ["x"]


def test_a_choice_among_what_is_joined_to_a_row_is_its_own():
    sql = """
    SELECT r._row_id, t.delay AS x FROM request AS r
    LEFT JOIN trips AS t ON t.place = r.place AND t.delay_known_at <= r.prediction_time
    QUALIFY row_number() OVER (PARTITION BY r._row_id ORDER BY t.due DESC) = 1
    """
    assert leaking(sql) == []
    assert knowing_features(sql) == []


def test_what_is_known_too_early_is_not_of_others():
    leaks = leaking_features(
        "SELECT _row_id, delay AS x FROM request", trips(), tables(), SPECS, "trips", HORIZON
    )

    assert [leak.of_others for leak in leaks] == [False]


def test_the_answer_is_the_same_every_time():
    sql = "SELECT _row_id, delay AS x FROM request"
    first, second = (
        leaking_features(sql, trips(), tables(), SPECS, "trips", HORIZON) for _ in range(2)
    )
    assert first == second and first[0].rows > 0


def knowing_features(sql: str) -> list[str]:
    """As a run of the graph asks: with the features of the whole history at hand."""
    request = trips()
    with open_history(tables(), request, SPECS, "trips") as history:
        batches = batched_features(history, sql, request, SPECS["trips"], HORIZON)
        honest = pl.concat(list(batches))
        asked = asked_at_cuts(request, SPECS["trips"], HORIZON)
        query = Query(sql, SPECS, "trips", HORIZON, "features.sql")
        found = trials_of(history, query, asked, honest=honest, reach=timedelta(hours=9))
        leaks = leaks_of(history, query, {"all": list(found)})
    return [leak.feature for leak in leaks["all"]]


def test_features_that_were_computed_already_are_compared_with():
    assert knowing_features(WEATHER_KNOWN) == []
    assert knowing_features("SELECT _row_id, place, delay AS x FROM request") == ["x"]


def test_looking_back_further_than_the_stretch_is_no_leak():
    ranks = "(SELECT count(*) FROM weather w WHERE w.known_at <= r.prediction_time)"
    assert knowing_features(f"SELECT _row_id, {ranks} AS x FROM request r") == []


def test_of_rows_that_come_later_some_go_and_some_change():
    rows = pl.DataFrame({"hour": HOURS, "temp": [0.0] * 48, "known_at": HOURS})
    changed = changed_after(rows, SPECS["weather"], HOURS[7], np.random.default_rng(0))
    known = pl.col("known_at") <= HOURS[7]
    assert changed.filter(known).equals(rows.filter(known))
    assert changed.height == 8 + 20 and (changed.filter(~known)["temp"] != 0).all()


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("c", [None, datetime(2024, 1, 1, tzinfo=UTC), None], pl.Datetime("us", "UTC")),
        pl.Series("c", [None, date(2024, 1, 1), None], pl.Date),
        pl.Series("c", [None, 1, 2], pl.Int64),
        pl.Series("c", [None, True, False], pl.Boolean),
        pl.Series("c", [None, "a", "b"], pl.String),
    ],
    ids=lambda values: str(values.dtype),
)
def test_late_values_of_every_type_become_others_gaps_included(values: pl.Series):
    where = pl.Series([True, True, False])

    other = others_where(values, where, np.random.default_rng(0))

    assert other.dtype == values.dtype
    assert other.null_count() == (1 if values[2] is None else 0)
    assert other[0] is not None and other[1] != values[1]
    assert other[2] == values[2] or values[2] is None
