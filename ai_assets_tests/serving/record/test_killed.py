"""A server that is killed under load has recorded every answer that it gave."""

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_payload as small
from serving_processes import started

from ai_assets.serving.record.store import open_store

CALLERS = 6
ANSWERS_BEFORE_THE_KILL = 300


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _ask_until_it_is_gone(url: str, answered: list[str], other: list[int]) -> None:
    with httpx.Client(base_url=url, timeout=10) as client:
        while True:
            try:
                answer = client.post("/predict", json=[small.ROW, small.ROW])
            except httpx.TransportError:
                return
            if answer.status_code != 200:
                other.append(answer.status_code)
                return
            answered.extend(p["prediction_id"] for p in answer.json()["predictions"])


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_two_servers_on_one_log_are_killed_under_load_and_no_answer_is_lost(
    shared: Path, tmp_path: Path, request: pytest.FixtureRequest, where: str
):
    log = str(tmp_path / "log.sqlite")
    if where == "postgres":
        server: Any = request.getfixturevalue("postgres")
        log = server.log_of()
    environment = {"AI_ASSETS_LAKE": str(shared / "lake"), "AI_ASSETS_LOG": log}
    answered: list[list[str]] = [[] for _ in range(CALLERS)]
    other: list[int] = []

    with ExitStack() as stack:
        servers = []
        for port in _free_ports(2):
            folder = tmp_path / str(port)
            folder.mkdir()
            bundle = ["--bundle", str(shared / "payload"), "--port", str(port)]
            url = f"http://127.0.0.1:{port}"
            command = ["ai_assets.serving", *bundle]
            servers.append((url, stack.enter_context(started(command, url, folder, environment))))
        callers = [
            threading.Thread(
                target=_ask_until_it_is_gone, args=(servers[n % 2][0], answered[n], other)
            )
            for n in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        end = time.monotonic() + 60
        while min(map(len, answered)) < ANSWERS_BEFORE_THE_KILL / CALLERS:
            assert time.monotonic() < end and not other
            time.sleep(0.01)
        for _, (_, process) in servers:
            process.kill()
        for caller in callers:
            caller.join(timeout=30)

    given = [prediction_id for ids in answered for prediction_id in ids]
    recorded = [
        prediction_id
        for entry in open_store(log).answers((None, None))
        for prediction_id in entry.prediction_ids()
    ]
    assert other == []
    assert len(given) >= ANSWERS_BEFORE_THE_KILL
    assert len(set(recorded)) == len(recorded)
    assert set(given) <= set(recorded)
    # More were recorded only where the answer was still on its way.
    assert len(recorded) - len(given) <= 2 * CALLERS
