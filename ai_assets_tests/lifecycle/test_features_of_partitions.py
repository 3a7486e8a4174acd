"""Several partitions in one go: each as it would be alone, small ones side by side."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features import partitions
from ai_assets.lifecycle.features.partitions import Part, Query, features_of_partitions
from ai_assets.lifecycle.features.query import run_features
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


@pytest.mark.parametrize(
    ("many", "groups"),
    [(48, [["night", "day", "evening"]]), (30, [["night", "day"], ["evening"]]), (5, None)],
)
def test_each_partition_is_as_it_would_be_alone(monkeypatch, many, groups):
    monkeypatch.setattr(partitions, "MANY_ROWS", many)
    parts = {key: part(*hours) for key, hours in CUTS.items()}

    written, leaks = features(WEATHER_KNOWN)

    assert list(partitions._groups(parts)) == (groups or [[key] for key in CUTS])
    assert leaks == {key: [] for key in CUTS}
    assert list(written) == list(CUTS)
    for key, alone in parts.items():
        expected = run_features(WEATHER_KNOWN, alone.request, alone.tables, **NAMES)
        assert_frame_equal(written[key], expected)


@pytest.mark.parametrize("many", [48, 5])
def test_a_leak_is_found_in_every_partition(monkeypatch, many):
    monkeypatch.setattr(partitions, "MANY_ROWS", many)

    _, leaks = features("SELECT _row_id, place, delay AS x FROM request")

    assert leaks == {key: ["x"] for key in CUTS}


def test_a_mistake_in_the_query_is_told_from_beside_too():
    with pytest.raises(DeclarationError, match="dealy"):
        features("SELECT _row_id, dealy FROM request")
