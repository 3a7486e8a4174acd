"""Time-varying tables: missing, read, replaced while the server runs."""

import time
from pathlib import Path

import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.serving.app import create_app
from ai_assets.serving.online import OnlineError, OnlineTables
from ai_assets.serving.settings import Settings

TABLES = {"weather": {"path": "trips/online/weather"}}


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
            assert "online/weather" in response.json()["error"]
            assert response.headers["Retry-After"]

        small.write_weather(lake)

        assert _until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/predict", json=small.ROW).status_code == 200


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
