"""Quotas, exact over all servers that share the keys.

A server borrows a block of the window's requests from their store and spends it without looking
there again: one write for many requests. All blocks together never exceed the quota; a server that
ends takes what is left of its block with it, at most a thousandth of the quota.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from ai_assets.serving.access.keys import AccessError, Key
from ai_assets.serving.access.limits import retry_after
from ai_assets.serving.access.store import KeyStore
from ai_assets.serving.problems import Refused

_BLOCKS = 1000
_log = logging.getLogger(__name__)


@dataclass
class _Block:
    """What a server has borrowed of the window that began at `began`."""

    began: int = -1
    left: int = 0
    exhausted: bool = False
    borrowing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Quotas:
    """Counts requests against the quotas of keys."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._blocks: dict[str, _Block] = {}

    async def charge(self, key: Key, now: float) -> None:
        """Count one request.

        Raises:
            Refused: 429 where the quota is used up; 503 where it cannot be counted.
        """
        if key.quota is None:
            return
        block = self._blocks.get(key.id)
        if block is None:
            block = self._blocks[key.id] = _Block()
        began = key.quota.window(now)
        if began > block.began:
            block.began, block.left, block.exhausted = began, 0, False
        if block.left == 0 and not block.exhausted:
            await self._borrow(key, block)
        if block.left == 0:
            raise Refused(
                429,
                f"The quota of key {key.id}, {key.quota}, is used up.",
                headers={"Retry-After": retry_after(block.began + key.quota.seconds - now)},
            )
        block.left -= 1

    async def _borrow(self, key: Key, block: _Block) -> None:
        assert key.quota is not None
        size, most, began = max(1, key.quota.count // _BLOCKS), key.quota.count, block.began
        async with block.borrowing:
            if block.left or block.exhausted or block.began != began:
                return
            try:
                lent = await asyncio.to_thread(self._store.lend, key.id, began, size, most)
            except Exception as error:  # stores raise many kinds, and none may lift the quota
                words = str(error) if isinstance(error, AccessError) else type(error).__name__
                _log.error("quotas cannot be counted: %s", words)
                raise Refused(
                    503, "Quotas cannot be counted now.", headers={"Retry-After": "1"}
                ) from error
            if block.began == began:
                block.left, block.exhausted = lent, lent == 0
