"""Group commit: one thread takes everything that waits, keeps it in one transaction, tells all.

A transaction costs one wait for the disk, whatever it holds, so under load more is kept at a time.

- `durable`: `add` returns when the entries are on the disk. An answer that was given is never lost.
- `async`: `add` returns at once. Lost with the process may be the answers of the last `LINGER_S`
  seconds and of the transaction in progress, and never more than `max_waiting` entries. While the
  log cannot be written they wait; when there are so many, further requests are refused.
- `off`: nothing is kept.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ai_assets.lifecycle.errors import BundleError, must_be
from ai_assets.serving.observe.logs import failed
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.answers import Answered, Entry, LogError
from ai_assets.serving.record.store import Store

Mode = Literal["durable", "async", "off"]
MODES: tuple[Mode, ...] = ("durable", "async", "off")
LINGER_S = 0.05
_AGAIN_S = 0.5
_MOST_AT_ONCE = 4096
_SILENT = "The log does not answer."
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Waiting:
    entries: Sequence[Entry]
    done: "asyncio.Future[None] | None"


def log_mode(declared: object, given: str = "") -> Mode:
    """The mode: the setting, else what the product declares, else durable.

    Raises:
        BundleError: there is no such mode.
    """
    asked = given or str(declared or "durable")
    for mode in MODES:
        if mode == asked:
            return mode
    raise BundleError(must_be("AI_ASSETS_LOG_MODE" if given else "serving.log", MODES, asked))


class Recorder:
    """Keeps entries of many requests together.

    Args:
        open_store: opens the log; called in the writing thread, again and again while it fails.
        mode: when `add` returns.
        max_waiting: entries that may wait to be kept; beyond it requests are refused with 503.
        max_seconds: how long anybody waits for the log, whatever holds it up.
        first: kept before anything else, such as the bundles' descriptions.
        kept: called after each transaction with its number of answered rows and its seconds.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        mode: Mode,
        *,
        max_waiting: int,
        max_seconds: float = 30.0,
        first: Sequence[Entry] = (),
        kept: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        self.mode = mode
        self._open_store = open_store
        self._max_waiting, self._max_seconds = max_waiting, max_seconds
        self._first = first
        self._kept = kept
        self._store: Store | None = None
        self._problem = ""
        # When the attempt to write or open began that is under way.
        self._since: float | None = None
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._tried = threading.Event()
        self._closing = False

    @property
    def waiting(self) -> int:
        """Entries that are not kept yet."""
        return self._waiting

    async def add(self, *entries: Entry) -> None:
        """Keep the entries; in `durable` mode, return when they are on the disk.

        Raises:
            Refused: with 503: they were not kept, or it was not heard in time whether they were.
        """
        if self.mode == "off":
            return
        durable = self.mode == "durable"
        done = asyncio.get_running_loop().create_future() if durable else None
        self._put(_Waiting(entries, done))
        if done is None:
            return
        try:
            async with asyncio.timeout(self._max_seconds):
                await done
        except TimeoutError:
            raise not_kept(_SILENT) from None

    def offer(self, *entries: Entry) -> bool:
        """Keep the entries without anybody waiting for it; False where it cannot be done now.

        Should the log fail when they are written, they are lost in `durable` mode.
        """
        if self.mode == "off":
            return True
        try:
            self._put(_Waiting(entries, None))
        except Refused:
            return False
        return True

    def begin(self) -> None:
        """Open the log in the background; `add` does it too."""
        with self._changed:
            if self._thread is None and self.mode != "off":
                self._closing = False
                self._tried.clear()
                self._thread = threading.Thread(target=self._run, name="record", daemon=True)
                self._thread.start()

    def ready(self) -> None:
        """Return if entries can be kept, as far as is known.

        Raises:
            Refused: with 503 and the reason.
        """
        if self._problem:
            raise not_kept(self._problem)
        since = self._since
        if since is not None and time.monotonic() - since > self._max_seconds:
            raise not_kept(_SILENT)

    def store(self) -> Store:
        """The log, to read; waits, off the event loop, for the first attempt to open it.

        Raises:
            Refused: with 404 where nothing is kept, with 503 where it cannot be opened now.
        """
        if self.mode == "off":
            words = "This server keeps no record of its answers, so it takes no feedback on them."
            raise Refused(404, words)
        self.begin()
        if not self._tried.wait(self._max_seconds):
            raise not_kept(_SILENT)
        store = self._store
        if store is None:
            problem = self._problem or "The server is stopping."
            self._put(_Waiting((), None))  # has the thread try to open it for the next one
            raise not_kept(problem)
        return store

    def close(self) -> None:
        """Keep what waits, and end; a log that does not answer is not waited for without end."""
        with self._changed:
            self._closing, thread = True, self._thread
            self._changed.notify()
        if thread is not None:
            thread.join(self._max_seconds)
            if thread.is_alive():
                _LOG.error("%d entries may be lost: %s", self._waiting, _SILENT)

    def _put(self, waiting: _Waiting) -> None:
        self.begin()
        with self._changed:
            if self._closing:
                raise Refused(503, "The server is stopping.", headers={"Retry-After": "1"})
            if self._waiting >= self._max_waiting:
                raise not_kept(self._problem or f"{self._waiting} answers wait for the log.")
            # The writer sleeps only while nothing waits; to wake it costs a switch of threads.
            if not self._queue:
                self._changed.notify()
            self._queue.append(waiting)
            self._waiting += len(waiting.entries)

    def _run(self) -> None:
        try:
            self._write(())
            self._tried.set()
            while group := self._next():
                self._keep(group)
        finally:
            if self._store is not None:
                self._store.close()
            with self._changed:
                self._store, self._thread = None, None
            self._tried.set()

    def _next(self) -> list[_Waiting]:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            if self.mode == "async" and not self._closing:
                self._changed.wait_for(lambda: self._closing, LINGER_S)
            group: list[_Waiting] = []
            size = 0
            while self._queue and size < _MOST_AT_ONCE:
                group.append(self._queue.popleft())
                size += len(group[-1].entries)
            return group

    def _keep(self, group: list[_Waiting]) -> None:
        entries = [entry for waiting in group for entry in waiting.entries]
        began, error = time.perf_counter(), self._write(entries)
        while error is not None and self.mode == "async":
            # The answers were given, so they are kept as long as there is a process to keep them.
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, _AGAIN_S):
                    break
            error = self._write(entries)
        if error is not None and self.mode == "async":
            _LOG.error("%d entries are lost: %s", len(entries), error)
        with self._changed:
            self._waiting -= len(entries)
        if error is None:
            rows = sum(entry.rows for entry in entries if isinstance(entry, Answered))
            self._kept(rows, time.perf_counter() - began)
        _tell(group, error)

    def _write(self, entries: Sequence[Entry]) -> Exception | None:
        """Keep the entries; what stood in the way, if anything did."""
        self._since = time.monotonic()
        try:
            return self._attempt(entries)
        finally:
            self._since = None

    def _attempt(self, entries: Sequence[Entry]) -> Exception | None:
        self._try_to_open()
        if self._store is None:
            return not_kept(self._problem)
        if not entries:
            return None
        try:
            self._store.write(entries)
        except Exception as error:  # the thread must outlive any failure
            self._failed(error)
            return not_kept(self._problem)
        self._problem = ""
        return None

    def _try_to_open(self) -> None:
        if self._store is not None:
            return
        store: Store | None = None
        try:
            store = self._open_store()
            store.write(self._first)
        except Exception as error:  # as above
            if store is not None:
                store.close()
            self._failed(error)
        else:
            self._store, self._problem = store, ""

    def _failed(self, error: Exception) -> None:
        known = isinstance(error, LogError)
        words = str(error) if known else "The log cannot be used."
        if words != self._problem:
            # What a database says of its host and user is for the log, not for callers.
            cause = " ".join(str(error.__cause__ or "").split())
            told = f"{words} ({cause})" if known and cause else words
            _LOG.error("%s", told)
            if not known:
                failed(error, "the log")
        self._problem = words


def _tell(group: list[_Waiting], error: Exception | None) -> None:
    """Wake up all that wait, with one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiting in group:
        if waiting.done is not None:
            by_loop.setdefault(waiting.done.get_loop(), []).append(waiting.done)
    for loop, futures in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, futures, error)


def _resolve(futures: list["asyncio.Future[None]"], error: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def not_kept(problem: str) -> Refused:
    """What is told while the log cannot be used, with the reason."""
    words = f"What cannot be recorded is not answered, and it cannot now. {problem}"
    return Refused(503, words, headers={"Retry-After": "1"})
