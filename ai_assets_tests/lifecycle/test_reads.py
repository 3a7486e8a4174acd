"""Tables that a feature query reads, and those whose rows are not loaded."""

import polars as pl
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.duck import beside
from ai_assets.lifecycle.features.history import open_history
from ai_assets.lifecycle.features.leakage import leaking_features
from ai_assets.lifecycle.features.query import stream_features
from ai_assets.lifecycle.features.reads import tables_read
from ai_assets_tests.lifecycle.feature_worlds import (
    HORIZON,
    NAMES,
    SPECS,
    WEATHER_KNOWN,
    tables,
    trips,
)

KNOWN = ["flights", "Weather Obs", "rows"]


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("SELECT r._row_id, r.x FROM request AS r -- of flights", set()),
        ("SELECT r.x /* rows */ FROM request AS r", set()),
        ("SELECT (SELECT max(x) FROM FLIGHTS) FROM request", {"flights"}),
        ("WITH f AS (SELECT * FROM main.flights) SELECT * FROM f", {"flights"}),
        ("WITH flights AS (SELECT * FROM flights) SELECT * FROM flights", {"flights"}),
        ('SELECT * FROM request ASOF JOIN "weather obs" USING (t)', {"Weather Obs"}),
        ("SELECT sum(x) OVER (ROWS 2 PRECEDING) FROM request", {"rows"}),
        ("SELECT r.x AS rows_before FROM request AS r", set()),
        ("SELECT * FROM query_table('fli' || 'ghts')", set(KNOWN)),
        ("SELECT * FROM query('SELECT 1')", set(KNOWN)),
        ("SELECT 'no end", set(KNOWN)),
    ],
)
def test_a_table_is_read_where_its_name_stands_outside_of_comments(sql, read):
    assert tables_read(sql, KNOWN) == read


def test_rows_of_a_table_that_the_query_does_not_read_are_not_loaded():
    asked = tables(), trips(), SPECS, "trips", WEATHER_KNOWN
    with open_history(*asked) as loaded, beside(loaded) as cursor:
        counts = [cursor.sql(f"SELECT count(*) AS n FROM {t}").pl()["n"][0] for t in SPECS]
        columns = cursor.sql("SELECT * FROM trips").pl().columns
    assert counts == [0, 48]
    assert columns == [*trips().columns, "delay_known_at"]


def test_a_query_of_the_request_alone_gives_the_same_and_leaks_the_same():
    asked = (trips().lazy(), tables())
    honest = "SELECT _row_id, place || '!' AS x FROM request"
    found = pl.concat(stream_features(honest, *asked, **NAMES, batch_rows=13))
    assert found["x"].to_list() == [f"{place}!" for place in trips()["place"]]
    assert leaking_features(honest, *asked, SPECS, "trips", HORIZON) == []

    late = leaking_features(
        "SELECT _row_id, delay AS x FROM request", *asked, SPECS, "trips", HORIZON
    )
    assert [leak.feature for leak in late] == ["x"]


def test_a_mistyped_table_is_told_with_the_nearest_though_no_rows_are_loaded():
    sql = "SELECT r._row_id FROM request AS r ASOF JOIN waether AS w ON w.hour <= r.due"
    with pytest.raises(DeclarationError, match=r"Did you mean '?weather'?"):
        list(stream_features(sql, trips().lazy(), tables(), **NAMES))
