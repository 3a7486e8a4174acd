"""Days and hours of a zone whose clock changes: no row is lost or doubled up to features."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_product import World, write_product

from ai_assets.stages.learnable import Window
from ai_assets.stages.monitoring import sketch_of_window
from ai_assets.stages.training_data import save_folder

ZONE = "Europe/Berlin"
COUNT = """\
SELECT r._row_id, r.placed, count(v.placed) AS visits
FROM request AS r
LEFT JOIN visits AS v
    ON v.known_at > r.prediction_time - INTERVAL {hours} HOURS AND v.known_at <= r.prediction_time
GROUP BY r._row_id, r.placed
"""


def hourly(folder: Path, first: datetime, hours: int, counted: int, **changes: Any) -> World:
    """A product with an order and a visit an hour, whose one feature counts visits before it."""
    place = write_product(
        folder / "late_orders",
        tables__orders__source={"csv": "orders.csv"},
        tables__visits__source={"csv": "visits.csv"},
        lookback=f"{counted} hours",
        **changes,
    )
    (place / "features.sql").write_text(COUNT.format(hours=counted), encoding="utf-8")
    placed = [f"{first + timedelta(hours=i):%Y-%m-%dT%H:%M:%SZ}" for i in range(hours)]
    orders = {"number": range(hours), "placed": placed, "shop": "east", "weight": 1.0, "delay": 1}
    pl.DataFrame(orders).write_csv(place / "orders.csv")
    visits = {"shop": "east", "placed": placed, "load": 0.5}
    pl.DataFrame(visits).write_csv(place / "visits.csv")
    world = World.of(place, folder / "home")
    world.run("raw/shops", "cleaned/shops", "rejected/shops")
    return world


DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "labels", "features")


@pytest.mark.parametrize("together", [True, False])
def test_a_lookback_of_a_day_reads_a_day_and_the_horizon_before_each_day(
    tmp_path: Path, together: bool
) -> None:
    """Answers are given an hour ahead, and March 29 had 23 hours."""
    calendar = {"every": "day", "start": "2026-03-27", "end": "2026-04-01", "timezone": ZONE}
    first = datetime(2026, 3, 26, 23, tzinfo=UTC)
    world = hourly(tmp_path, first, 24 * 5 - 1, 24, partitions=calendar)
    days = ["2026-03-27", "2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]
    for begins, ends in [(days[0], days[-1])] if together else [(day, None) for day in days]:
        world.run(*DATA, partition=begins, last=ends)

    assert [world.rows("cleaned/orders", day).height for day in days] == [24, 24, 23, 24, 24]
    features = world.rows("features").sort("placed")
    # Of the order of the n-th hour the visits of hours 0 to n - 1 are known, at most 24 of them.
    assert features["visits"].to_list() == [min(n, 24) for n in range(24 * 5 - 1)]


def test_an_hour_that_the_clock_shows_twice_is_two_partitions(tmp_path: Path) -> None:
    calendar = {"every": "hour", "start": "2025-10-26", "end": "2025-10-27", "timezone": ZONE}
    first = datetime(2025, 10, 25, 22, tzinfo=UTC)
    world = hourly(tmp_path, first, 25, 2, partitions=calendar)
    twice, again, after = "2025-10-26-02:00", "2025-10-26-02:00+0100", "2025-10-26-03:00"
    world.run(*DATA, partition="2025-10-26-00:00", last=twice)
    world.run(*DATA, partition=again)
    world.run(*DATA, partition=after, last="2025-10-26-23:00")

    placed = [world.rows("cleaned/orders", key)["placed"].to_list() for key in (twice, again)]
    assert placed == [
        [datetime(2025, 10, 26, 0, tzinfo=UTC)],
        [datetime(2025, 10, 26, 1, tzinfo=UTC)],
    ]
    features = world.rows("features").sort("placed")
    assert features["visits"].to_list() == [0, 1, *[2] * 23]
    assert world.rows("labels").height == 25


@pytest.mark.parametrize(
    ("every", "keys", "quiet", "quiet_hour"),
    [
        ("hour", ["2025-10-26-22:00", "2025-10-26-23:00"], 2.0, 1.0),
        ("day", ["2025-10-26"], 25.0, None),
    ],
)
def test_how_quiet_an_hour_may_be_is_asked_only_where_partitions_are_hours(
    tmp_path: Path, every: str, keys: list[str], quiet: float, quiet_hour: float | None
) -> None:
    calendar = {"every": every, "start": "2025-10-26", "end": "2025-10-27", "timezone": ZONE}
    world = hourly(tmp_path, datetime(2025, 10, 25, 22, tzinfo=UTC), 25, 2, partitions=calendar)
    read = ("raw/orders", "cleaned/orders", "rejected/orders")
    world.run(*read, partition=keys[0], last=keys[-1])
    save_folder(world.step("training_set", keys[-1]), "training_set", Window(keys).write)

    sketch = sketch_of_window(world.step("bundle", keys[-1]), "orders")

    assert (sketch.rows, sketch.quiet, sketch.quiet_hour) == (quiet, quiet, quiet_hour)
