"""How answering went: counts and latencies of a few seconds, by bundle, role and route.

The log of answers knows only what was answered. What failed has no answer, so it is counted, and
every few seconds the counts go into the same log: there they are one over all workers, and outlive
them. A latency is counted in a bucket; bounds grow by a quarter of a doubling (19 %).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ai_assets.serving.record.answers import Counted
from ai_assets.serving.record.asked import Role

EVERY_S = 10.0
SMALLEST_MS = 0.1
PER_DOUBLING = 4
LAST = 80  # up to 105 s; what takes longer counts as that
_FAILED, _REFUSED = 500, 400
# Only these score rows. What another route answers says nothing of a bundle, and may take long.
SCORES = frozenset({"predict", "stream", "v2/infer", "grpc/ModelInfer", "graphql/predict"})


def bucket_of(ms: float) -> int:
    """The bucket of a latency: the first whose bound is not below it."""
    if ms <= SMALLEST_MS:
        return 0
    return min(LAST, math.ceil(PER_DOUBLING * math.log2(ms / SMALLEST_MS) - 1e-9))


def bound(bucket: int) -> float:
    """The longest latency of a bucket, in milliseconds."""
    return float(SMALLEST_MS * 2 ** (bucket / PER_DOUBLING))


def quantile(latency: Mapping[int, int], q: float) -> float | None:
    """The latency in milliseconds that a share `q` of the answers did not exceed, to about 19 %.

    Within its bucket it is placed by rank, on the buckets' logarithmic scale. None without answers.
    """
    total = sum(latency.values())
    if not total:
        return None
    wanted, before = q * total, 0
    for bucket in sorted(latency):
        count = latency[bucket]
        if before + count >= wanted:
            within = (wanted - before) / count
            return bound(bucket) * 2 ** ((within - 1) / PER_DOUBLING)
        before += count
    return bound(max(latency))


def slower(latency: Mapping[int, int], ms: float) -> int:
    """How many answers surely took longer."""
    return sum(count for bucket, count in latency.items() if bucket and bound(bucket - 1) >= ms)


def added(entries: Iterable[Counted]) -> dict[tuple[str, str], Counted]:
    """What each bundle in each role was asked to score, all routes together."""
    found: dict[tuple[str, str], Counted] = {}
    for entry in entries:
        if entry.route not in SCORES:
            continue
        before = found.get((entry.bundle, entry.role))
        found[entry.bundle, entry.role] = entry.of_all() if before is None else before + entry
    return found


@dataclass
class _Tally:
    answered: int = 0
    refused: int = 0
    failed: int = 0
    latency: Counter[int] = field(default_factory=Counter)


class Counts:
    """Counts the answers of this process, and hands the counts on every few seconds.

    Used from one event loop. While nothing is answered, nothing is handed on.

    Args:
        keep: takes entries for the log; False if it cannot now, and they are handed on later.
        every_s: seconds from the first answer that is counted until the counts are handed on.
    """

    def __init__(self, keep: Callable[..., bool], every_s: float = EVERY_S) -> None:
        self._keep = keep
        self._every_s = every_s
        self._tallies: dict[tuple[str, Role, str], _Tally] = {}
        self._since_us = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, bundle: str, role: Role, route: str, status: int, seconds: float) -> None:
        """Count one answer.

        Args:
            bundle: tag of the bundle that answered, or failed to.
            role: what the bundle is to the release.
            route: which route was asked.
            status: from 500 on it failed, from 400 on the caller was refused.
            seconds: from the request's first byte to the answer.
        """
        tally = self._tallies.get((bundle, role, route))
        if tally is None:
            tally = self._tallies[bundle, role, route] = _Tally()
        if status >= _FAILED:
            tally.failed += 1
        elif status >= _REFUSED:
            tally.refused += 1
        else:
            tally.answered += 1
            tally.latency[bucket_of(1000 * seconds)] += 1
        if self._timer is None:
            self._since_us = self._since_us or time.time_ns() // 1000
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self.flush)

    def flush(self) -> None:
        """Hand on what was counted."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if not self._tallies:
            return
        now = time.time_ns() // 1000
        entries = [
            Counted(self._since_us, now, *key, t.answered, t.refused, t.failed, dict(t.latency))
            for key, t in self._tallies.items()
        ]
        if self._keep(*entries):
            self._tallies, self._since_us = {}, 0
