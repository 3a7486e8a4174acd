"""Anybody may ask whether a server is ready, as often as they like: callers are not held up."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.serving.app import create_app
from ai_assets.serving.engine import Engine
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.asked import Asked
from ai_assets.serving.settings import Settings

PROBERS = 4


@pytest.fixture
def missing(payload: Path, tmp_path: Path) -> Iterator[TestClient]:
    """A server whose tables are not there, and which looks for them at each question."""
    settings = Settings(lake=str(tmp_path / "lake"), check_seconds=1e-6)
    with TestClient(create_app(payload, settings)) as client:
        yield client


def test_rows_are_scored_while_others_ask_all_the_time_whether_they_would_be(client: TestClient):
    server: Any = client.app.state.server  # type: ignore[attr-defined]
    body = json.dumps(small.ROW).encode()
    asked = 0

    async def probe() -> None:
        nonlocal asked
        while True:
            await server.ready()
            asked += 1
            await asyncio.sleep(0)

    async def scenario() -> int:
        probers = [asyncio.create_task(probe()) for _ in range(PROBERS)]
        await asyncio.sleep(0.05)
        try:
            async with asyncio.timeout(5):
                for _ in range(5):
                    await server.score(server.reader.rows(body), Asked("predict", 0.0))
        finally:
            for prober in probers:
                prober.cancel()
        found = await asyncio.gather(*probers, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found), found
        return asked

    assert client.portal is not None
    assert client.portal.call(scenario) > PROBERS


def test_all_who_ask_while_tables_are_missing_wait_for_one_look(
    missing: TestClient, monkeypatch: pytest.MonkeyPatch
):
    server: Any = missing.app.state.server  # type: ignore[attr-defined]
    looks, let, ready = [], threading.Event(), Engine.ready

    def slow(engine: Engine) -> None:
        looks.append(engine)
        assert let.wait(10)
        ready(engine)

    async def ask_together() -> list[BaseException | None]:
        tasks = [asyncio.create_task(server.ready()) for _ in range(50)]
        await asyncio.sleep(0.1)
        let.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    monkeypatch.setattr(Engine, "ready", slow)
    assert missing.portal is not None
    found = missing.portal.call(ask_together)

    assert len(looks) == 1
    assert {(e.status, e.error) for e in found if isinstance(e, Refused)} == {
        (503, "Not ready: the table trips/online/weather cannot be used now.")
    }
    assert len(found) == 50
    assert missing.get("/readyz").status_code == 503
    assert len(looks) == 2
