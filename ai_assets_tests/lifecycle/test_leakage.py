import pytest

from ai_assets.lifecycle.features.leakage import leaking_features
from ai_assets_tests.lifecycle.feature_worlds import HORIZON, SPECS, WEATHER_KNOWN, tables, trips


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


def test_the_answer_is_the_same_every_time():
    sql = "SELECT _row_id, delay AS x FROM request"
    first, second = (
        leaking_features(sql, trips(), tables(), SPECS, "trips", HORIZON) for _ in range(2)
    )
    assert first == second and first[0].rows > 0
