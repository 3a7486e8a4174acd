"""Counts of answers: buckets of latency, and what goes into the log every few seconds."""

import asyncio
from collections import Counter

import pytest
from record_entries import AT, counts

from ai_assets.serving.record.answers import Counted
from ai_assets.serving.record.counts import LAST, Counts, added, bound, bucket_of, quantile, slower


def test_a_latency_lies_in_the_first_bucket_whose_bound_is_not_below_it():
    assert [bucket_of(ms) for ms in (0.0, 0.1, 0.100001, 0.2, 0.21, 1e9)] == [0, 0, 1, 4, 5, LAST]
    assert bound(4) == pytest.approx(0.2) and bound(8) == pytest.approx(0.4)
    for bucket in range(LAST + 1):
        assert bucket_of(bound(bucket)) == bucket


def test_a_quantile_is_right_to_the_width_of_a_bucket():
    times = [0.5 + 0.01 * i for i in range(1000)]
    latency = Counter(bucket_of(ms) for ms in times)

    for q in (0.01, 0.5, 0.99, 1.0):
        exact = sorted(times)[max(0, round(q * 1000) - 1)]
        assert quantile(latency, q) == pytest.approx(exact, rel=0.19)
    assert quantile({}, 0.99) is None


def test_only_what_surely_took_longer_counts_as_slower():
    latency = {bucket_of(0.2): 5, bucket_of(0.3): 2, bucket_of(3.0): 1}

    assert slower(latency, 0.2) == 3  # 0.3 ms lies in the bucket from 0.28 to 0.34
    assert slower(latency, 0.29) == 1
    assert slower(latency, 100) == 0


def test_counts_of_a_bundle_are_added_over_routes_and_processes_and_others_left_out():
    other = counts(from_us=AT - 5, route="v2/infer", failed=0, latency={8: 3})
    shadow = counts(bundle="p:b", role="shadow", answered=7)

    beside = ["feedback", "explain", "graphql", "debug/profile", "v2/ready", "added and forgotten"]
    found = added([counts(), other, shadow, *(counts(route=route) for route in beside)])

    assert found == {
        ("trips:1", "stable"): counts(from_us=AT - 5, route="", answered=6, latency={4: 2, 8: 4}),
        ("p:b", "shadow"): counts(bundle="p:b", role="shadow", route="", answered=7),
    }


def test_answers_are_handed_on_by_bundle_role_and_route_after_a_while_and_at_the_end():
    kept: list[Counted] = []

    async def answer() -> None:
        tally = Counts(lambda *entries: not kept.extend(entries), every_s=0.05)
        for status, seconds in ((200, 0.0004), (200, 0.0004), (422, 9), (500, 9), (503, 9)):
            tally.add("p:a", "stable", "predict", status, seconds)
        tally.add("p:b", "candidate", "predict", 200, 0.2)
        assert not kept
        await asyncio.sleep(0.15)
        assert len(kept) == 2
        tally.add("p:b", "candidate", "predict", 200, 0.2)
        tally.flush()
        tally.flush()

    asyncio.run(answer())

    stable, candidate, last = kept
    assert (stable.answered, stable.refused, stable.failed) == (2, 1, 2)
    assert stable.latency == {8: 2}
    assert (candidate.bundle, candidate.role, candidate.answered) == ("p:b", "candidate", 1)
    assert candidate.from_us <= candidate.to_us <= last.from_us <= last.to_us
    assert last.answered == 1


def test_what_the_log_cannot_take_now_is_handed_on_later():
    kept: list[Counted] = []

    async def answer() -> None:
        takes = iter([False, True])
        tally = Counts(lambda *entries: next(takes) and not kept.extend(entries))
        tally.add("p:a", "stable", "predict", 200, 0.001)
        tally.flush()
        tally.add("p:a", "stable", "predict", 200, 0.001)
        tally.flush()

    asyncio.run(answer())

    assert [entry.answered for entry in kept] == [2]
