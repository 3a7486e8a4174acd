"""Requests are scored together, and neither failures nor callers that leave disturb others."""

import asyncio
import time

import pytest
from slow_batches import Caller, NoCaller, Slow, batcher

from ai_assets.serving.batching import CallerGone, MicroBatcher, caller
from ai_assets.serving.problems import Refused


def test_what_waits_while_a_batch_runs_becomes_the_next_within_the_bound():
    async def scenario():
        slow = Slow()
        many = batcher(slow)
        tasks = [asyncio.create_task(many.submit([n])) for n in range(6)]
        await asyncio.sleep(0.02)
        slow.let.set()
        found = await asyncio.gather(*tasks)
        await many.close()
        return found, slow.batches

    found, batches = asyncio.run(scenario())

    assert found == [[2 * n] for n in range(6)]
    assert max(map(len, batches)) <= 4
    assert len(batches) <= 3


@pytest.mark.parametrize(("callers", "sizes"), [(16, {16}), (4, {2})])
def test_many_callers_that_ask_again_are_answered_together_and_few_at_once(callers, sizes):
    """Where two halves take turns, each batch is half as large."""
    batches = []

    def score(parts: list[list[int]]) -> list[list[int]]:
        time.sleep(0.01)
        batches.append(len(parts))
        return parts

    async def caller(many, late: bool):
        await asyncio.sleep(0.005 if late else 0)
        for n in range(12):
            await many.submit([n])

    async def scenario():
        many = batcher(score, max_rows=64, max_waiting=64)
        await asyncio.gather(*(caller(many, n % 2 == 0) for n in range(callers)))
        await many.close()

    asyncio.run(scenario())

    assert set(batches[4:10]) == sizes


def test_one_bad_request_does_not_fail_the_others():
    async def scenario():
        slow = Slow()
        slow.let.set()
        many = batcher(slow)
        tasks = [asyncio.create_task(many.submit(rows)) for rows in ([1], [-1], [3])]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return found, many.waiting

    found, waiting = asyncio.run(scenario())

    assert (found[0], found[2]) == ([2], [6])
    assert isinstance(found[1], ValueError)
    assert waiting == 0


def test_a_full_queue_refuses_and_says_when_to_try_again():
    async def scenario():
        slow = Slow()
        many = batcher(slow)
        first = asyncio.create_task(many.submit([1] * 8))
        await asyncio.sleep(0.02)
        with pytest.raises(Refused) as refused:
            await many.submit([2] * 3)
        slow.let.set()
        await first
        return refused.value, await many.submit([2] * 3)

    refused, after = asyncio.run(scenario())

    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert after == [4, 4, 4]


