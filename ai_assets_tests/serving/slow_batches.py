"""What batches of tests score with, and who asks for them."""

import asyncio
import threading

from ai_assets.serving.batching import MicroBatcher


class Slow:
    """Doubles numbers when it is let; remembers its batches."""

    def __init__(self) -> None:
        self.let, self.batches = threading.Event(), []

    def __call__(self, parts: list[list[int]]) -> list[list[int]]:
        assert self.let.wait(10)
        self.batches.append([row for part in parts for row in part])
        if [-1] in parts:
            raise ValueError("minus one")
        return [[2 * row for row in part] for part in parts]


def batcher(score, max_rows: int = 4, max_waiting: int = 10) -> MicroBatcher[list[int], list[int]]:
    return MicroBatcher(score, max_rows=max_rows, max_waiting=max_waiting)


class Caller:
    """A request as far as a batch asks it."""

    def __init__(self, *, gone: bool) -> None:
        self._gone = gone

    async def is_disconnected(self) -> bool:
        await asyncio.sleep(0)
        return self._gone


class NoCaller:
    """A request that cannot tell."""

    async def is_disconnected(self) -> bool:
        raise RuntimeError("nothing to ask")
