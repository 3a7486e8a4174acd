"""A shadow: the candidate scores what the stable bundle has answered, and nobody gets its answers.

It works off the path of the request, from a line that is bounded: what finds it full is dropped and
counted, and so is what fails.
"""

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ai_assets.serving.batching import caller
from ai_assets.serving.observe.exchange import CURRENT
from ai_assets.serving.observe.logs import failed
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.asked import Asked

if TYPE_CHECKING:
    from ai_assets.serving.engine import Part
    from ai_assets.serving.metrics import Metrics
    from ai_assets.serving.record.keeper import Keeper
    from ai_assets.serving.traffic.slots import Slot


class Shadow:
    """Asks candidates in the background. On the event loop only.

    Args:
        keeper: records what they answer, with the role `shadow`.
        metrics: counts that, and what is dropped.
        max_waiting: rows that may wait; those of a larger request are not asked at all.
    """

    def __init__(self, keeper: "Keeper", metrics: "Metrics", max_waiting: int) -> None:
        self._keeper, self._metrics, self._most = keeper, metrics, max_waiting
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, slot: "Slot", part: "Part", asked: Asked) -> None:
        """Have the candidate score a part, if it is not too busy."""
        if self._waiting + len(part) > self._most:
            self._metrics.dropped(len(part))
            return
        self._waiting += len(part)
        task = asyncio.get_running_loop().create_task(self._run(slot, part, asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Return when nothing waits any more."""
        await asyncio.gather(*self._tasks)

    async def _run(self, slot: "Slot", part: "Part", asked: Asked) -> None:
        CURRENT.set(None)  # nobody waits for it: it is no part of the request that it came from
        caller.set(None)
        own = replace(asked, began=time.perf_counter(), role="shadow", split=None)
        tag, status = slot.bundle.tag, 500
        try:
            with slot.held():
                part = slot.taking(part)
                scored = await slot.submit(part)
                await self._keeper.answered((own, part, scored))
            self._metrics.answered_rows(tag, "shadow", len(part))
            status = 200
        except Refused as refused:
            status = refused.status
            self._metrics.dropped(len(part))
        except Exception as error:  # nobody waits for it, and the stable bundle has answered
            failed(error, f"the shadow {tag}")
            self._metrics.dropped(len(part))
        finally:
            self._waiting -= len(part)
            seconds = time.perf_counter() - own.began
            self._keeper.counts.add(tag, "shadow", own.route, status, seconds)
