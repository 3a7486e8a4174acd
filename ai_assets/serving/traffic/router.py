"""Where a request goes: to the bundles that are in production at the moment it comes.

What is in production is one value, replaced at once. Requests that were let in before are answered
by the bundles that they met; those are closed when the last of them has its answer.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ai_assets.serving.traffic.releases import Release

if TYPE_CHECKING:
    from ai_assets.serving.engine import Part, Scored
    from ai_assets.serving.metrics import Metrics
    from ai_assets.serving.record.asked import Asked
    from ai_assets.serving.record.keeper import Keeper
    from ai_assets.serving.traffic.slots import Slot

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Serving:
    """What is in production: the release, and the bundles of it that answer."""

    release: Release
    stable: "Slot"
    candidate: "Slot | None" = None

    @property
    def slots(self) -> "tuple[Slot, ...]":
        """The bundles."""
        return (self.stable,) if self.candidate is None else (self.stable, self.candidate)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the bundles open meanwhile."""
        with ExitStack() as stack:
            for slot in self.slots:
                stack.enter_context(slot.held())
            yield


class Router:
    """Sends requests to bundles, and lets other bundles take over. On the event loop only.

    Args:
        now: what is in production at first.
        keeper: records what is answered.
        metrics: counts it.
    """

    def __init__(self, now: Serving, keeper: "Keeper", metrics: "Metrics") -> None:
        self.now = now
        self.problem = ""
        self._keeper, self._metrics = keeper, metrics
        self._closing: set[asyncio.Task[None]] = set()
        self._tell()

    @property
    def waiting(self) -> int:
        """Rows that wait or are being scored."""
        return sum(slot.batcher.waiting for slot in self.now.slots)

    def open(self) -> None:
        """Take requests."""
        for slot in self.now.slots:
            slot.open()

    async def close(self) -> None:
        """Answer what waits, and end."""
        await asyncio.gather(*self._closing, *(slot.close() for slot in self.now.slots))

    async def score(self, part: "Part", asked: "Asked") -> "Scored":
        """Score a part and record the answers; when this returns, they may be given.

        Raises:
            Refused: the rows cannot be scored, or the answers not recorded, or not now.
        """
        now = self.now
        with now.held():
            part = now.stable.taking(part)
            scored = await now.stable.batcher.submit(part)
            await self._keeper.answered(asked, part, scored)
            return scored

    def put(self, now: Serving) -> None:
        """Let these bundles answer from now on, and close those that no longer do."""
        before, self.now = self.now, now
        for slot in now.slots:
            if slot not in before.slots:
                slot.open()
        for slot in before.slots:
            if slot not in now.slots:
                task = asyncio.get_running_loop().create_task(self._close(slot))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        self._tell()
        _LOG.warning("%s", told(now))

    def failed(self, problem: str) -> None:
        """Note why the release is not followed; empty where it is."""
        if problem and problem != self.problem:
            _LOG.error("The release is not followed: %s", problem)
        self.problem = problem
        self._metrics.release_failed(bool(problem))

    def shown(self) -> dict[str, Any]:
        """What is in production, as JSON."""
        now = self.now
        candidate = None if now.candidate is None else now.candidate.bundle.tag
        return {
            "stable": now.stable.bundle.tag,
            "candidate": candidate,
            "split": now.release.split if candidate else 0.0,
            "mode": now.release.mode if candidate else "",
            "problem": self.problem or None,
        }

    async def _close(self, slot: "Slot") -> None:
        try:
            await slot.close()
        except Exception:  # nobody waits for it
            _LOG.exception("%s could not be closed", slot.bundle.tag)

    def _tell(self) -> None:
        tags = [slot.bundle.tag for slot in self.now.slots]
        self._metrics.serves(dict(zip(("stable", "candidate"), tags, strict=False)))


def told(now: Serving) -> str:
    """What is in production, in words."""
    words = f"{now.stable.bundle.tag} answers"
    if now.candidate is None:
        return f"{words}."
    release = now.release
    return f"{words}; {release.mode} of {now.candidate.bundle.tag} with {release.split:.1%}."
