"""A shadow scores what the stable bundle answers; no caller gets its answers or waits for it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from release_worlds import World, until

from ai_assets.serving.app import create_app
from ai_assets.serving.record.answers import Answered
from ai_assets.serving.record.asked import Asked
from ai_assets.serving.record.store import open_store
from ai_assets.serving.traffic.shadow import Shadow

ROW = small.ROW


@pytest.fixture
def shadowed(world: World) -> Iterator[tuple[World, TestClient, str, str]]:
    """A server whose stable bundle calls every trip late, and whose shadow none."""
    stable, shadow = world.bundle(0.0), world.bundle(1.0)
    world.release(stable, shadow, 0.0, "shadow")
    with TestClient(create_app(None, world.settings(max_shadow=4))) as client:
        until(lambda: client.get("/release").json()["candidate"] == shadow)
        yield world, client, stable, shadow


def entries(world: World) -> list[Answered]:
    return list(open_store(str(world.folder / "log.sqlite")).answers((None, None)))


def counted(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_its_answers_are_logged_and_never_given(shadowed: tuple[World, TestClient, str, str]):
    world, client, stable, shadow = shadowed
    answers = [client.post("/predict", json=[ROW, ROW]).json() for _ in range(5)]

    until(lambda: len(entries(world)) == 10)
    assert {answer["bundle"] for answer in answers} == {stable}
    assert {one["label"] for answer in answers for one in answer["predictions"]} == {"late"}
    by_role = {role: [e for e in entries(world) if e.role == role] for role in ("stable", "shadow")}
    assert {e.bundle for e in by_role["shadow"]} == {shadow}
    assert [e.label for e in by_role["shadow"]] == [["not late", "not late"]] * 5
    assert all(e.split is None for e in entries(world))
    assert [json.loads(e.given) for e in by_role["shadow"]] == [[ROW, ROW]] * 5
    labels = f'bundle="{shadow}",product="trips",role="shadow"'
    assert counted(client, f"ai_assets_answers_total{{{labels}}}") == 10
    assert counted(client, f"ai_assets_bundle{{{labels}}}") == 1


def test_what_it_cannot_take_is_dropped_and_counted(shadowed: tuple[World, TestClient, str, str]):
    world, client, _, _ = shadowed

    assert client.post("/predict", json=[ROW] * 5).status_code == 200

    assert counted(client, "ai_assets_shadow_dropped_rows_total") == 5
    assert [e.role for e in entries(world)] == ["stable"]


def test_its_failure_is_counted_and_nobody_sees_it(
    shadowed: tuple[World, TestClient, str, str], monkeypatch: pytest.MonkeyPatch
):
    world, client, _, shadow = shadowed
    server: Any = client.app.state.server  # type: ignore[attr-defined]
    candidate = server.router.now.candidate
    monkeypatch.setattr(candidate.engine.scorer, "score_matrix", lambda _: 1 / 0)

    assert client.post("/predict", json=ROW).status_code == 200

    until(lambda: counted(client, "ai_assets_shadow_dropped_rows_total") == 1)
    server.keeper.counts.flush()
    store = open_store(str(world.folder / "log.sqlite"))
    (failed,) = until(lambda: [c for c in store.counts((None, None)) if c.role == "shadow"])
    assert (failed.bundle, failed.answered, failed.failed) == (shadow, 0, 1)
    assert [e.role for e in entries(world)] == ["stable"]


class Slow:
    """A slot that answers when it is let."""

    class bundle:
        tag = "trips:slow"

    def __init__(self) -> None:
        self.let, self.asked = asyncio.Event(), 0

    def taking(self, part: Any) -> Any:
        return part

    def held(self) -> Any:
        return nullcontext()

    async def submit(self, part: Any) -> Any:
        self.asked += len(part)
        await self.let.wait()
        return part


class Noted:
    """Counts what a shadow tells its keeper and its metrics."""

    def __init__(self) -> None:
        self.lost = self.rows = 0
        self.statuses: list[int] = []
        self.counts = self

    async def answered(self, *_: Any) -> None:
        return None

    def add(self, tag: str, role: str, route: str, status: int, seconds: float) -> None:
        self.statuses.append(status)

    def dropped(self, rows: int) -> None:
        self.lost += rows

    def answered_rows(self, bundle: str, role: str, rows: int) -> None:
        self.rows += rows


def test_a_slow_shadow_holds_a_bounded_number_of_rows_and_goes_on_afterwards():
    async def run() -> None:
        noted, slow = Noted(), Slow()
        shadow: Any = Shadow(noted, noted, 3)  # type: ignore[arg-type]
        for _ in range(5):
            shadow.ask(slow, np.zeros((1, 4)), Asked("predict", 0.0))
            await asyncio.sleep(0)
        assert (slow.asked, noted.lost, noted.rows) == (3, 2, 0)
        slow.let.set()
        await shadow.close()
        shadow.ask(slow, np.zeros((3, 4)), Asked("predict", 0.0))
        await shadow.close()
        assert (noted.rows, noted.lost, noted.statuses) == (6, 2, [200] * 4)

    asyncio.run(run())
