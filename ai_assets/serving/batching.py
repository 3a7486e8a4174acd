"""Many requests, one worker: what waits while a batch runs becomes the next batch.

One request alone is answered at once, and under load batches grow by themselves up to their bound.
Under load there is a pause after a batch, so that those whom it answered can ask again: else they
and those who waited meanwhile take turns, in two batches of half the size, and a batch costs much
the same whatever its size. What a request brings is never taken apart here: rows, a frame or a
matrix, it stays one part of the batch.

Rows that have waited for a while are only scored if their caller is still there, and nobody waits
longer than a bound, behind many batches or one that never ends. Other work of the worker, such as
explanations, takes its turn in the same line.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sized
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ai_assets.serving.problems import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

# The request of this context, once its whole body was read: from then on all that it can still say
# is that its caller went away.
caller: "ContextVar[Request | None]" = ContextVar("caller", default=None)
# Who has waited so long may have gone.
_LONG_S = 0.1
# Callers whom a batch must have answered to be followed by a pause, and how long that is as a share
# of the batch's own time.
_CROWD = 5
_PAUSE = 0.5
_MOST_PAUSE_S = 0.005
Part = TypeVar("Part", bound=Sized)
R = TypeVar("R")


class CallerGone(Refused):
    """The caller went away before its rows were scored; nobody reads this."""

    def __init__(self) -> None:
        super().__init__(499, "The caller went away.")


@dataclass(frozen=True, eq=False)
class _Call:
    """Work that is no batch, and costs as much as so many rows."""

    work: Callable[[], Any]
    cost: int

    def __len__(self) -> int:
        return self.cost


@dataclass(eq=False)
class _Job(Generic[Part]):
    part: Part | _Call
    done: "asyncio.Future[Any]"
    since: float
    caller: "Request | None"


class MicroBatcher(Generic[Part, R]):
    """Scores rows of many requests together, in one thread.

    Args:
        score: called in the worker thread with the parts of a batch, one a request; returns one
            result a part.
        max_rows: largest batch. A single request may be larger, and is then a batch of its own.
        max_waiting: rows that may wait; beyond it requests are refused with 503.
        told: called with each result on behalf of whoever asked for it.
        max_seconds: how long a request may wait for its answer, behind however many batches; then
            it is refused with 503.
    """

    def __init__(
        self,
        score: Callable[[list[Part]], list[R]],
        *,
        max_rows: int,
        max_waiting: int,
        told: Callable[[R], None] = lambda result: None,
        max_seconds: float = 30.0,
    ) -> None:
        self._score = score
        self._told = told
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._max_seconds = max_seconds
        self._jobs: deque[_Job[Part]] = deque()
        self._waiting = 0
        self._rows_a_second = 1000.0
        self._runner: asyncio.Task[None] | None = None
        self._closed = False
        self._worker = _new_worker()
        # When the batch that is scored began, as the loop's clock has it.
        self._began = math.inf

    @property
    def waiting(self) -> int:
        """Rows that wait or are being scored."""
        return self._waiting

    async def submit(self, part: Part) -> R:
        """The result of a part of `len(part)` rows.

        A caller that goes away costs no scoring if it still waited.

        Raises:
            CallerGone: it did not wait.
            Refused: with 503 and `Retry-After`: too many rows wait, or these have waited for too
                long, or the server is stopping.
        """
        result: R = await self._enter(part)
        self._told(result)
        return result

    async def call(self, work: Callable[[], Any], cost: int) -> Any:
        """What other work gives, done in the worker when its turn comes; refused as rows are.

        Args:
            work: called in the worker thread.
            cost: counts as so many rows, at least 1.

        Raises:
            CallerGone: the caller did not wait.
            Refused: as by `submit`.
        """
        return await self._enter(_Call(work, cost))

    def _enter(self, part: Part | _Call) -> "asyncio.Future[Any]":
        """Take a place in the line; what comes of it."""
        size = len(part)
        self._check_open()
        self._admit(size)
        loop = asyncio.get_running_loop()
        job: _Job[Part] = _Job(part, loop.create_future(), loop.time(), caller.get())
        self._jobs.append(job)
        self._waiting += size
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return job.done

    def open(self) -> None:
        """Take requests again after `close`."""
        if self._closed:
            self._worker = _new_worker()
            self._closed = False

    async def close(self) -> None:
        """Refuse new requests, answer those that wait, and end the worker."""
        self._closed = True
        if self._runner is not None and not self._runner.done():
            await asyncio.shield(self._runner)
        await asyncio.to_thread(self._worker.shutdown, True)

    def check(self) -> None:
        """Return if work is taken, and the worker comes to its end. It costs no place in the line.

        Raises:
            Refused: with 503: the server is stopping, or a batch hangs.
        """
        self._check_open()
        if asyncio.get_running_loop().time() - self._began > self._max_seconds:
            raise self._no_answer()

    def _check_open(self) -> None:
        if self._closed:
            raise Refused(503, "The server is stopping.", headers={"Retry-After": "1"})

    def _no_answer(self) -> Refused:
        words = f"There was no answer within {self._max_seconds:g} s."
        return Refused(503, words, headers={"Retry-After": "1"})

    def _admit(self, rows: int) -> None:
        # An idle server takes a request of any admitted size.
        if self._waiting and self._waiting + rows > self._max_waiting:
            wait = min(60, max(1, math.ceil(self._waiting / self._rows_a_second)))
            raise Refused(
                503,
                f"Too many rows wait ({self._waiting}). Try again in {wait} s.",
                headers={"Retry-After": str(wait)},
            )

    def _release(self, rows: int) -> None:
        self._waiting -= rows

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._jobs:
            batch = await self._next()
            self._began = began = loop.time()
            self._look_late(batch)
            try:
                await self._answer(batch)
            finally:
                self._began = math.inf
                self._late.cancel()
                for job in batch:
                    self._release(len(job.part))
                    if not job.done.done():
                        job.done.cancel()
            if len(batch) >= _CROWD and not self._closed:
                await asyncio.sleep(min(_MOST_PAUSE_S, _PAUSE * (loop.time() - began)))

    async def _next(self) -> list[_Job[Part]]:
        """The jobs to score next, without those that nobody waits for; there may be none left."""
        batch: list[_Job[Part]] = []
        size, now = 0, asyncio.get_running_loop().time()
        while self._jobs and (not batch or self._joins(batch[-1], size)):
            job = self._jobs.popleft()
            if job.since <= now - self._max_seconds:
                _fail(job, self._no_answer())
            elif job.since < now - _LONG_S and await _is_gone(job):
                _fail(job, CallerGone())
            if job.done.done():
                self._release(len(job.part))
                continue
            batch.append(job)
            size += len(job.part)
        return batch

    def _joins(self, last: _Job[Part], size: int) -> bool:
        """Whether the next job is scored with a batch of `size` rows that ends with the last."""
        part = self._jobs[0].part
        if isinstance(last.part, _Call) or isinstance(part, _Call):
            return False
        return size + len(part) <= self._max_rows

    def _look_late(self, batch: list[_Job[Part]]) -> None:
        """Wake up when the one of all who wait that came first has waited for too long."""
        loop = asyncio.get_running_loop()
        came = (job.since for job in (*batch, *self._jobs) if not job.done.done())
        first = next(came, loop.time())
        self._late: asyncio.TimerHandle = loop.call_at(
            first + self._max_seconds, self._end_late, batch
        )

    def _end_late(self, batch: list[_Job[Part]]) -> None:
        """Refuse whoever has waited for too long, while a batch goes on."""
        long_ago = asyncio.get_running_loop().time() - self._max_seconds
        for job in (*batch, *self._jobs):
            if job.since <= long_ago:
                _fail(job, self._no_answer())
        self._look_late(batch)

    async def _answer(self, batch: list[_Job[Part]]) -> None:
        loop = asyncio.get_running_loop()
        if not batch:
            return
        if isinstance(call := batch[0].part, _Call):
            await self._do(batch[0], call.work)
            return
        parts = [job.part for job in batch if not isinstance(job.part, _Call)]
        began = loop.time()
        try:
            results = await loop.run_in_executor(self._worker, self._score, parts)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            # One request's rows must not fail those of another.
            for job in batch:
                if not job.done.done():
                    await self._answer([job])
            return
        rows = sum(map(len, parts))
        self._rows_a_second = max(1.0, rows / max(loop.time() - began, 1e-6))
        for job, result in zip(batch, results, strict=True):
            if not job.done.done():
                job.done.set_result(result)

    async def _do(self, job: _Job[Part], work: Callable[[], Any]) -> None:
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except Exception as error:
            _fail(job, error)
        else:
            if not job.done.done():
                job.done.set_result(found)


def _fail(job: _Job[Any], error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)


async def _is_gone(job: _Job[Any]) -> bool:
    if job.caller is None:
        return False
    try:
        return await job.caller.is_disconnected()
    except Exception:  # others wait for this too, so it counts as there
        return False


def _new_worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="scoring")
