"""Tables of a session, filled batch by batch."""

from datetime import timedelta

import polars as pl
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features import history
from ai_assets.lifecycle.features.duck import beside
from ai_assets.lifecycle.features.history import batches, open_history, stretch
from ai_assets.lifecycle.features.leakage import leaking_features
from ai_assets.lifecycle.features.moments import with_moments
from ai_assets.lifecycle.features.query import stream_features
from ai_assets.lifecycle.schema.tables import Column
from ai_assets_tests.lifecycle.feature_worlds import (
    HORIZON,
    HOURS,
    NAMES,
    SPECS,
    START,
    WEATHER_KNOWN,
    tables,
    trips,
)


@pytest.mark.parametrize("frame", [trips(), trips().lazy()], ids=["eager", "lazy"])
def test_batches_are_of_the_asked_size_and_together_the_frame(frame):
    parts = list(batches(frame, 13))
    assert [part.height for part in parts] == [13, 13, 13, 9]
    assert pl.concat(parts).equals(trips())


@pytest.mark.parametrize("frame", [trips().head(0), trips().head(0).lazy()], ids=["eager", "lazy"])
def test_an_empty_frame_is_one_empty_batch(frame):
    assert [part.schema for part in batches(frame, 13)] == [trips().schema]


def test_a_loaded_table_has_the_moments_that_a_frame_gets():
    expected = with_moments(trips(), SPECS["trips"], is_request=False, ahead=True)
    with open_history(tables(), trips().lazy(), SPECS, "trips") as loaded:
        assert stretch(loaded, "trips", SPECS["trips"], None).equals(expected)


def test_a_stretch_holds_the_rows_between_two_instants():
    with open_history(tables(), trips(), SPECS, "trips") as loaded, beside(loaded) as cursor:
        found = stretch(cursor, "weather", SPECS["weather"], (HOURS[3], HOURS[5]))
    assert found["hour"].to_list() == HOURS[3:6] and found["known_at"][0] == HOURS[3]
    assert found["temp"].to_list() == [3.0, 4.0, 5.0]


def test_a_wrong_moment_is_named():
    late = Column(type="int64", known_at="due + to_minutes(delai)")
    specs = {**SPECS, "trips": SPECS["trips"].model_copy(update={"columns": {"delay": late}})}
    with (
        pytest.raises(DeclarationError, match="delay_known_at must be SQL over the row's own"),
        open_history(tables(), trips(), specs, "trips"),
    ):
        pass


def test_a_second_connection_reads_instants_in_utc():
    with open_history(tables(), trips(), SPECS, "trips") as loaded, beside(loaded) as cursor:
        hour = cursor.sql("SELECT hour(max(hour)) AS h FROM weather").pl()["h"][0]
    assert hour == (START + timedelta(hours=47)).hour


def test_many_rows_lie_in_a_file_and_give_the_same(monkeypatch, tmp_path):
    query = (WEATHER_KNOWN, trips().lazy(), tables())
    expected = pl.concat(list(stream_features(*query, **NAMES)))
    monkeypatch.setattr(history, "MANY_ROWS", 10)
    parts = stream_features(*query, **NAMES, batch_rows=13, spill=tmp_path)
    first = next(parts)
    assert list(tmp_path.glob("*/*.duckdb"))
    assert pl.concat([first, *parts]).equals(expected)
    assert not list(tmp_path.glob("*/*.duckdb"))
    assert leaking_features(*query, SPECS, "trips", HORIZON) == []


def test_of_several_moments_the_wrong_one_is_named():
    columns = {
        "due": Column(type="datetime"),
        "place": Column(type="string", known_at="due + INTERVAL 1 HOUR"),
        "delay": Column(type="int64", known_at="due + dealy"),
    }
    table = SPECS["trips"].model_copy(update={"columns": columns})

    with pytest.raises(DeclarationError, match=r"delay_known_at must be SQL .*'due \+ dealy'"):
        with_moments(trips(), table, is_request=True, horizon=HORIZON)
