"""Doing it again, doing it in another order, and doing it without partitions."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from small_product import (
    APRIL,
    FEBRUARY,
    GOOD_ROWS,
    JANUARY,
    MARCH,
    World,
    failure,
    finding,
    write_product,
)

from ai_assets.automation.why import Records, why_prediction, why_release
from ai_assets.automation.why.words import chain_text
from ai_assets.automation.why.words_of_prediction import prediction_text

MODEL = ("training_set", "tuning", "model/linear", "model", "compressed_model", "evaluation")
DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "labels", "features")
REJECTED = ("rejected/orders", "rejected/visits")
LOOKUPS = ("raw/shops", "cleaned/shops")
RELEASE = ("model_card", "bundle", "gate", "release")


def test_the_same_sources_give_the_same_data_versions(shared_world: World, tmp_path: Path) -> None:
    again = World.of(shared_world.product.folder, tmp_path)
    again.run(*LOOKUPS)
    again.run(*DATA, partition=JANUARY, last=FEBRUARY)
    again.run(*MODEL[:-1], partition=FEBRUARY)

    digests = [digest_of(shared_world, asset) for asset in DATA]
    assert [digest_of(again, asset) for asset in DATA] == digests
    # Latencies are measured anew; the version of the compressed model does not depend on them.
    for asset in ("training_set", "model/linear", "model", "compressed_model"):
        assert again.version(asset, FEBRUARY) == shared_world.version(asset, FEBRUARY), asset
    assert graph_of(again) == graph_of(shared_world)


def test_a_partition_of_a_range_is_what_it_is_alone(shared_world: World, tmp_path: Path) -> None:
    again = World.of(shared_world.product.folder, tmp_path)
    again.run(*LOOKUPS)
    again.run(*DATA, *REJECTED, partition=JANUARY, last=MARCH)
    of_range = {asset: again.version(asset, FEBRUARY) for asset in (*DATA, *REJECTED)}
    rows = {asset: again.rows(asset, FEBRUARY) for asset in of_range}

    again.run(*DATA, *REJECTED, partition=FEBRUARY)

    assert {asset: again.version(asset, FEBRUARY) for asset in of_range} == of_range
    assert again.version("features", JANUARY) != of_range["features"]
    for asset, of_one in rows.items():
        assert_frame_equal(again.rows(asset, FEBRUARY), of_one)
    # Visits end on the 28th, and a partition looks two days back: those of January are not seen.
    early = rows["features"].join(again.rows("cleaned/orders", FEBRUARY), on="_row_id")
    assert early.sort("placed")["load"].first() is None


def test_a_range_replaces_its_partitions_of_a_table_at_once(
    shared_world: World, tmp_path: Path
) -> None:
    again = World.of(shared_world.product.folder, tmp_path)
    again.run(*LOOKUPS)
    again.run(*DATA, *REJECTED, partition=JANUARY, last=MARCH)

    for asset in ("raw/orders", "cleaned/orders", "rejected/orders", "features"):
        commits = again.tools.lake.commits(again.product.asset(asset))
        assert commits["partition"].to_list() == [JANUARY, FEBRUARY, MARCH], asset
        assert commits["version"].n_unique() == 1, asset


def digest_of(world: World, asset: str) -> str:
    return world.tools.lake.digest(world.product.asset(asset), FEBRUARY)


def graph_of(world: World) -> bytes:
    folder = world.tools.lake.artifact(world.product.asset("compressed_model"), FEBRUARY)
    return (folder / "model.onnx").read_bytes()


def test_a_partition_alone_has_the_same_version_each_time(own_world: World) -> None:
    first = own_world.run("labels", partition=MARCH)
    one = own_world.version("labels", MARCH)
    second = own_world.run("labels", partition=MARCH)

    assert first.success and second.success
    assert own_world.version("labels", MARCH) == one


def test_releasing_again_adds_no_entry(own_world: World) -> None:
    before = own_world.tools.ledger.history("late_orders")

    alone = own_world.run("release")
    with_its_gate = own_world.run("gate", "release", partition=FEBRUARY)

    assert alone.success and with_its_gate.success
    assert own_world.tools.ledger.history("late_orders").equals(before)


def test_an_earlier_bundle_is_released_by_name_and_added_to_the_history(
    own_world: World,
) -> None:
    february = own_world.metadata("bundle", FEBRUARY)["tag"]
    own_world.run(*MODEL, *RELEASE, partition=MARCH)
    march = own_world.metadata("bundle", MARCH)["tag"]

    config = {"config": {"bundle": february, "who": "Ada", "why": "March was worse"}}
    own_world.run("release", config={"late_orders__release": config})

    history = own_world.tools.ledger.history("late_orders")
    assert history["stable"].to_list() == [february, march, february]
    assert history.select("who", "why", "cause").row(2) == ("Ada", "March was worse", "by hand")
    assert history["effective_from"].to_list() == [
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 4, 1, tzinfo=UTC),
        datetime(2024, 4, 1, tzinfo=UTC),
    ]
    entry = own_world.tools.ledger.as_of("late_orders", datetime(2024, 4, 2, tzinfo=UTC))
    assert entry is not None and entry.stable == february
    assert own_world.metadata("release")["releases"] == 3


def test_an_unknown_bundle_is_refused_with_the_nearest_one(own_world: World) -> None:
    tag = own_world.metadata("bundle", FEBRUARY)["tag"]
    before = own_world.tools.ledger.history("late_orders").height

    config = {"late_orders__release": {"config": {"bundle": tag[:-1]}}}
    result = own_world.run("release", config=config, raises=False)

    assert not result.success
    said = failure(result)
    assert f"bundle must be one that was built, but got '{tag[:-1]}'" in said
    assert f"Did you mean '{tag}'?" in said
    assert own_world.tools.ledger.history("late_orders").height == before


def test_before_there_is_a_release_predictions_are_empty_and_the_checks_say_so(
    shared_folder: Path, tmp_path: Path
) -> None:
    world = World.of(shared_folder, tmp_path)
    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY)

    result = world.run("predictions", "drift", "drift_report", partition=JANUARY)

    assert result.success
    assert world.rows("predictions", JANUARY).height == 0
    assert finding(result, "scored_by_a_release") == (
        False,
        "Nothing was in production at the start of 2024-01-01; no row was scored.",
    )
    assert finding(result, "inputs_as_learned") == (
        False,
        "Nothing was in production, so there is no reference.",
    )
    assert world.metadata("predictions", JANUARY)["bundle"] == "none"
    assert "no reference" in world.metadata("drift_report", JANUARY)["report"]


def test_a_partition_before_the_release_is_not_scored_by_it(own_world: World) -> None:
    result = own_world.run("predictions", partition=FEBRUARY)

    assert own_world.rows("predictions", FEBRUARY).height == 0
    assert finding(result, "scored_by_a_release")[0] is False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small product without partitions, from raw data to a release, in one run."""
    folder = write_product(
        tmp_path_factory.mktemp("whole") / "late_orders",
        partitions=None,
        tables__orders__source={"csv": "orders/*.csv"},
    )
    world = World.of(folder, tmp_path_factory.mktemp("world"))
    world.runs["all"] = world.run()
    return world


