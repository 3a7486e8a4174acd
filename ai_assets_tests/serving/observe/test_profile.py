"""A profile of the process, on demand."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from ai_assets.serving.access.rules import ADMIN, needed
from ai_assets.serving.observe.profile import collapsed


def spin(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(100))


@pytest.fixture
def busy() -> Iterator[None]:
    """A thread that is always in `spin`."""
    stop = threading.Event()
    thread = threading.Thread(target=spin, args=(stop,), name="busy-1", daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_stacks_are_counted_from_the_outermost_frame(busy: None):
    stacks = dict(line.rsplit(" ", 1) for line in collapsed(0.5, 100).splitlines())

    seen = {stack: int(count) for stack, count in stacks.items() if stack.startswith("busy;")}
    assert seen
    assert sum(seen.values()) >= 5
    assert all("threading.Thread._bootstrap:" in stack.split(";")[1] for stack in seen)
    assert any(".spin:" in stack for stack in seen)


def test_the_route_answers_stacks(client: TestClient, busy: None):
    began = time.monotonic()
    answer = client.post("/debug/profile?seconds=0.5&hz=50")

    assert answer.status_code == 200
    assert time.monotonic() - began >= 0.5
    assert any(line.startswith("busy;") for line in answer.text.splitlines())


@pytest.mark.parametrize(
    "query", ["seconds=0", "seconds=61", "seconds=x", "seconds=nan", "seconds=-1", "hz=501"]
)
def test_a_profile_is_bounded(client: TestClient, query: str):
    answer = client.post(f"/debug/profile?{query}")

    assert answer.status_code == 400
    assert "at most" in answer.json()["error"]


def test_one_profile_is_taken_at_a_time(client: TestClient):
    def ask(_: int) -> int:
        return client.post("/debug/profile?seconds=1").status_code

    with ThreadPoolExecutor(2) as callers:
        statuses = sorted(callers.map(ask, range(2)))

    assert statuses == [200, 429]


def test_a_profile_needs_the_scope_admin():
    assert needed("POST", "/debug/profile") == ADMIN
