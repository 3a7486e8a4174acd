"""A small world of events and weather that the tests of features share."""

from datetime import UTC, datetime, timedelta

import polars as pl

from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table

HORIZON = timedelta(hours=2)
START = datetime(2013, 1, 1, tzinfo=UTC)
HOURS = [START + timedelta(hours=h) for h in range(48)]
SPECS = {
    "trips": Table(
        source=Source(csv="trips.csv"),
        time="due",
        columns={
            "due": Column(type="datetime"),
            "place": Column(type="string"),
            "delay": Column(type="int64", known_at="due + to_minutes(delay)"),
        },
    ),
    "weather": Table(
        source=Source(csv="weather.csv"),
        time="hour",
        columns={"hour": Column(type="datetime"), "temp": Column(type="float64")},
    ),
}
NAMES = {"specs": SPECS, "request_table": "trips", "horizon": HORIZON}
WEATHER_KNOWN = """
WITH observed AS (SELECT known_at, temp * 2 AS double_temp FROM weather)
SELECT r._row_id, r.place, w.double_temp
FROM request AS r
ASOF LEFT JOIN observed AS w ON w.known_at <= r.prediction_time
"""


def trips() -> pl.DataFrame:
    """Forty-eight trips, one an hour, with row ids that are not in order of time."""
    return pl.DataFrame(
        {
            "_row_id": [(7 * h) % 48 for h in range(48)],
            "due": HOURS,
            "place": ["a", "b", "c"] * 16,
            "delay": [None if h % 10 == 9 else (h * 13) % 50 for h in range(48)],
        }
    )


def tables() -> dict[str, pl.DataFrame]:
    """The history tables beside the trips."""
    return {"weather": pl.DataFrame({"hour": HOURS, "temp": [float(h) for h in range(48)]})}
