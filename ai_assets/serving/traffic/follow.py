"""Follows the release: what the ledger says answers soon after, and a bad bundle never does.

A thread looks; a new bundle is verified, loaded and rehearsed there, beside the one that answers.
Only the exchange itself happens on the event loop.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import BundleError, UserError
from ai_assets.serving.traffic.bandit import Bandit
from ai_assets.serving.traffic.releases import Release, Releases, payload_of
from ai_assets.serving.traffic.router import Router, Serving

if TYPE_CHECKING:
    from ai_assets.serving.bundle import Bundle
    from ai_assets.serving.metrics import Metrics
    from ai_assets.serving.record.keeper import Keeper
    from ai_assets.serving.settings import Settings
    from ai_assets.serving.traffic.slots import Slot

_LOG = logging.getLogger(__name__)
# What could not be loaded is tried again after so many looks, then after twice as many, …
_FIRST_REST, _LONGEST_REST = 1, 64
# A bandit looks at the log once in so many looks at the ledger.
_LOOKS_TO_LEARN = 2


class Follower:
    """Looks for newer releases in the background.

    Args:
        releases: the ledger.
        router: what answers.
        keeper: is told of new bundles before they answer.
        settings: limits and places.
        metrics: counts what new bundles score.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        releases: Releases,
        router: Router,
        keeper: "Keeper",
        settings: "Settings",
        metrics: "Metrics",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._releases, self._router, self._keeper = releases, router, keeper
        self._settings, self._metrics, self._clock = settings, metrics, clock
        self._followed: Release | None = None
        self._failed: Release | None = None
        self._rest, self._again_at = 0, float("-inf")
        self._bandit, self._learn_at = Bandit(keeper.recorder.store), float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look. Call it on the event loop that answers."""
        if self._thread is None:
            self._stop.clear()
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(
                target=self._watch, args=(loop,), name="release", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the looks; waits for one that is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
            self._thread = None

    def look(self) -> tuple[Serving | None, str | None]:
        """What should answer from now on, if it changed; and the problem, if that changed.

        An empty problem says that there is none any more.
        """
        try:
            release = self._releases.newest()
        except UserError as error:
            return None, str(error)
        if release == self._followed:
            return None, ""
        if release == self._failed and self._clock() < self._again_at:
            return None, None
        now, problem = self._follow(release)
        if problem:
            self._put_off(release)
            self._followed = None  # a part of it may answer, so going back is a change again
        else:
            self._followed, self._failed = release, None
        return now, problem

    def _follow(self, release: Release) -> tuple[Serving | None, str]:
        """What answers of a release, as far as its bundles can, and why not all of it does."""
        before, problems = self._router.now, []
        there = {slot.bundle.tag: slot for slot in before.slots}
        stable, candidate = before.stable, None
        try:
            stable = there.get(release.stable) or self._loaded(release.stable)
        except Exception as error:  # whatever is wrong with it, the old one goes on
            problems.append(_why(release.stable, error))
        there[stable.bundle.tag] = stable
        if release.candidate is not None and release.candidate != stable.bundle.tag:
            try:
                candidate = there.get(release.candidate) or self._loaded(release.candidate)
                _check_alike(stable.bundle, candidate.bundle)
            except Exception as error:  # as above
                candidate = None
                problems.append(_why(release.candidate, error))
        # A bandit goes on from what it knows.
        again = candidate is before.candidate and release.mode == before.release.mode
        now = Serving(release, stable, candidate, before.learned if again else None)
        same = now.slots == before.slots and now.release == before.release
        return None if same else now, " ".join(problems)

    def _loaded(self, tag: str) -> "Slot":
        from ai_assets.serving.traffic.slots import load_slot

        folder = payload_of(self._settings.bundles, tag)
        slot = load_slot(folder, tag, self._settings, self._metrics)
        self._keeper.describe(slot.bundle)
        return slot

    def _put_off(self, release: Release) -> None:
        known = release == self._failed
        self._rest = min(2 * self._rest, _LONGEST_REST) if known else _FIRST_REST
        self._failed = release
        self._again_at = self._clock() + self._rest * self._settings.check_seconds

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stop.is_set():
            try:
                found, problem = self.look()
                if not self._stop.is_set():
                    asyncio.run_coroutine_threadsafe(self._take(found, problem), loop).result()
                    self._learn(loop)
            except Exception as error:  # the watcher must outlive any failed look
                _LOG.warning("The release could not be looked for: %s", error)
            self._stop.wait(self._settings.check_seconds)

    def _learn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the bandit, if there is one, have another look at the log."""
        now, learns = self._router.now, self._keeper.recorder.mode != "off"
        if not (learns and now.is_split and now.release.mode == "bandit"):
            return
        if now.candidate is None or self._clock() < self._learn_at:
            return
        self._learn_at = self._clock() + _LOOKS_TO_LEARN * self._settings.check_seconds
        try:
            share = self._bandit.share(now.stable.bundle.tag, now.candidate.bundle.tag)
        except Exception as error:  # the share of before stays
            _LOG.warning("Nothing can be learned from the log now: %s", error)
            return
        loop.call_soon_threadsafe(self._router.learn, now, share)

    async def _take(self, found: Serving | None, problem: str | None) -> None:
        if found is not None:
            self._router.put(found)
        if problem is not None:
            self._router.failed(problem)


def _check_alike(stable: "Bundle", candidate: "Bundle") -> None:
    """Return if a request may be answered by both: a caller knows the words of one only.

    Raises:
        BundleError: it may not; says why.
    """
    ours, theirs = stable.decision, candidate.decision
    if ours.task != theirs.task:
        words = f"the answer is a {theirs.task} one, was {ours.task}"
    elif ours.classes != theirs.classes:
        words = f"answers are {list(theirs.classes)}, were {list(ours.classes)}"
    else:
        return
    raise BundleError(f"Callers of {stable.tag} do not know its answers: {words}.")


def _why(tag: str, error: Exception) -> str:
    if not isinstance(error, UserError):
        _LOG.error("%s cannot be loaded", tag, exc_info=error)
    return f"{tag} cannot be served: {error}"
