"""Other work than scoring waits in the same line, takes its turn and is refused as rows are."""

import asyncio
from collections.abc import Callable

import pytest
from slow_batches import Caller, Slow, batcher

from ai_assets.serving.batching import CallerGone, MicroBatcher, caller
from ai_assets.serving.problems import Refused


class Worked:
    """Work that ends when it is let; remembers in what order with batches."""

    def __init__(self, slow: Slow) -> None:
        self._slow = slow

    def __call__(self, name: str) -> Callable[[], str]:
        def work() -> str:
            assert self._slow.let.wait(10)
            self._slow.batches.append([name])
            return name

        return work


def test_other_work_takes_its_turn_alone():
    async def scenario():
        slow = Slow()
        many, work = batcher(slow), Worked(slow)
        tasks = [asyncio.create_task(many.submit([0]))]
        await asyncio.sleep(0.02)
        tasks += [
            asyncio.create_task(one)
            for one in (
                many.submit([1]), many.submit([2]), many.call(work("explained"), 3),
                many.submit([3]), many.call(work("again"), 1),
            )
        ]  # fmt: skip
        await asyncio.sleep(0.02)
        waiting = many.waiting
        slow.let.set()
        found = await asyncio.gather(*tasks)
        return found, slow.batches, waiting, many.waiting

    found, batches, waiting, after = asyncio.run(scenario())

    assert found == [[0], [2], [4], "explained", [6], "again"]
    assert batches == [[0], [1, 2], ["explained"], [3], ["again"]]
    assert (waiting, after) == (8, 0)


def test_other_work_is_refused_as_rows_are_and_its_failure_is_its_own():
    async def scenario():
        slow = Slow()
        many = batcher(slow)
        first = asyncio.create_task(many.submit([1] * 8))
        await asyncio.sleep(0.02)
        with pytest.raises(Refused, match="Too many rows wait") as refused:
            await many.call(lambda: None, 3)
        fails = asyncio.create_task(many.call(lambda: 1 / 0, 2))
        slow.let.set()
        await first
        with pytest.raises(ZeroDivisionError):
            await fails
        return refused.value.status, await many.submit([2]), many.waiting

    assert asyncio.run(scenario()) == (503, [4], 0)


def test_other_work_is_done_only_for_callers_that_are_still_there():
    async def scenario():
        slow = Slow()
        many, work = batcher(slow), Worked(slow)

        async def ask(name, request):
            caller.set(request)
            return await many.call(work(name), 1)

        first = asyncio.create_task(many.submit([0]))
        await asyncio.sleep(0.02)
        asked = (("there", Caller(gone=False)), ("gone", Caller(gone=True)), ("left", None))
        tasks = [asyncio.create_task(ask(*one)) for one in asked]
        await asyncio.sleep(0.15)
        tasks[2].cancel()
        slow.let.set()
        found = await asyncio.gather(first, *tasks, return_exceptions=True)
        return found, slow.batches, many.waiting

    found, batches, waiting = asyncio.run(scenario())

    assert found[:2] == [[0], "there"]
    assert isinstance(found[2], CallerGone)
    assert isinstance(found[3], asyncio.CancelledError)
    assert (batches, waiting) == ([[0], ["there"]], 0)


def test_nobody_waits_longer_than_the_bound_for_other_work_either():
    async def scenario():
        slow = Slow()
        many = MicroBatcher(slow, max_rows=1, max_waiting=10, max_seconds=0.2)
        work = Worked(slow)
        tasks = [asyncio.create_task(many.call(work(name), 2)) for name in ("hangs", "waits")]
        tasks.append(asyncio.create_task(many.submit([1])))
        early = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        held = many.waiting
        slow.let.set()
        later = await many.call(work("later"), 1)
        await many.close()
        return early, held, later, slow.batches, many.waiting

    early, held, later, batches, waiting = asyncio.run(scenario())

    assert [(e.status, e.error, dict(e.headers)) for e in early] == [
        (503, "There was no answer within 0.2 s.", {"Retry-After": "1"})
    ] * 3
    assert (held, later, waiting) == (5, "later", 0)
    assert batches == [["hangs"], ["later"]]
