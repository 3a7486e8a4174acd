"""The router alone, with bundles that are names: what is hard to time with a whole server."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ai_assets.serving.batching import CallerGone
from ai_assets.serving.record.asked import Asked
from ai_assets.serving.traffic.releases import Release
from ai_assets.serving.traffic.router import Router, Serving


class Told:
    """Metrics and keeper that remember what they were told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.counts = SimpleNamespace(add=lambda tag, role, _route, status, _s: self.calls.append(
            ("counted", tag, role, status)
        ))  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.calls.append((name, *given))


def slot(tag: str, submit: Any = None) -> Any:
    return SimpleNamespace(
        bundle=SimpleNamespace(tag=tag, product="trips", encoding="the same"),
        submit=submit, taking=lambda part: part, hold=lambda: None, let_go=lambda: None,
    )  # fmt: skip


def serving(mode: str, split: float, submits: tuple[Any, Any] = (None, None)) -> Serving:
    release = Release("trips:1", "trips:2", split, mode)
    return Serving(release, slot("trips:1", submits[0]), slot("trips:2", submits[1]))


def test_a_share_that_was_learned_for_another_release_is_not_given():
    before, now, told = serving("bandit", 0.5), serving("ab", 0.3), Told()
    router: Any = Router(before, told, told, 4, 1.0)  # type: ignore[arg-type]
    router.now = now

    router.learn(before, 0.9)
    assert router.now is now and router.now.share == 0.3

    router.now = before
    router.learn(before, 0.9)
    assert router.now.share == 0.9 and told.calls[-1] == ("shared", 0.9)


def test_a_caller_who_goes_away_is_no_failure_of_the_candidate():
    async def stable(_: Any) -> Any:
        told.calls.append(("scored by the stable bundle",))
        raise CallerGone

    async def candidate(_: Any) -> Any:
        raise CallerGone

    told = Told()
    router: Any = Router(serving("ab", 1.0, (stable, candidate)), told, told, 4, 1.0)  # type: ignore[arg-type]
    told.calls.clear()
    with pytest.raises(CallerGone):
        asked = Asked("v2", time.perf_counter(), None, b"")
        asyncio.run(router.score(np.zeros((1, 4), np.float32), asked))

    assert told.calls == [("counted", "trips:1", "stable", 499)]
