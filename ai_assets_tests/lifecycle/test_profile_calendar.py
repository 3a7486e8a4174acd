"""What a first query reads of the calendar: what comes round often enough in training."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
import yaml

from ai_assets.lifecycle.drift.numbers import drift_numbers, joint_drift
from ai_assets.lifecycle.drift.profile import profile
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.profile.declare import Asked, propose


def of(frame: pl.DataFrame, folder: Path) -> dict[str, str]:
    """The files that are proposed over the table."""
    file = folder / "rows.csv"
    frame.write_csv(file)
    return propose(Asked(file, "late"))


def declared(text: str) -> TabularDeclaration:
    """What they declare."""
    return TabularDeclaration.model_validate(yaml.safe_load(text)["attributes"])


def a_table_of(first: date, last: date, a_day: int) -> pl.DataFrame:
    """So many rows a day, with something to learn."""
    days = pl.date_range(first, last, "1d", eager=True)
    return pl.DataFrame({"created_at": [d for d in days for _ in range(a_day)]}).with_columns(
        x=pl.int_range(pl.len()) % 17, late=pl.int_range(pl.len()) % 5 == 0
    )


def test_the_season_is_learned_from_two_years_on_and_a_month_is_no_drift(tmp_path: Path) -> None:
    one_year = of(a_table_of(date(2023, 1, 3), date(2024, 11, 30), 10), tmp_path)
    two_years = of(a_table_of(date(2023, 1, 3), date(2024, 12, 31), 10), tmp_path)

    assert "AS created_at_month" not in one_year["features.sql"]
    assert (
        "-- No month(created_at) is read: the 23 months that are learned from do not hold two "
        "years.\n" in one_year["features.sql"]
    )
    assert declared(one_year["defs.yaml"]).drift.ignore == []
    assert "month(r.created_at) AS created_at_month" in two_years["features.sql"]
    assert "-- No " not in two_years["features.sql"]
    assert declared(two_years["defs.yaml"]).drift.ignore == ["created_at_month"]
    assert "   # a month differs by the calendar alone\n" in two_years["defs.yaml"]


def test_a_calm_month_of_a_table_of_two_years_is_not_called_drift(tmp_path: Path) -> None:
    files = of(a_table_of(date(2023, 1, 3), date(2024, 12, 31), 10), tmp_path)
    spec = declared(files["defs.yaml"]).drift

    def seen(first: date, last: date) -> pl.DataFrame:
        moment = pl.col("created_at")
        return a_table_of(first, last, 40).select(
            created_at_isodow=moment.dt.weekday(), created_at_month=moment.dt.month(), x="x"
        )

    reference, july = profile(seen(date(2023, 1, 1), date(2024, 12, 31))), date(2025, 7, 1)
    calm = seen(july, date(2025, 7, 31))

    assert drift_numbers(reference, calm, spec).filter("drifted").is_empty()
    assert not joint_drift(reference, calm, spec).drifted
    unsaid = drift_numbers(reference, calm, Drift()).filter("drifted")
    assert unsaid["column"].to_list() == ["created_at_month"]


def test_of_days_the_day_of_the_week_is_learned_from_two_weeks_on_and_is_no_drift(
    tmp_path: Path,
) -> None:
    few = of(a_table_of(date(2024, 1, 3), date(2024, 1, 15), 300), tmp_path)
    enough = of(a_table_of(date(2024, 1, 3), date(2024, 1, 16), 300), tmp_path)

    assert declared(few["defs.yaml"]).partitions.every == "day"
    assert "isodow(r." not in few["features.sql"] and "do not hold two weeks" in few["features.sql"]
    assert "isodow(r.created_at) AS created_at_isodow" in enough["features.sql"]
    assert declared(enough["defs.yaml"]).drift.ignore == ["created_at_isodow"]


def test_what_is_read_of_the_calendar_takes_no_columns_name(tmp_path: Path) -> None:
    frame = a_table_of(date(2023, 1, 3), date(2024, 12, 31), 10)

    files = of(frame.rename({"x": "Created_at_month"}), tmp_path)

    assert "month(r.created_at) AS created_at_month_," in files["features.sql"]
    assert declared(files["defs.yaml"]).drift.ignore == ["created_at_month_"]


@pytest.mark.parametrize(
    ("last", "end", "window"),
    [
        (date(2024, 12, 31), "2025-01-01", 12),
        # a pause as long as others is no end: no row came on two days of each week
        (date(2024, 12, 28), "2025-01-01", 12),
        (date(2024, 12, 20), "2024-12-01", 11),
        (date(2024, 12, 1), "2024-12-01", 11),
    ],
)
def test_a_last_part_of_time_whose_rows_end_early_waits_until_it_is_whole(
    tmp_path: Path, last: date, end: str, window: int
) -> None:
    every = pl.date_range(date(2024, 1, 3), last, "1d", eager=True)
    days = every.filter((every.dt.weekday() < 6) | (every == last))
    frame = pl.DataFrame({"created_at": [d for d in days for _ in range(12)]}).with_columns(
        pl.col("created_at").cast(pl.Datetime("us", "UTC")),
        x=pl.int_range(pl.len()) % 17,
        late=pl.int_range(pl.len()) % 5 == 0,
    )

    text = of(frame, tmp_path)["defs.yaml"]
    product = declared(text)

    assert product.partitions is not None
    assert (str(product.partitions.end), product.training.window) == (end, window)
    waits = "drop end where rows go on coming: until then the last month, which is not whole, waits"
    assert (waits in text) == (window == 11)
