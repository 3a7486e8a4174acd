"""What callers told the server becomes the label of rows whose outcome the source does not know."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import small_product as small
from served_entries import outcome
from small_product import FEBRUARY, GOOD_ROWS, JANUARY, World, finding

from ai_assets.serving.record.store import Store
from ai_assets.stages.learnable import learnable
from ai_assets.stages.training_set import labelled_features

UNKNOWN = (1, 2, 3, 4, 599)
SOON, LATER = datetime(2024, 1, 20, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC)
DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The small product, of whose orders of January the source knows some delays never."""
    monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "{product}.sqlite"))
    folder = small.write_product(tmp_path / small.NAME)
    file = folder / "orders" / "2024-01.csv"
    orders = pl.read_csv(file, infer_schema=False)
    gone = pl.col("number").is_in([str(number) for number in UNKNOWN])
    orders.with_columns(delay=pl.when(~gone).then("delay")).write_csv(file)
    world = World.of(folder, tmp_path / "home")
    world.run("raw/shops", "cleaned/shops")
    world.run(*DATA, "features", partition=JANUARY, last=FEBRUARY)
    return world


def orders(world: World) -> dict[int, dict]:
    """January's orders by number, with their labels as far as there are any."""
    rows = world.rows("cleaned/orders", JANUARY)
    if world.tools.lake.exists(world.product.asset("labels")):
        labels = world.rows("labels", JANUARY).drop("event_time")
        rows = rows.join(labels, on="_row_id")
    return {row["number"]: row for row in rows.iter_rows(named=True)}


def test_the_source_tells_a_label_before_callers_do(world: World, log: Store) -> None:
    placed = {number: row["placed"] for number, row in orders(world).items()}
    late = {number: row["delay"] >= 15 for number, row in orders(world).items() if number == 10}
    against = "not late" if late[10] else "late"
    log.write(
        [
            outcome(1, "not late", SOON, placed[1]),
            outcome(1, "late", LATER, placed[1]),
            outcome(2, "not late", SOON, placed[2]),
            outcome(10, against, SOON, placed[10]),
            outcome(3, "late", SOON, placed[3] + timedelta(minutes=1)),
            outcome(77_777, "late", SOON, placed[3]),
        ]
    )
    world.run("feedback", "labels", partition=JANUARY)

    rows = orders(world)
    assert (rows[1]["label"], rows[1]["known_at"]) == (1.0, LATER)
    assert (rows[2]["label"], rows[2]["known_at"]) == (0.0, SOON)
    assert (rows[10]["label"], rows[10]["known_at"]) == (
        float(late[10]),
        placed[10] + timedelta(days=1),
    )
    assert [rows[number]["label"] for number in (3, 4, 599)] == [None, None, None]
    assert world.rows("labels", JANUARY)["_row_id"].is_sorted()
    metadata = world.metadata("labels", JANUARY)
    assert metadata["unlabelled"] == 3
    assert (metadata["told_by_callers"], metadata["told_otherwise"]) == (2, 1)
    assert metadata["told_of_no_row"] == 2


def learned_from(world: World, partition: str) -> pl.DataFrame:
    """The rows that the training set of a partition would have."""
    run = world.step("training_set", partition)
    return labelled_features(run, learnable(run))


def test_one_learns_from_what_was_told_by_then_and_not_from_what_came_later(
    world: World, log: Store
) -> None:
    placed = {number: row["placed"] for number, row in orders(world).items()}
    log.write([outcome(1, "late", LATER, placed[1]), outcome(2, "late", SOON, placed[2])])
    world.run("feedback", "labels", partition=JANUARY, last=FEBRUARY)
    ids = {number: row["_row_id"] for number, row in orders(world).items()}

    january = learned_from(world, JANUARY)["_row_id"]
    february = learned_from(world, FEBRUARY)["_row_id"]

    assert ids[2] in january and ids[1] not in january
    assert ids[2] in february and ids[1] in february
    assert ids[3] not in february


def test_a_source_that_knows_no_outcome_learns_from_callers_alone(world: World, log: Store) -> None:
    world = world.declared(label__sql="CAST(NULL AS BOOLEAN)")
    before = world.run("labels", partition=JANUARY)
    assert finding(before, "both_classes") == (False, "0 of 0 labelled rows are 'late'.")
    placed = {number: row["placed"] for number, row in orders(world).items()}
    log.write([outcome(5, "late", SOON, placed[5]), outcome(6, "not late", SOON, placed[6])])

    result = world.run("feedback", "labels", partition=JANUARY)

    assert finding(result, "both_classes") == (True, "1 of 2 labelled rows are 'late'.")
    rows = learned_from(world, JANUARY)
    assert rows["label"].sum() == 1.0 and rows.height == 2


def test_labels_are_as_ever_where_nothing_was_told(world: World, log: Store) -> None:
    world.run("labels", partition=JANUARY, last=FEBRUARY)
    bytes_of = {month: world.version("labels", month) for month in (JANUARY, FEBRUARY)}
    known = world.metadata("labels", JANUARY)
    placed = orders(world)[1]["placed"]

    world.run("feedback", "labels", partition=JANUARY, last=FEBRUARY)
    assert {m: world.version("labels", m) for m in (JANUARY, FEBRUARY)} == bytes_of
    again = world.metadata("labels", JANUARY)
    assert (
        again["unlabelled"]
        == len(UNKNOWN)
        == GOOD_ROWS - world.rows("labels", JANUARY)["label"].count()
    )
    assert set(again) - {"told_by_callers"} == set(again) == set(known)

    log.write([outcome(1, "late", SOON, placed)])
    world.run("feedback", "labels", partition=JANUARY, last=FEBRUARY)
    assert world.version("labels", FEBRUARY) == bytes_of[FEBRUARY]
    assert world.version("labels", JANUARY) != bytes_of[JANUARY]