def test_a_caller_that_leaves_costs_no_scoring_and_disturbs_nobody():
    async def scenario():
        slow = Slow()
        many = batcher(slow, max_rows=1)
        tasks = [asyncio.create_task(many.submit([n])) for n in range(4)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()
        tasks[2].cancel()
        slow.let.set()
        found = await asyncio.gather(tasks[1], tasks[3])
        return found, slow.batches, many.waiting

    found, batches, waiting = asyncio.run(scenario())

    assert found == [[2], [6]]
    assert [2] not in batches
    assert waiting == 0


def test_closing_answers_what_waits_and_refuses_what_comes():
    async def scenario():
        slow = Slow()
        many = batcher(slow)
        waiting = asyncio.create_task(many.submit([5]))
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(many.close())
        await asyncio.sleep(0.02)
        with pytest.raises(Refused, match="stopping"):
            await many.submit([1])
        slow.let.set()
        await closing
        return await waiting

    assert asyncio.run(scenario()) == [10]


def test_rows_that_have_waited_are_scored_only_for_callers_that_are_still_there():
    async def scenario():
        slow = Slow()
        many = batcher(slow)

        async def ask(number, request):
            caller.set(request)
            return await many.submit([number])

        tasks = [asyncio.create_task(many.submit([0]))]
        await asyncio.sleep(0.02)
        there, gone, unknown = Caller(gone=False), Caller(gone=True), NoCaller()
        tasks += [
            asyncio.create_task(ask(number, request))
            for number, request in enumerate((there, gone, unknown, None), start=1)
        ]
        await asyncio.sleep(0.15)
        tasks.append(asyncio.create_task(ask(5, gone)))
        await asyncio.sleep(0.02)
        slow.let.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return found, slow.batches, many.waiting

    found, batches, waiting = asyncio.run(scenario())

    assert isinstance(found.pop(2), CallerGone)
    # Who has hardly waited is not asked.
    assert found == [[0], [2], [6], [8], [10]]
    assert batches == [[0], [1, 3, 4, 5]]
    assert waiting == 0


def test_nobody_waits_longer_than_the_bound_and_the_worker_goes_on_afterwards():
    async def scenario():
        slow = Slow()
        many = MicroBatcher(slow, max_rows=1, max_waiting=10, max_seconds=0.2)
        tasks = [asyncio.create_task(many.submit([n])) for n in range(2)]
        await asyncio.sleep(0.1)
        tasks.append(asyncio.create_task(many.submit([2])))
        early = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        slow.let.set()
        later = await many.submit([3])
        await many.close()
        return early, later, slow.batches, many.waiting

    early, later, batches, waiting = asyncio.run(scenario())

    assert [(e.status, e.error, dict(e.headers)) for e in early] == [
        (503, "There was no answer within 0.2 s.", {"Retry-After": "1"})
    ] * 3
    assert later == [6]
    assert batches == [[0], [3]]
    assert waiting == 0


def test_behind_many_short_batches_nobody_waits_longer_than_the_bound_either():
    """Fewer are scored than came, and those who are not hear it in time."""
    scored = []

    def score(parts: list[list[int]]) -> list[list[int]]:
        time.sleep(0.2)
        scored.extend(parts)
        return parts

    async def ask(many, number: int):
        began = time.monotonic()
        (found,) = await asyncio.gather(many.submit([number]), return_exceptions=True)
        return found, time.monotonic() - began

    async def scenario():
        many = MicroBatcher(score, max_rows=1, max_waiting=20, max_seconds=0.5)
        found = await asyncio.gather(*(ask(many, number) for number in range(12)))
        after = await many.submit([12])
        await many.close()
        return found, after, many.waiting

    found, after, waiting = asyncio.run(scenario())

    answered = [answer for answer, _ in found if not isinstance(answer, Refused)]
    assert answered == [[number] for number in range(len(answered))]
    assert 1 <= len(answered) <= 2
    assert {e.error for e, _ in found[len(answered) :]} == {"There was no answer within 0.5 s."}
    assert max(seconds for _, seconds in found) < 1.0
    # The batch under way was not ended, and nothing more was begun for who no longer waits.
    assert len(scored) <= 4
    assert (after, waiting) == ([12], 0)


def test_a_batch_that_fails_is_not_tried_row_by_row_for_callers_who_were_refused():
    tried = []

    def score(parts: list[list[int]]) -> list[list[int]]:
        tried.append(parts)
        time.sleep(0.3 if len(parts) > 1 else 0)
        raise ValueError("too large")

    async def scenario():
        many = MicroBatcher(score, max_rows=4, max_waiting=20, max_seconds=0.2)
        tasks = [many.submit([number]) for number in range(4)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await many.close()
        return found

    found = asyncio.run(scenario())

    assert [e.error for e in found if isinstance(e, Refused)] == [
        "There was no answer within 0.2 s."
    ] * 4
    assert tried == [[[0], [1], [2], [3]]]


def test_while_a_batch_hangs_or_the_line_is_closed_nothing_is_ready():
    async def scenario():
        slow = Slow()
        many = MicroBatcher(slow, max_rows=1, max_waiting=10, max_seconds=0.2)
        many.check()
        hangs = asyncio.create_task(many.submit([1]))
        await asyncio.sleep(0.1)
        many.check()
        await asyncio.sleep(0.2)
        with pytest.raises(Refused, match=r"There was no answer within 0\.2 s") as refused:
            many.check()
        slow.let.set()
        await asyncio.gather(hangs, return_exceptions=True)
        await many.submit([2])
        many.check()
        await many.close()
        with pytest.raises(Refused, match="The server is stopping"):
            many.check()
        return refused.value

    refused = asyncio.run(scenario())

    assert (refused.status, dict(refused.headers)) == (503, {"Retry-After": "1"})
