"""Answers that a bundle gave before, for callers who ask the same again.

Only scoring is saved: a request that finds its answers here has ids and a record of its own.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ai_assets.serving.record.ids import new_request_id

if TYPE_CHECKING:
    from ai_assets.serving.engine import Engine, Part, Scored

# Larger requests are rarely asked twice, and cost more to recognize.
MOST_ROWS = 16
_DIGEST_BYTES = 32


class Cache:
    """Answers of one bundle from the tables that it reads now. On the event loop only.

    Newer tables empty it. The feature query must give the same for the same row: what it takes from
    the clock or from chance would be given again.

    Args:
        score: scores a part.
        engine: of the bundle; knows the tables that it answers from.
        entries: requests whose answers are kept; those not asked for longest go first.
    """

    def __init__(
        self, score: "Callable[[Part], Awaitable[Scored]]", engine: "Engine", entries: int
    ) -> None:
        self._score, self._engine, self._entries = score, engine, entries
        self._metrics = engine.metrics
        self._known: OrderedDict[bytes, Scored] = OrderedDict()
        self._tables = engine.snapshots

    def __len__(self) -> int:
        return len(self._known)

    async def answer(self, part: "Part") -> "Scored":
        """The answers to a part, as it was scored before or is scored now.

        Raises:
            Refused: as `score` does; that is not kept.
        """
        if not 0 < len(part) <= MOST_ROWS:
            return await self._score(part)
        if self._tables is not self._engine.snapshots:
            self._known.clear()
            self._tables = self._engine.snapshots
        key = key_of(part)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            self._metrics.cached()
            self._engine.count(known)
            return replace(known, request_id=new_request_id(time.time_ns() // 1000))
        self._metrics.not_cached()
        scored = await self._score(part)
        # Tables may have been exchanged meanwhile; ready vectors need none.
        if isinstance(part, np.ndarray) or scored.snapshots is self._tables:
            self._keep(key, scored)
        return scored

    def _keep(self, key: bytes, scored: "Scored") -> None:
        # Copies: what was scored is a stretch of its whole batch, which would stay with it.
        each, ends = scored.probabilities, scored.interval
        self._known[key] = replace(
            scored,
            features=_own(scored.features),
            probability=_own(scored.probability),
            took=None,
            probabilities=None if each is None else _own(each),
            interval=None if ends is None else _own(ends),
        )
        self._known.move_to_end(key)
        if len(self._known) > self._entries:
            self._known.popitem(last=False)


def key_of(part: "Part") -> bytes:
    """What tells a part from all others that a bundle may be asked.

    Rows are as their check gave them, so neither the order of fields, nor the offset of a moment,
    nor a null that was left out matters. A digest, so that long texts do not stay.
    """
    if isinstance(part, np.ndarray):
        text = repr((part.shape, part.dtype.str)).encode() + part.tobytes()
    elif isinstance(part, pl.DataFrame):
        text = repr((part.columns, part.rows())).encode("utf-8", "surrogatepass")
    else:
        values = [[getattr(row, name) for name in type(row).model_fields] for row in part]
        text = repr(values).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=_DIGEST_BYTES).digest()


def _own(array: np.ndarray) -> np.ndarray:
    """A copy that many answers may share."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy
