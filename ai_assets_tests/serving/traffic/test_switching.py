"""A server in a process of its own, under load, while its release goes back and forth."""

import threading
from typing import Any

import httpx
import small_payload as small
from release_worlds import World, until
from serving_processes import started

from ai_assets.serving.record.store import open_store

CALLERS, SWITCHES = 8, 6


def ask(url: str, stop: threading.Event, answers: list[dict[str, Any]], bad: list[str]) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        while not stop.is_set():
            try:
                answer = client.post("/predict", json=small.ROW)
            except httpx.TransportError as error:
                bad.append(repr(error))
                continue
            if answer.status_code == 200:
                answers.append(answer.json())
            else:
                bad.append(answer.text)


def test_no_request_fails_and_no_answer_is_lost_while_the_release_changes(
    world: World, free_port: int
):
    tags = world.bundle(0.3), world.bundle(0.7)
    world.release(tags[0])
    command = ["ai_assets.serving", "--product", "trips", "--port", str(free_port)]
    url = f"http://127.0.0.1:{free_port}"
    stop, bad = threading.Event(), list[str]()
    answers: list[dict[str, Any]] = []
    with started(command, url, world.folder, world.environment()) as (client, _):
        callers = [
            threading.Thread(target=ask, args=(url, stop, answers, bad)) for _ in range(CALLERS)
        ]
        for caller in callers:
            caller.start()
        try:
            for switch in range(1, SWITCHES + 1):
                now = tags[switch % 2]
                world.release(now)
                until(lambda now=now: client.get("/release").json()["stable"] == now)
                # Whoever asks now meets the new one, and so do those that have asked all along.
                asked = len(answers)
                assert client.post("/predict", json=small.ROW).json()["bundle"] == now
                until(lambda now=now, at=asked: now in {a["bundle"] for a in answers[at:]})
        finally:
            stop.set()
            for caller in callers:
                caller.join(timeout=60)

    assert bad == []
    assert {answer["bundle"] for answer in answers} == set(tags)
    entries = open_store(str(world.folder / "log.sqlite")).answers((None, None))
    recorded = {i: entry.bundle for entry in entries for i in entry.prediction_ids()}
    for answer in answers:
        (given,) = answer["predictions"]
        assert recorded.pop(given["prediction_id"]) == answer["bundle"]
    # What is left was asked above.
    assert len(recorded) == SWITCHES
