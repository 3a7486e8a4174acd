"""The course of a number over the day: its values, and the same bytes whatever the threads do."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.verdict.sketch import clock_of

TABLE = Table.model_validate(
    {
        "source": {"csv": "rooms.csv"},
        "key": ["hour"],
        "time": "hour",
        "columns": {"hour": {"type": "datetime"}, "temp": {"type": "float64"}},
    }
)
START = datetime(2024, 3, 1, tzinfo=UTC)


def course(hours: list[int], temps: list[float | None], fewest: int = 2) -> list[float | None]:
    """The course of temperatures at hours of a day in UTC."""
    times = [START + timedelta(hours=hour) for hour in hours]
    frame = pl.DataFrame({"hour": times, "temp": temps})
    clock = clock_of(frame, TABLE, "UTC", fewest=fewest)
    assert clock is not None
    return clock.courses.get("temp", [])


def test_an_hours_mean_is_told_in_deviations_from_the_mean_of_all() -> None:
    found = course([0, 0, 6, 6, 7], [1.0, 3.0, 7.0, 9.0, None])

    spread = np.std([1.0, 3.0, 7.0, 9.0], ddof=1)
    assert found[0] == pytest.approx((2.0 - 5.0) / spread)
    assert found[6] == pytest.approx((8.0 - 5.0) / spread)
    assert [hour for hour, mean in enumerate(found) if mean is not None] == [0, 6]


def test_an_hour_of_few_rows_is_not_told() -> None:
    found = course([0, 0, 0, 6], [1.0, 3.0, 2.0, 9.0])

    assert found[0] is not None
    assert found[6] is None


@pytest.mark.parametrize("temps", [[2.0, 2.0, 2.0], [None, float("nan"), 2.0], [None, None, None]])
def test_what_does_not_vary_has_no_course(temps: list[float | None]) -> None:
    assert course([0, 1, 2], temps) == []


def test_many_rows_give_the_same_bytes_each_time() -> None:
    random = np.random.default_rng(7)
    hours = np.datetime64("2024-03-01", "us") + random.integers(0, 700, 100_000).astype("m8[h]")
    frame = pl.DataFrame(
        {
            "hour": pl.Series(hours).cast(pl.Datetime("us", "UTC")),
            "temp": random.normal(size=100_000) * 1e3,
        }
    )

    told = {str(clock_of(frame, TABLE, "UTC")) for _ in range(50)}

    assert len(told) == 1