def test_without_partitions_one_run_goes_from_raw_data_to_a_drift_report(whole: World) -> None:
    assert whole.runs["all"].success
    assert whole.rows("features").height == 4 * GOOD_ROWS
    assert whole.rows("predictions").height == 4 * GOOD_ROWS
    assert finding(whole.runs["all"], "scored_by_a_release")[1] == (
        f"Scored by {whole.metadata('bundle')['tag']}, in production."
    )


def test_without_partitions_rows_are_split_by_their_id(whole: World) -> None:
    passed, words = finding(whole.runs["all"], "each_row_in_one_split")

    assert (passed, words) == (True, "2,400 rows, each in one split, by hash of their id.")
    shares = whole.rows("training_set")["split"].value_counts(normalize=True)
    assert dict(shares.iter_rows())["test"] == pytest.approx(0.15, abs=0.02)


def test_without_partitions_a_release_counts_from_always(whole: World) -> None:
    history = whole.tools.ledger.history("late_orders")

    assert history["effective_from"].to_list() == [datetime(1970, 1, 1, tzinfo=UTC)]


def test_without_partitions_people_are_told_when_a_release_was_recorded(whole: World) -> None:
    tools = whole.tools
    records = Records(whole.product, tools.lake, tools.bundles, tools.ledger, tools.decisions)
    recorded = tools.ledger.history("late_orders")["recorded_at"][-1]
    row = str(whole.rows("predictions")["_row_id"][0])

    released = whole.metadata("release")
    lines = chain_text(why_release(records)).splitlines()
    story = prediction_text(why_prediction(records, row))

    assert released["recorded_at"] == str(recorded) and "effective_from" not in released
    assert released["history"].startswith("| recorded_at | stable |")
    assert f"  recorded       {recorded.isoformat()}" in lines
    assert f"recorded {recorded.isoformat()}, by " in story
    assert "1970" not in "\n".join([str(released), *lines, story])


def test_the_next_partition_has_its_own_predictions(own_world: World) -> None:
    own_world.run(*DATA, partition=APRIL)
    own_world.run("predictions", partition=APRIL)

    assert own_world.rows("predictions", APRIL).height == GOOD_ROWS
    assert own_world.rows("predictions", MARCH).height == GOOD_ROWS
