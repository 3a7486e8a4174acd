"""Trials of several partitions in one query: what they find is what each would find alone."""

from dataclasses import replace
from datetime import timedelta

import duckdb
import polars as pl
import pytest

from ai_assets.lifecycle.features import leakage
from ai_assets.lifecycle.features.duck import beside, session
from ai_assets.lifecycle.features.history import open_history
from ai_assets.lifecycle.features.leakage import Leak, leaks_of
from ai_assets.lifecycle.features.query import ROW_ID, Query, batched_features
from ai_assets.lifecycle.features.trials import Trial, asked_at_cuts, trials_of
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets_tests.lifecycle.feature_worlds import (
    HORIZON,
    HOURS,
    SPECS,
    WEATHER_KNOWN,
    tables,
    trips,
)

# Cuts are in the middle, and stretches reach six hours around them: night and evening lie apart.
NIGHT, MORNING, EVENING = (0, 12), (8, 20), (30, 48)
PLACES = Table(source=Source(csv="places.csv"), columns={"place": Column(type="string")})


def query_of(sql: str, **more: Table) -> Query:
    return Query(sql, {**SPECS, **more}, "trips", HORIZON, "features.sql")


def trials(query: Query, hours: tuple[int, int], **more: pl.DataFrame) -> list[Trial]:
    """The trial of a partition of these hours, which sees the weather from four hours before."""
    first, last = hours
    request = trips().filter(pl.col("due").is_between(HOURS[first], HOURS[last - 1]))
    weather = tables()["weather"][max(first - 4, 0) : last]
    frames = {"weather": weather, **more}
    spec = query.specs["trips"]
    with open_history(frames, request, query.specs, "trips") as history:
        honest = pl.concat(batched_features(history, query.sql, request, spec, HORIZON))
        asked = asked_at_cuts(request, spec, HORIZON, cuts=1, rows_per_cut=4)
        return list(trials_of(history, query, asked, honest=honest, reach=timedelta(hours=6)))


def found(query: Query, given: dict[str, list[Trial]]) -> dict[str, list[Leak]]:
    with open_history({}, trips(), SPECS, "trips") as any_session:
        return leaks_of(any_session, query, given)


@pytest.fixture
def asked(monkeypatch):
    """Of how many rows each query of the trials is."""
    sizes: list[int] = []
    features = leakage._features

    def watched(cursor, query, frames, row_ids):
        sizes.append(len(row_ids))
        return features(cursor, query, frames, row_ids)

    monkeypatch.setattr(leakage, "_features", watched)
    return sizes


def test_stretches_that_lie_apart_are_asked_about_in_one_query(asked):
    query = query_of(WEATHER_KNOWN)
    night, evening = trials(query, NIGHT), trials(query, EVENING)

    assert found(query, {"night": night, "evening": evening}) == {"night": [], "evening": []}

    assert asked == [night[0].asked.height + evening[0].asked.height]


def test_stretches_that_touch_are_not(asked):
    query = query_of(WEATHER_KNOWN)
    night, morning = trials(query, NIGHT), trials(query, MORNING)
    assert night[0].span[1] >= morning[0].span[0]

    assert found(query, {"night": night, "morning": morning}) == {"night": [], "morning": []}

    assert sorted(asked) == sorted([night[0].asked.height, morning[0].asked.height])


def test_stretches_that_share_an_instant_are_not(asked):
    """A row of that instant would be there twice."""
    query = query_of(WEATHER_KNOWN)
    (night,), (evening,) = trials(query, NIGHT), trials(query, EVENING)
    sharing = replace(evening, span=(night.span[1], evening.span[1]))

    found(query, {"night": [night], "evening": [sharing]})
    found(query, {"evening": [sharing], "night": [night]})

    assert asked == [4, 4, 4, 4]


def test_at_least_three_horizons_around_a_cut_are_looked_at():
    query = query_of(WEATHER_KNOWN)
    with open_history(tables(), trips(), query.specs, "trips") as history:
        asked = asked_at_cuts(trips(), query.specs["trips"], HORIZON, cuts=1)
        (short,) = trials_of(history, query, asked, reach=HORIZON)
        (long,) = trials_of(history, query, asked, reach=4 * HORIZON)

    assert short.span == (short.cut - 3 * HORIZON, short.cut + 3 * HORIZON)
    assert long.span == (long.cut - 4 * HORIZON, long.cut + 4 * HORIZON)


def test_no_more_than_a_few_are_asked_about_together(monkeypatch, asked):
    monkeypatch.setattr(leakage, "TOGETHER", 1)
    query = query_of(WEATHER_KNOWN)

    found(query, {"night": trials(query, NIGHT), "evening": trials(query, EVENING)})

    assert len(asked) == 2


