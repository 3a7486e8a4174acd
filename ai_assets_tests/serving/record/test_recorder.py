"""Group commit: what waits is kept together, and nothing is told as kept that is not."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from record_entries import answered, told

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.problems import Refused
from ai_assets.serving.record import recorder as recording
from ai_assets.serving.record.answers import Entry, LogError
from ai_assets.serving.record.recorder import Mode, Recorder, log_mode


class Memory:
    """A store that waits at a gate, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[Entry]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = 0
        self.closed = False

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep them, once the gate is open."""
        assert self.gate.wait(10)
        if self.fails:
            self.fails -= 1
            raise LogError("The log cannot be used: disk is full.")
        if entries:
            self.groups.append(list(entries))

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def __call__(self) -> Any:
        return self


def made(memory: Callable[[], Any], mode: Mode = "durable", **changes: Any) -> Recorder:
    """A recorder of that store."""
    return Recorder(memory, mode, **{"max_waiting": 100, **changes})


async def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def test_what_waits_during_a_commit_is_kept_in_the_next_one_together():
    memory, counted = Memory(), []
    recorder = made(memory, kept=lambda rows, seconds: counted.append(rows))
    first, rest = answered(), [answered(rows=2) for _ in range(5)]

    async def ask() -> None:
        await recorder.add(told())
        memory.gate.clear()
        one = asyncio.create_task(recorder.add(first))
        await until(lambda: not recorder._queue and recorder.waiting == 1)
        others = [asyncio.create_task(recorder.add(entry)) for entry in rest]
        await until(lambda: recorder.waiting == 6)
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in (one, *others))
        memory.gate.set()
        await asyncio.gather(one, *others)

    asyncio.run(ask())
    recorder.close()

    assert memory.groups[1:] == [[first], rest]
    assert counted == [0, 1, 10]
    assert (recorder.waiting, memory.closed) == (0, True)


def test_an_answer_whose_record_fails_is_refused_and_the_next_is_kept():
    memory = Memory()
    recorder = made(memory)
    entry = answered()

    async def ask() -> None:
        await recorder.add(answered())
        memory.fails = 1
        with pytest.raises(Refused) as refused:
            await recorder.add(answered())
        assert refused.value.status == 503
        assert refused.value.headers == {"Retry-After": "1"}
        assert refused.value.error == (
            "What cannot be recorded is not answered, and it cannot now. "
            "The log cannot be used: disk is full."
        )
        with pytest.raises(Refused):
            recorder.ready()
        await recorder.add(entry)
        recorder.ready()

    asyncio.run(ask())
    recorder.close()

    assert memory.groups[1:] == [[entry]]


def test_a_log_that_cannot_be_opened_yet_is_tried_again_for_each_group():
    memory, attempts = Memory(), []

    def opened() -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise LogError("The log cannot be used: no such folder.")
        return memory

    recorder = made(opened, first=[told(outcome="first")])

    async def ask() -> None:
        with pytest.raises(Refused, match="no such folder"):
            await recorder.add(answered())
        with pytest.raises(Refused, match="no such folder"):
            recorder.store()
        await recorder.add(told())

    asyncio.run(ask())
    recorder.close()

    assert memory.groups == [[told(outcome="first")], [told()]]


def test_a_log_that_does_not_answer_holds_nobody_longer_than_the_bound(
    caplog: pytest.LogCaptureFixture,
):
    memory = Memory()
    recorder = made(memory, max_seconds=0.3)
    entries = [answered() for _ in range(3)]

    async def ask() -> None:
        await recorder.add(entries[0])
        memory.gate.clear()
        began = time.monotonic()
        with pytest.raises(Refused, match=r"it cannot now\. The log does not answer") as refused:
            await recorder.add(entries[1])
        assert 0.2 < time.monotonic() - began < 2
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        await asyncio.sleep(0.1)
        with pytest.raises(Refused, match="The log does not answer"):
            recorder.ready()
        memory.gate.set()
        await until(lambda: recorder.waiting == 0)
        recorder.ready()
        memory.gate.clear()
        left = asyncio.create_task(recorder.add(entries[2]))
        await until(lambda: not recorder._queue and recorder.waiting == 1)
        began = time.monotonic()
        await asyncio.to_thread(recorder.close)
        assert time.monotonic() - began < 2
        with pytest.raises(Refused):
            await left

    asyncio.run(ask())

    assert "1 entries may be lost: The log does not answer." in caplog.text
    memory.gate.set()
    for _ in range(200):
        if memory.closed:
            break
        time.sleep(0.01)
    assert memory.groups == [[entry] for entry in entries]


def test_a_log_that_does_not_open_holds_no_reader_longer_than_the_bound():
    gate = threading.Event()

    def opened() -> Any:
        assert gate.wait(10)
        return Memory()

    recorder = made(opened, max_seconds=0.2)
    with pytest.raises(Refused, match="The log does not answer"):
        recorder.store()
    gate.set()

    assert isinstance(recorder.store(), Memory)
    recorder.close()


def test_too_many_that_wait_are_refused_at_once():
    memory = Memory()
    recorder = made(memory, max_waiting=2)

    async def ask() -> None:
        await recorder.add(answered())
        memory.gate.clear()
        waiting = [asyncio.create_task(recorder.add(answered())) for _ in range(2)]
        await until(lambda: recorder.waiting == 2)
        with pytest.raises(Refused, match="2 answers wait for the log"):
            await recorder.add(answered())
        memory.gate.set()
        await asyncio.gather(*waiting)

    asyncio.run(ask())
    recorder.close()

    assert sum(len(group) for group in memory.groups) == 3


def test_async_answers_at_once_and_waits_no_longer_than_its_bound(
    monkeypatch: pytest.MonkeyPatch,
):
    memory = Memory()
    memory.gate.clear()
    recorder = made(memory, "async", max_waiting=3)
    entries = [answered() for _ in range(3)]

    async def ask() -> float:
        for entry in entries:
            await asyncio.wait_for(recorder.add(entry), 1)
        with pytest.raises(Refused, match="3 answers wait for the log"):
            await recorder.add(answered())
        memory.gate.set()
        began = time.perf_counter()
        await until(lambda: recorder.waiting == 0)
        return time.perf_counter() - began

    took = asyncio.run(ask())
    recorder.close()

    assert [entry for group in memory.groups for entry in group] == entries
    assert took < recording.LINGER_S + 1


def test_async_keeps_what_was_answered_until_it_can_be_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "_AGAIN_S", 0.01)
    memory, entry = Memory(), answered()
    recorder = made(memory, "async")

    async def ask() -> None:
        await recorder.add(told())
        await until(lambda: len(memory.groups) == 1)
        memory.fails = 5
        await recorder.add(entry)
        await until(lambda: len(memory.groups) == 2)

    asyncio.run(ask())
    recorder.close()

    assert memory.groups[1] == [entry]
    assert memory.fails == 0


def test_closing_keeps_what_waits_and_tells_what_is_lost(caplog: pytest.LogCaptureFixture):
    memory, broken = Memory(), Memory()
    broken.fails = 100

    async def ask(recorder: Recorder) -> None:
        for _ in range(4):
            await recorder.add(answered())

    for store in (memory, broken):
        recorder = made(store, "async")
        asyncio.run(ask(recorder))
        recorder.close()

    assert sum(len(group) for group in memory.groups) == 4
    assert "4 entries are lost" in caplog.text


def test_who_reads_the_log_first_waits_until_it_is_open():
    memory, may_open = Memory(), threading.Event()

    def opened() -> Any:
        assert may_open.wait(10)
        return memory

    recorder = made(opened)

    async def ask() -> None:
        reading = asyncio.create_task(asyncio.to_thread(recorder.store))
        await asyncio.sleep(0.05)
        assert not reading.done()
        may_open.set()
        assert await reading is memory

    asyncio.run(ask())
    recorder.close()


def test_reading_a_log_that_could_not_be_opened_has_it_tried_again():
    memory, attempts = Memory(), []

    def opened() -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise LogError("The log cannot be used: it is locked.")
        return memory

    recorder = made(opened)

    async def ask() -> None:
        with pytest.raises(Refused, match="it is locked"):
            recorder.store()
        await until(lambda: recorder._store is not None)
        assert recorder.store() is memory

    asyncio.run(ask())
    recorder.close()

    assert len(attempts) == 2


def test_off_keeps_nothing_and_takes_no_feedback():
    memory = Memory()
    recorder = made(memory, "off")

    asyncio.run(recorder.add(answered()))

    assert memory.groups == []
    with pytest.raises(Refused) as refused:
        recorder.store()
    assert refused.value.status == 404


def test_the_environment_wins_over_the_declaration_and_durable_is_the_default():
    assert [log_mode(None), log_mode("async"), log_mode("async", "off")] == [
        "durable",
        "async",
        "off",
    ]
    with pytest.raises(BundleError, match=r"AI_ASSETS_LOG_MODE must be one of .* but got 'ofd'"):
        log_mode("async", "ofd")
