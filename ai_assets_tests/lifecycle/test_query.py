from datetime import datetime, timedelta

import polars as pl
import pytest

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.fairness.groups import PROTECTED
from ai_assets.lifecycle.features.query import run_features, stream_features
from ai_assets_tests.lifecycle.feature_worlds import NAMES, START, WEATHER_KNOWN, tables, trips


def run(sql: str, request: pl.DataFrame | None = None) -> pl.DataFrame:
    return run_features(sql, trips() if request is None else request, tables(), **NAMES)


def test_the_last_observation_before_the_prediction_is_joined():
    features = run(WEATHER_KNOWN)
    assert features["double_temp"].to_list() == [None, None, *(2.0 * h for h in range(46))]


def test_features_come_in_the_order_of_the_request_with_the_row_id_first():
    features = run("SELECT r.place, r._row_id FROM request AS r ORDER BY r._row_id")
    assert features.columns == ["_row_id", "place"]
    assert features["_row_id"].to_list() == trips()["_row_id"].to_list()


def test_late_columns_say_when_they_become_known():
    features = run("SELECT _row_id, delay_known_at AS moment FROM trips")
    assert features["moment"][1] == START + timedelta(hours=1, minutes=13)
    assert features["moment"][9] is None


def test_the_history_of_the_request_table_is_known_ahead_of_time():
    with pytest.raises(DeclarationError, match='"known_at"'):
        run("SELECT r._row_id, t.known_at FROM request r JOIN trips t USING (_row_id)")


def test_batches_together_are_the_whole():
    batches = stream_features(WEATHER_KNOWN, trips(), tables(), batch_rows=13, **NAMES)
    parts = list(batches)
    assert [part.height for part in parts] == [13, 13, 13, 9]
    assert pl.concat(parts).equals(run(WEATHER_KNOWN))


def test_an_empty_partition_has_the_same_columns_and_types():
    empty = run(WEATHER_KNOWN, trips().head(0))
    assert empty.height == 0
    assert empty.schema == run(WEATHER_KNOWN).schema
    batch, *others = stream_features(WEATHER_KNOWN, trips().head(0), tables(), **NAMES)
    assert batch.schema == empty.schema and not others


def test_lost_rows_are_counted():
    with pytest.raises(DeclarationError, match="48 rows of request, but gave 16: 32 lost, 0 repea"):
        run("SELECT _row_id FROM request WHERE place = 'a'")


def test_repeated_rows_are_counted():
    with pytest.raises(DeclarationError, match="but gave 96: 0 lost, 48 repeated"):
        run("SELECT _row_id FROM request, range(2)")


def test_a_wrong_column_is_told_with_file_line_and_nearest_name():
    with pytest.raises(DeclarationError, match=r"features.sql, line 3.*Did you mean 'place'\?"):
        run("SELECT\n    r._row_id,\n    r.plaze\nFROM request AS r")


def test_a_wrong_table_is_told_with_line_and_nearest_name():
    with pytest.raises(DeclarationError, match=r"line 2.*wether.*Did you mean 'weather'\?"):
        run("SELECT r._row_id FROM request AS r\nLEFT JOIN wether AS w ON true")


def test_a_column_that_a_table_of_a_subquery_lacks_is_named_and_not_the_table() -> None:
    sql = (
        "SELECT r._row_id, (SELECT count(*) FROM weather AS w\n"
        "  WHERE w.hour <= r.prediction_time AND w.temperature > 3) AS warm\n"
        "FROM request AS r"
    )

    with pytest.raises(
        DeclarationError,
        match=r'^features.sql, line 2: Table "weather" has no column "temperature".',
    ):
        run(sql)


@pytest.mark.parametrize("sql", ["", "SELECT 1; SELECT 2", "CREATE TABLE x (i INT)"])
def test_anything_but_one_select_is_refused(sql):
    with pytest.raises(DeclarationError, match="must be one SELECT"):
        run(sql)


def test_the_query_cannot_read_files():
    with pytest.raises(DeclarationError, match="disabled"):
        run("SELECT r._row_id, f.* FROM request r, read_text('/etc/hostname') f")


def test_instants_without_a_zone_are_refused():
    naive = trips().with_columns(due=pl.lit(datetime(2013, 1, 1)))
    with pytest.raises(DataError, match="'due' must hold instants in UTC"):
        run(WEATHER_KNOWN, naive)


def test_repeated_row_ids_are_refused():
    with pytest.raises(DataError, match="must be unique among request rows, but 47 repeat"):
        run(WEATHER_KNOWN, trips().with_columns(_row_id=pl.lit(1)))


@pytest.mark.parametrize("taken", ["label", "split", "event_time", "known_at", "_group", PROTECTED])
def test_a_feature_may_not_be_called_as_a_column_of_the_training_set(taken: str):
    sql = f"SELECT _row_id, place, hour(due) AS {taken} FROM request"
    other = f"{taken.strip('_')}_given"
    with pytest.raises(DeclarationError, match=f"not call a feature {taken}: .* AS {other}"):
        list(stream_features(sql, trips(), tables(), **NAMES))
