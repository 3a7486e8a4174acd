"""Time-varying tables: missing, read, replaced while the server runs."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import small_payload as small
from deltalake import DeltaTable
from fastapi.testclient import TestClient

from ai_assets.serving.app import create_app
from ai_assets.serving.online import OnlineError, OnlineTables
from ai_assets.serving.settings import Settings

TABLES = {"weather": {"path": "trips/online/weather"}}
NOT_READY = "Not ready: the table trips/online/weather cannot be used now."


def test_what_did_not_change_is_not_read_again(tmp_path: Path):
    small.write_weather(tmp_path)
    tables = OnlineTables(str(tmp_path), TABLES)

    first, second = tables.newest()["weather"], tables.newest()["weather"]
    small.write_weather(tmp_path, 60.0)
    third = tables.newest()["weather"]

    assert first is second
    assert (first.version, third.version) == ("0", "1")
    assert third.frame["temp"].unique().to_list() == [60.0]
    assert "hour" in third.frame.columns


def test_a_parquet_file_is_a_table_too(tmp_path: Path):
    path = tmp_path / "weather.parquet"
    small.weather().write_parquet(path)
    tables = OnlineTables(str(tmp_path), {"weather": {"path": "weather.parquet"}})

    first = tables.newest()["weather"]

    assert first.frame.height == 12
    assert tables.newest()["weather"] is first


def test_a_missing_table_is_named(tmp_path: Path):
    with pytest.raises(OnlineError, match=r"trips/online/weather.*AI_ASSETS_LAKE"):
        OnlineTables(str(tmp_path), TABLES).newest()


def test_a_damaged_table_is_named(tmp_path: Path):
    small.write_weather(tmp_path)
    for file in (tmp_path / "trips/online/weather").glob("*.parquet"):
        file.write_bytes(b"PAR1")

    with pytest.raises(OnlineError, match="cannot be read"):
        OnlineTables(str(tmp_path), TABLES).newest()


def test_without_its_table_the_server_is_not_ready_and_says_why(payload: Path, tmp_path: Path):
    lake = tmp_path / "lake"
    settings = Settings(lake=str(lake), check_seconds=0.05)
    with TestClient(create_app(payload, settings)) as client:
        assert client.get("/healthz").status_code == 200
        for response in (client.get("/readyz"), client.post("/predict", json=small.ROW)):
            assert response.status_code == 503
            assert response.json()["error"] == NOT_READY
            assert response.headers["Retry-After"]

        small.write_weather(lake)

        assert _until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/predict", json=small.ROW).status_code == 200


def no_table(lake: Path) -> None:
    return None


def damaged_table(lake: Path) -> None:
    small.write_weather(lake)
    for file in (lake / "trips/online/weather").glob("*.parquet"):
        file.unlink()


def no_rows(lake: Path) -> None:
    DeltaTable.create(str(lake / "trips/online/weather"), small.weather().to_arrow().schema)


def other_columns(lake: Path) -> None:
    small.weather().rename({"temp": "heat"}).write_delta(str(lake / "trips/online/weather"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (no_table, NOT_READY),
        (damaged_table, NOT_READY),
        (no_rows, NOT_READY),
        (other_columns, "Not ready: the tables cannot be used now."),
    ],
)
def test_where_the_lake_lies_is_told_to_the_log_alone(
    make: Callable[[Path], None],
    told: str,
    payload: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    lake = tmp_path / "lake"
    make(lake)
    settings = Settings(
        lake=str(lake), access="keys", keys=str(tmp_path / "keys.sqlite"), check_seconds=60
    )
    with TestClient(create_app(payload, settings)) as client:
        answers = [client.get("/readyz"), client.get("/v2/health/ready")]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert [answer.json()["error"] for answer in answers] == [told] * 2
    assert str(tmp_path) not in "".join(answer.text for answer in answers)
    logged = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Not ready: ")]
    assert logged
    if make in (no_table, damaged_table):
        assert str(lake) in logged[0]


def test_a_newer_version_is_taken_up_while_the_server_runs(payload: Path, tmp_path: Path):
    lake = tmp_path / "lake"
    small.write_weather(lake, 50.0)
    settings = Settings(lake=str(lake), check_seconds=0.05)
    with TestClient(create_app(payload, settings)) as client:
        before = client.post("/predict", json=small.ROW).json()
        small.write_weather(lake, -50.0)

        def newer() -> bool:
            after = client.post("/predict", json=small.ROW).json()
            changed = (
                after["predictions"][0]["probability"] > before["predictions"][0]["probability"]
            )
            return changed and after["online"]["weather"]["version"] == "1"

        assert _until(newer)


def _until(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