def test_what_leaks_in_one_partition_is_told_of_that_one():
    late = f"CASE WHEN due >= TIMESTAMPTZ '{HOURS[30]}' THEN delay END"
    query = query_of(f"SELECT {ROW_ID}, place, {late} AS x FROM request")
    given = {"night": trials(query, NIGHT), "evening": trials(query, EVENING)}

    together = found(query, given)

    assert together["night"] == []
    assert [leak.feature for leak in together["evening"]] == ["x"]
    assert together["evening"] == found(query, {"evening": given["evening"]})["evening"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT _row_id, delay AS x FROM request",
        "SELECT r._row_id, w.temp AS x FROM request r LEFT JOIN weather w ON w.hour = r.due",
        "SELECT _row_id, (SELECT count(*) FROM weather) AS x FROM request",
        "SELECT _row_id, (SELECT arg_max(delay, due) FROM trips) AS x FROM request",
        WEATHER_KNOWN,
        """
        SELECT r._row_id, (
            SELECT sum(temp) FROM weather AS w WHERE w.known_at <= r.prediction_time
        ) AS x FROM request AS r
        """,
    ],
)
def test_the_leaks_are_those_of_each_alone(sql):
    query = query_of(sql)
    given = {"night": trials(query, NIGHT), "evening": trials(query, EVENING)}

    alone = {key: found(query, {key: of_key})[key] for key, of_key in given.items()}

    assert found(query, given) == alone


def test_a_leak_that_later_stretches_hide_is_found_in_the_last_and_so_in_all():
    """Of the night together with the evening there are always four hours later."""
    query = query_of(
        "SELECT r._row_id, (SELECT least(count(*), 4) FROM weather AS w WHERE w.hour > r.due) AS x "
        "FROM request AS r"
    )
    given = {"night": trials(query, NIGHT), "evening": trials(query, EVENING)}
    (group,) = leakage._groups([*given["night"], *given["evening"]])
    with session() as any_session, beside(any_session) as cursor:
        assert leakage._cleared_together(cursor, query, group) == given["night"]

    together = found(query, given)

    assert {key: [leak.feature for leak in of_key] for key, of_key in together.items()} == {
        "night": ["x"],
        "evening": ["x"],
    }


def test_a_join_that_repeats_no_rows_of_one_partition_may_do_so_over_several(asked):
    """Each stretch has one hour that is four o'clock."""
    query = query_of(
        "SELECT r._row_id, r.place FROM request AS r LEFT JOIN weather AS w ON hour(w.hour) = 4"
    )
    given = {"night": trials(query, NIGHT), "next": trials(query, (24, 36))}

    assert found(query, given) == {"night": [], "next": []}

    assert len(asked) == 3


def test_what_needs_too_much_memory_together_is_asked_about_alone(monkeypatch):
    """Pairs of rows may fit that are of one stretch, and not all that are of two."""
    query = query_of(WEATHER_KNOWN)
    features, sizes = leakage._features, []

    def narrow(cursor, query, frames, row_ids):
        sizes.append(len(row_ids))
        if len(row_ids) > 4:
            raise duckdb.OutOfMemoryException("failed to allocate")
        return features(cursor, query, frames, row_ids)

    monkeypatch.setattr(leakage, "_features", narrow)
    given = {"night": trials(query, NIGHT), "evening": trials(query, EVENING)}

    assert found(query, given) == {"night": [], "evening": []}

    assert sizes == [8, 4, 4]


@pytest.mark.parametrize(("second", "queries"), [(["a", "b"], [8]), (["b", "c"], [4, 4])])
def test_a_table_without_a_time_must_be_the_same_of_all(asked, second, queries):
    query = query_of(
        "SELECT r._row_id, p.place IS NOT NULL AS x FROM request r "
        "LEFT JOIN places p ON p.place = r.place",
        places=PLACES,
    )
    given = {
        "night": trials(query, NIGHT, places=pl.DataFrame({"place": ["a", "b"]})),
        "evening": trials(query, EVENING, places=pl.DataFrame({"place": second})),
    }

    assert found(query, given) == {"night": [], "evening": []}

    assert asked == queries


def test_a_row_that_two_trials_ask_about_is_asked_about_twice(asked):
    """Of a few rows a day, those last before a cut may lie before another cut too."""
    query = query_of("SELECT _row_id, place FROM request")
    (first,) = trials(query, NIGHT)
    second = replace(first, span=(HOURS[30], HOURS[42]))

    assert found(query, {"night": [first], "again": [second]}) == {"night": [], "again": []}

    assert asked == [4, 4]
