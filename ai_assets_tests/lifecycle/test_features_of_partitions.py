"""Several partitions in one go: each as it would be alone, small ones side by side."""

import weakref
from functools import partial

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features import history, partitions, trials
from ai_assets.lifecycle.features.partitions import Part, features_of_partitions
from ai_assets.lifecycle.features.query import Query, batched_features, run_features
from ai_assets.lifecycle.features.trials import Trial
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets_tests.lifecycle.feature_worlds import (
    HORIZON,
    HOURS,
    NAMES,
    SPECS,
    WEATHER_KNOWN,
    tables,
    trips,
)

CUTS = {"night": (0, 12), "day": (12, 30), "evening": (30, 48)}


def part(first: int, last: int) -> Part:
    """The trips of some hours, and the weather from four hours before."""
    times = pl.lit(HOURS[first]), pl.lit(HOURS[last - 1])
    request = trips().lazy().filter(pl.col("due").is_between(*times))
    weather = tables()["weather"].lazy().slice(max(first - 4, 0)).head(last - max(first - 4, 0))
    return Part(request, {"weather": weather, "trips": request})


def features(sql: str) -> tuple[dict[str, pl.DataFrame], dict[str, list[str]]]:
    """Of each partition its features, and the names of those that leak."""
    written: dict[str, list[pl.DataFrame]] = {}
    query = Query(sql, SPECS, "trips", HORIZON, "features.sql")
    leaks = features_of_partitions(
        query,
        {key: part(*hours) for key, hours in CUTS.items()},
        lambda key, batch: written.setdefault(key, []).append(batch),
    )
    found = {key: [leak.feature for leak in of_key] for key, of_key in leaks.items()}
    return {key: pl.concat(batches) for key, batches in written.items()}, found


@pytest.mark.parametrize("side_by_side", [1, 2, 4])
@pytest.mark.parametrize("many", [48, 30, 5])
def test_each_partition_is_as_it_would_be_alone(monkeypatch, many, side_by_side):
    monkeypatch.setattr(partitions, "MANY_ROWS", many)
    monkeypatch.setattr(partitions, "SIDE_BY_SIDE", side_by_side)
    parts = {key: part(*hours) for key, hours in CUTS.items()}

    written, leaks = features(WEATHER_KNOWN)

    assert leaks == {key: [] for key in CUTS}
    assert list(written) == list(CUTS)
    for key, alone in parts.items():
        expected = run_features(WEATHER_KNOWN, alone.request, alone.tables, **NAMES)
        assert_frame_equal(written[key], expected)


@pytest.mark.parametrize(
    ("many", "together"),
    [(1000, [["night", "day", "evening"]]), (60, [["night", "day"], ["evening"]])],
)
def test_trials_wait_for_others_until_they_hold_too_many_rows_and_are_made_once(
    monkeypatch, many, together
):
    monkeypatch.setattr(partitions, "MANY_ROWS", many)
    made = []
    leaks_of = partitions._Beside.leaks_of

    def watched(self, trials):
        made.append(list(trials))
        return leaks_of(self, trials)

    monkeypatch.setattr(partitions._Beside, "leaks_of", watched)

    features(WEATHER_KNOWN)

    assert made == together


@pytest.mark.parametrize(
    ("many", "held"), [(48, {"night", "day", "evening"}), (17, {"night"}), (5, set())]
)
def test_only_small_partitions_are_held_and_as_few_rows_as_said(monkeypatch, many, held):
    """Their rows are 12, 18 and 18."""
    monkeypatch.setattr(partitions, "MANY_ROWS", many)
    most, begun = [0], []
    begin = partitions._Beside.begin

    def watched(self, key, part, rows):
        begin(self, key, part, rows)
        begun.append(key)
        most.append(sum(rows for _, rows, _ in self._waiting))

    monkeypatch.setattr(partitions._Beside, "begin", watched)

    features(WEATHER_KNOWN)

    assert set(begun) == held
    assert max(most) <= many


def test_nothing_of_a_partition_is_left_for_the_next(monkeypatch):
    """One session makes all of them; what depends on history alone is a table in it meanwhile."""
    monkeypatch.setattr(partitions, "SIDE_BY_SIDE", 1)
    monkeypatch.setattr(partitions, "batched_features", partial(batched_features, batch_rows=5))
    left, load = [], history.load_history

    def watched(own, *rest):
        left.append(names(own))
        load(own, *rest)

    monkeypatch.setattr(partitions, "load_history", watched)

    written, _ = features(WEATHER_KNOWN)

    assert left == [[], [], []]
    assert [rows.height for rows in written.values()] == [12, 18, 18]


def names(connection):
    return [name for (name,) in connection.execute("SHOW TABLES").fetchall()]


@pytest.mark.parametrize("many", [48, 5])
def test_a_leak_is_found_in_every_partition(monkeypatch, many):
    monkeypatch.setattr(partitions, "MANY_ROWS", many)

    _, leaks = features("SELECT _row_id, place, delay AS x FROM request")

    assert leaks == {key: ["x"] for key in CUTS}


def test_of_a_large_partition_one_trial_is_held_at_a_time(monkeypatch):
    monkeypatch.setattr(partitions, "MANY_ROWS", 5)
    held: list[weakref.ref[Trial]] = []
    made = trials._trial

    def watched(*given):
        assert [trial for trial in held if trial() is not None] == []
        found = made(*given)
        held.append(weakref.ref(found))
        return found

    monkeypatch.setattr(trials, "_trial", watched)

    _, leaks = features("SELECT _row_id, place, delay AS x FROM request")

    assert len(held) == 2 * len(CUTS)
    assert leaks == {key: ["x"] for key in CUTS}


def test_a_mistake_in_the_query_is_told_from_beside_too():
    with pytest.raises(DeclarationError, match="dealy"):
        features("SELECT _row_id, dealy FROM request")


PLACES = Table(source=Source(csv="places.csv"), columns={"place": Column(type="string")})


@pytest.mark.parametrize("many", [200, 5])
@pytest.mark.parametrize("rows", [2, 120])
def test_of_rows_without_a_time_other_rows_are_left_out(monkeypatch, many, rows):
    """A server is asked about one, so it would count one."""
    monkeypatch.setattr(partitions, "MANY_ROWS", many)
    places = pl.DataFrame({"place": ["a", "a"] * (rows // 2)}).with_row_index("_row_id")
    part = Part(places.with_columns(pl.col("_row_id").cast(pl.Int64)).lazy(), {})

    def leaking(sql: str) -> list[tuple[str, bool]]:
        query = Query(sql, {"places": PLACES}, "places", HORIZON, "features.sql")
        found = features_of_partitions(query, {"all": part}, lambda key, batch: None)
        return [(leak.feature, leak.of_others) for leak in found["all"]]

    counted = "SELECT _row_id, count(*) OVER (PARTITION BY place) AS x FROM request"
    assert leaking("SELECT _row_id, place FROM request") == []
    assert leaking("SELECT _row_id, (SELECT count(*) FROM places) AS x FROM request") == []
    assert leaking(counted) == [("x", True)]
