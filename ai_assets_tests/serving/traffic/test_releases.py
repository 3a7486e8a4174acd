"""What a server reads of the ledger."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from release_worlds import World

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.traffic.releases import Release, ReleaseError, Releases, payload_of


def test_the_newest_entry_counts_and_changes_are_seen(world: World):
    releases = Releases(str(world.lake), "trips")
    world.release("trips:1")

    assert releases.newest() == Release("trips:1")
    world.release("trips:1", "trips:2", 0.25, "canary")
    assert releases.newest() == Release("trips:1", "trips:2", 0.25, "canary")
    world.release("trips:2")
    assert releases.newest() == Release("trips:2")


def test_what_took_effect_last_counts_before_what_was_recorded_last(world: World):
    place = str(world.lake / "trips" / "release")
    moments = [datetime(2013, month, 1, tzinfo=UTC) for month in (5, 4, 5)]
    pl.DataFrame(
        {
            "effective_from": moments,
            "recorded_at": [moments[0], moments[0], moments[1]],
            "release_id": ["a", "b", "c"],
            "stable": ["trips:first", "trips:earlier", "trips:recorded-before"],
            "candidate": [None, None, None],
            "split": [0.0, 0.0, 0.0],
        },
        schema_overrides={"candidate": pl.String},
    ).write_delta(place)

    assert Releases(str(world.lake), "trips").newest() == Release("trips:first")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"candidate": "c", "split": 0.2}, Release("s", "c", 0.2, "ab")),
        ({"candidate": "c", "split": 0.2, "mode": None}, Release("s", "c", 0.2, "ab")),
        ({"candidate": "c", "split": 0.0, "mode": "shadow"}, Release("s", "c", 0.0, "shadow")),
        ({"candidate": "c", "split": 0.0, "mode": ""}, Release("s")),
        ({"candidate": "s", "split": 0.5, "mode": "ab"}, Release("s")),
        ({"candidate": None, "split": 0.0, "mode": ""}, Release("s")),
    ],
)
def test_an_entry_says_what_is_tried_and_how(entry: dict[str, object], expected: Release):
    assert Release.of({"stable": "s", **entry}) == expected


def test_without_a_release_it_is_said_what_to_do(world: World, tmp_path: Path):
    with pytest.raises(ReleaseError, match=r"trips has no release yet.*Materialize trips/release"):
        Releases(str(world.lake), "trips").newest()

    (tmp_path / "lake/trips/release/_delta_log").mkdir(parents=True)
    with pytest.raises(ReleaseError, match="The releases of trips cannot be read"):
        Releases(str(tmp_path / "lake"), "trips").newest()


@pytest.mark.parametrize("tag", ["trips", "trips:", ":1", "trips:../1", "a/b:1"])
def test_a_tag_never_leads_out_of_the_store(tag: str):
    with pytest.raises(BundleError, match="tag must be '<product>:<version>'"):
        payload_of("store", tag)
