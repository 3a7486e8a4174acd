"""Row by row: each row is scored as it comes, and answered in the order of the rows.

Rows of one caller are under way together, so they fill the same batches as everybody's. What a
caller sends ahead is held up to a bound; beyond it nothing more is read, so a caller who sends
faster than the answers are taken is slowed down, not refused. Who takes none for long is given up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Answer = dict[str, Any]


class Rows:
    """One caller's rows.

    Args:
        answer: gives the answer to one row; it raises nothing. None stands for a row that was too
            long to be read.
        under_way: rows that are scored at the same time.
        held: bytes of rows that may wait to be scored.
        patience_s: seconds within which what is sent must be taken.
    """

    def __init__(
        self,
        answer: Callable[[bytes | None], Awaitable[Answer]],
        *,
        under_way: int,
        held: int,
        patience_s: float | None = None,
    ) -> None:
        self._answer = answer
        self._patience_s = patience_s
        self._waiting: deque[bytes | None] = deque()
        self._size = 0
        self._most = held
        self._ended = False
        self._changed = asyncio.Condition()
        self._answers: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue(under_way)

    async def run(
        self,
        incoming: AsyncIterator[bytes | None],
        send: Callable[[Answer], Awaitable[None]],
        quiet_s: float | None = None,
        fill: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Answer all rows. What `incoming` or `send` raises ends it, in an exception group.

        So does a `TimeoutError` where the caller does not take what is sent.

        Args:
            incoming: the rows.
            send: takes each answer, in the order of the rows.
            quiet_s: seconds without an answer after which `fill` is called, again and again.
            fill: sends something, so that nobody on the way thinks the connection is dead.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(incoming))
            group.create_task(self._begin(group))
            while True:
                try:
                    async with asyncio.timeout(quiet_s):
                        task = await self._answers.get()
                except TimeoutError:
                    if fill is not None:
                        await self._taken(fill())
                    continue
                if task is None:
                    return
                await self._taken(send(await task))

    async def _taken(self, sending: Awaitable[None]) -> None:
        async with asyncio.timeout(self._patience_s):
            await sending

    async def _read(self, incoming: AsyncIterator[bytes | None]) -> None:
        async for row in incoming:
            async with self._changed:
                while self._waiting and self._size + len(row or b"") > self._most:
                    await self._changed.wait()
                self._waiting.append(row)
                self._size += len(row or b"")
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        """Begin to score rows, as many as may be under way."""
        while True:
            async with self._changed:
                while not self._waiting and not self._ended:
                    await self._changed.wait()
                if not self._waiting:
                    break
                row = self._waiting.popleft()
                self._size -= len(row or b"")
                self._changed.notify_all()
            await self._answers.put(group.create_task(self._scored(row)))
        await self._answers.put(None)

    async def _scored(self, row: bytes | None) -> Answer:
        return await self._answer(row)


async def until_silent(
    rows: AsyncIterator[bytes | None], seconds: float
) -> AsyncIterator[bytes | None]:
    """The rows, up to the first that does not come within these seconds of being asked for."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                row = await anext(rows)
        except (TimeoutError, StopAsyncIteration):
            return
        yield row


async def lines(chunks: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes | None]:
    """The lines of a body that are not empty; None for one of more than `most` bytes."""
    held, skipping = b"", False
    async for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            if skipping:
                skipping = False
            elif line.strip():
                yield line if len(line) <= most else None
        if len(held) > most:
            if not skipping:
                yield None
            held, skipping = b"", True
    if held.strip() and not skipping:
        yield held
