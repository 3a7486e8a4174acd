import polars as pl
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.hoist import hoist
from ai_assets.lifecycle.features.prepared import PreparedQuery
from ai_assets.lifecycle.features.query import run_features
from ai_assets_tests.lifecycle.feature_worlds import NAMES, WEATHER_KNOWN, tables, trips


def prepared() -> PreparedQuery:
    return PreparedQuery(WEATHER_KNOWN, {**tables(), "trips": trips()}, **NAMES)


def test_a_payload_without_late_columns_gets_the_features_of_offline():
    offline = run_features(WEATHER_KNOWN, trips(), tables(), **NAMES)
    assert prepared().run(trips().drop("delay")).equals(offline)


def test_rows_without_ids_are_numbered():
    assert prepared().run(trips().drop("_row_id").tail(3))["_row_id"].to_list() == [0, 1, 2]


def test_a_refresh_changes_the_answers():
    query = prepared()
    warmer = {"weather": tables()["weather"].with_columns(pl.col("temp") + 1), "trips": trips()}
    query.refresh(warmer)
    assert query.run(trips().tail(1))["double_temp"].to_list() == [92.0]


def test_a_failed_refresh_keeps_the_snapshot():
    query = prepared()
    with pytest.raises(DeclarationError):
        query.refresh({"weather": tables()["weather"].drop("temp")})
    assert query.run(trips().tail(1))["double_temp"].to_list() == [90.0]


def test_what_depends_on_history_alone_is_set_apart():
    plan = hoist(
        "WITH a AS (SELECT 1 AS x FROM weather), b AS (SELECT * FROM request), "
        "c AS (SELECT * FROM a), d AS (SELECT * FROM b, c) SELECT * FROM d"
    )
    assert plan.names == ("a", "c")
    assert plan.rest.startswith("WITH b AS (SELECT * FROM request), d AS")


def test_a_query_without_parts_is_left_alone():
    assert hoist("SELECT 1").rest == "SELECT 1"
