"""Where a request goes: to the bundles that are in production at the moment it comes.

What is in production is one value, replaced at once. Requests that were let in before are answered
by the bundles that they met; those are closed when the last of them has its answer.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.serving.batching import CallerGone
from ai_assets.serving.observe.logs import failed
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.asked import Asked, Role, Split
from ai_assets.serving.record.ids import new_request_id, prediction_ids
from ai_assets.serving.traffic.assign import assigned, keys_of
from ai_assets.serving.traffic.mixed import mixed, taken
from ai_assets.serving.traffic.releases import Release
from ai_assets.serving.traffic.shadow import Shadow

if TYPE_CHECKING:
    from ai_assets.serving.engine import Part, Scored
    from ai_assets.serving.metrics import Metrics
    from ai_assets.serving.record.keeper import Keeper
    from ai_assets.serving.traffic.slots import Slot

    Answer = tuple[Asked, Part, Scored]

_LOG = logging.getLogger(__name__)
# Whether the request of this context reached the bundles, which count it themselves, each under its
# own role.
counted: ContextVar[bool] = ContextVar("counted", default=False)


@dataclass(frozen=True, eq=False)
class Serving:
    """What is in production: the release, and the bundles of it that answer.

    Attributes:
        release: as the ledger has it.
        stable: answers.
        candidate: is tried beside it.
        learned: the share of a candidate that a bandit has learned; None for that of the release.
    """

    release: Release
    stable: "Slot"
    candidate: "Slot | None" = None
    learned: float | None = None

    @property
    def share(self) -> float:
        """The share of the rows that the candidate gets, 0 to 1."""
        if not self.is_split:
            return 0.0
        return self.release.first_share if self.learned is None else self.learned

    @property
    def is_split(self) -> bool:
        """Whether rows are shared out."""
        return self.candidate is not None and self.release.mode != "shadow"

    def is_shadowed(self, part: "Part") -> bool:
        """Whether the candidate is to score the part too, for nobody."""
        if self.candidate is None or self.release.mode != "shadow":
            return False
        return not isinstance(part, np.ndarray) or self.encodes_alike

    @cached_property
    def encodes_alike(self) -> bool:
        """Whether ready vectors of the stable bundle mean the same to the candidate."""
        candidate = self.candidate
        return candidate is not None and (candidate.bundle.encoding == self.stable.bundle.encoding)

    @cached_property
    def slots(self) -> "tuple[Slot, ...]":
        """The bundles."""
        return (self.stable,) if self.candidate is None else (self.stable, self.candidate)

    def hold(self) -> None:
        """Keep the bundles open until `let_go` is called."""
        for slot in self.slots:
            slot.hold()

    def let_go(self) -> None:
        """See `hold`."""
        for slot in self.slots:
            slot.let_go()


class Router:
    """Sends requests to bundles, and lets other bundles take over. On the event loop only.

    Args:
        now: what is in production at first.
        keeper: records what is answered.
        metrics: counts it.
        max_shadow: rows that may wait for a shadow.
        max_seconds: how long a request may wait where a candidate is asked: half of it for the
            candidate, what is then left for the stable bundle.
    """

    def __init__(
        self,
        now: Serving,
        keeper: "Keeper",
        metrics: "Metrics",
        max_shadow: int,
        max_seconds: float,
    ) -> None:
        self.now = now
        self._max_seconds = max_seconds
        self.problem = ""
        self._keeper, self._metrics = keeper, metrics
        self._shadow = Shadow(keeper, metrics, max_shadow)
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
        await self._shadow.close()
        await asyncio.gather(*self._closing, *(slot.close() for slot in self.now.slots))

    async def score(self, part: "Part", asked: "Asked") -> "Scored":
        """Score a part and record the answers; when this returns, they may be given.

        Raises:
            Refused: the rows cannot be scored, or the answers not recorded, or not now.
        """
        now = self.now
        counted.set(True)
        now.hold()
        try:
            return await self._scored(now, now.stable.taking(part), asked)
        finally:
            now.let_go()

    async def _scored(self, now: Serving, part: "Part", asked: "Asked") -> "Scored":
        pieces = _pieces(now, part, asked)
        try:
            answers = await self._answers(now, pieces)
            await self._keeper.answered(*(piece for _, piece in answers))
        except Exception as error:
            self._count(now.stable.bundle.tag, asked, _status(error))
            raise
        for _, (of, own, scored) in answers:
            self._count(scored.bundle, of, 200)
            self._metrics.answered_rows(scored.bundle, of.role, len(own))
        if now.is_shadowed(part):
            assert now.candidate is not None
            self._shadow.ask(now.candidate, part, asked)
        return mixed([(rows, scored) for rows, (_, _, scored) in answers])

    async def _answers(
        self, now: Serving, pieces: "list[_Piece]"
    ) -> "list[tuple[Sequence[int], Answer]]":
        """What each bundle answers to its rows, all at the same time."""
        if len(pieces) == 1:
            return [(pieces[0].rows, await self._answer(now, pieces[0]))]
        found = await asyncio.gather(*(self._answer(now, piece) for piece in pieces))
        return list(zip((piece.rows for piece in pieces), found, strict=True))

    async def _answer(self, now: Serving, piece: "_Piece") -> "Answer":
        asked, part = piece.asked, piece.part
        if asked.role == "stable":
            return asked, part, _named(await now.stable.submit(part), piece)
        slot = now.candidate
        assert slot is not None and asked.split is not None
        began = time.monotonic()
        try:
            own = slot.taking(part)
            return asked, own, _named(await _within(self._max_seconds / 2, slot, own), piece)
        except CallerGone:
            raise
        except Exception as error:
            # Where the stable bundle fails too, the rows are to blame.
            left = self._max_seconds - (time.monotonic() - began)
            scored = _named(await _within(left, now.stable, part), piece)
            if not isinstance(error, Refused):
                failed(error, f"the candidate {slot.bundle.tag}")
            self._metrics.fell_back(len(part))
            self._count(slot.bundle.tag, asked, 500)
            split = replace(asked.split, fell_back=True)
            return replace(asked, role="stable", split=split), part, scored

    def _count(self, tag: str, asked: Asked, status: int) -> None:
        seconds = time.perf_counter() - asked.began
        self._keeper.counts.add(tag, asked.role, asked.route, status, seconds)

    def was_counted(self) -> bool:
        """Whether the request of this context has reached the bundles; asked once."""
        found = counted.get()
        if found:
            counted.set(False)
        return found

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

    def learn(self, now: Serving, share: float | None) -> None:
        """Give a candidate this share from now on, unless something else answers meanwhile."""
        if self.now is now and share != now.learned:
            self.now = replace(now, learned=share)
            self._metrics.shared(self.now.share)

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
            "split": now.share,
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
        second = "shadow" if self.now.release.mode == "shadow" else "candidate"
        self._metrics.serves(dict(zip(("stable", second), tags, strict=False)))
        self._metrics.shared(self.now.share)


def told(now: Serving) -> str:
    """What is in production, in words."""
    words = f"{now.stable.bundle.tag} answers"
    if now.candidate is None:
        return f"{words}."
    release = now.release
    share = "" if release.mode == "shadow" else f", {now.share:.1%}"
    return f"{words}; {release.mode} of {now.candidate.bundle.tag}{share}."


@dataclass(frozen=True, eq=False)
class _Piece:
    """Rows of a request that one bundle is to answer.

    Attributes:
        rows: their numbers in the request.
        part: the rows.
        asked: with the role of that bundle.
        request_id: the id that was drawn for them, where it decided who answers.
    """

    rows: Sequence[int]
    part: "Part"
    asked: Asked
    request_id: int | None = None


def _pieces(now: Serving, part: "Part", asked: Asked) -> list[_Piece]:
    """The rows of a request apart, by the bundle that each belongs to; never none."""
    everything, candidate = range(len(part)), now.candidate
    vectors = isinstance(part, np.ndarray)
    if candidate is None or not now.is_split or (vectors and not now.encodes_alike):
        return [_Piece(everything, part, asked)]
    product, tag = candidate.bundle.product, candidate.bundle.tag
    # Of what has no key all rows of a request go one way.
    keyless = vectors or not now.stable.bundle.request.table.key
    split = Split(tag, now.share, now.release.mode, "request" if keyless else "key")
    drawn = None
    if keyless:
        drawn = new_request_id(time.time_ns() // 1000)
        theirs = [assigned(product, tag, *prediction_ids(drawn, 1)) < split.share] * len(part)
    else:
        keys = keys_of(part, now.stable.bundle.request.table)
        theirs = [assigned(product, tag, key) < split.share for key in keys]
    roles: list[tuple[Role, list[int]]] = [
        ("stable", [row for row, own in enumerate(theirs) if not own]),
        ("candidate", [row for row, own in enumerate(theirs) if own]),
    ]
    there = [(role, rows) for role, rows in roles if rows]
    if len(there) == 1:
        own = replace(asked, role=there[0][0], split=split)
        return [_Piece(everything, part, own, drawn)]
    return [
        _Piece(rows, taken(part, rows), replace(asked, role=role, split=split, given=None))
        for role, rows in there
    ]


def _named(scored: "Scored", piece: _Piece) -> "Scored":
    """The answers under the id that was drawn for them."""
    return scored if piece.request_id is None else replace(scored, request_id=piece.request_id)


async def _within(seconds: float, slot: "Slot", part: "Part") -> "Scored":
    """What a bundle answers.

    Raises:
        Refused: with 503; it does not within these seconds. Else as by `MicroBatcher.submit`.
    """
    try:
        async with asyncio.timeout(seconds):
            return await slot.submit(part)
    except TimeoutError:
        words = f"{slot.bundle.tag} gave no answer within {seconds:.3g} s."
        raise Refused(503, words, headers={"Retry-After": "1"}) from None


def _status(error: Exception) -> int:
    return error.status if isinstance(error, Refused) else 500
