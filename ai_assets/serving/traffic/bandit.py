"""A bandit: feedback decides how many rows the candidate gets (Thompson 1933; Russo et al. 2018).

The reward of an answer is 1 if it was the outcome, else 0; a regression has none. Each bundle's
rate of rewards has a Beta posterior, and the candidate's share is the probability that its rate is
the higher one. It follows from the log alone, so every server of a product finds the same, and each
answer is recorded with the share of its moment. Within the share rows keep their bundle, as in any
split.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from ai_assets.serving.record.answers import Answered, Told
from ai_assets.serving.record.asked import Role
from ai_assets.serving.record.decode import keys_of_rows
from ai_assets.serving.record.store import Store
from ai_assets.serving.traffic.releases import LEAST_SHARE, MOST_SHARE

# Before either has so many rewards, the release's own split stays.
FEWEST_REWARDS = 10
DRAWS = 10_000
# The newest requests of each bundle, and the newest outcomes, that are looked at.
MOST_REQUESTS, MOST_OUTCOMES = 5_000, 20_000
# A request may hold many rows; with the one that reaches so many of a bundle, no more are read.
MOST_ROWS = 20_000
_NOTHING = "{}"


@dataclass(frozen=True)
class Arm:
    """Answers of one bundle whose outcome is known: as it came true, and not so."""

    right: int = 0
    wrong: int = 0


def learned_share(stable: Arm, candidate: Arm, salt: str) -> float | None:
    """The candidate's share of the rows, or None while too little is known.

    Args:
        stable: rewards of the stable bundle.
        candidate: rewards of the candidate.
        salt: seeds the draws, together with the rewards, so that the same log gives the same share.
    """
    import numpy as np

    if min(stable.right + stable.wrong, candidate.right + candidate.wrong) < FEWEST_REWARDS:
        return None
    seed = blake2b(f"{salt}\n{stable}\n{candidate}".encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(seed))
    ours = random.beta(1 + stable.right, 1 + stable.wrong, DRAWS)
    theirs = random.beta(1 + candidate.right, 1 + candidate.wrong, DRAWS)
    return min(MOST_SHARE, max(LEAST_SHARE, float((theirs > ours).mean())))


class Bandit:
    """Learns from a log. Called from one thread.

    Args:
        store: gives the log, to read.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self._keys: dict[int, list[str]] = {}

    def share(self, stable: str, candidate: str) -> float | None:
        """The share of a candidate by all that the log says now; None while that is too little.

        Args:
            stable: tag of the stable bundle.
            candidate: tag of the candidate.
        """
        store = self._store()
        told = list(store.newest_outcomes(0, MOST_OUTCOMES))
        if not told:
            return None
        described, known, self._keys = store.descriptions(), self._keys, {}

        def keys(entry: Answered) -> list[str]:
            # An entry that was read at the last look is not read again.
            found = known.get(entry.request_id)
            if found is None:
                found = keys_of_rows(entry, described[entry.bundle].table)
            self._keys[entry.request_id] = found
            return found

        def arm(tag: str, role: Role) -> Arm:
            entries = _few_rows(store.newest_answers(0, tag, role, MOST_REQUESTS))
            return rewards((e for e in entries if _is_of(e, candidate)), told, keys)

        return learned_share(arm(stable, "stable"), arm(candidate, "candidate"), candidate)


def rewards(
    entries: Iterable[Answered], told: Iterable[Told], keys: Callable[[Answered], list[str]]
) -> Arm:
    """What became of answers, each key once: its newest answer, against what was told of it last.

    Args:
        entries: requests, newest first.
        told: outcomes, newest first.
        keys: the key of each row of a request; `{}` for ready vectors, known by their ids.
    """
    outcomes: dict[str, str | float] = {}
    for one in told:
        place = one.entity if one.entity != _NOTHING else one.prediction_id
        outcomes.setdefault(str(place), one.outcome)
    seen: set[str] = set()
    right = wrong = 0
    for entry in entries:
        ids = entry.prediction_ids()
        for key, name, label in zip(keys(entry), ids, entry.label, strict=True):
            place = key if key != _NOTHING else name
            if place in seen or place not in outcomes or isinstance(label, float):
                continue
            seen.add(place)
            is_right = label == outcomes[place]
            right, wrong = right + is_right, wrong + (not is_right)
    return Arm(right, wrong)


def _few_rows(entries: Iterator[Answered]) -> Iterator[Answered]:
    """The entries, up to the one that reaches `MOST_ROWS`."""
    rows = 0
    for entry in entries:
        yield entry
        rows += entry.rows
        if rows >= MOST_ROWS:
            return


def _is_of(entry: Answered, candidate: str) -> bool:
    """Whether an entry was answered while the candidate was tried so."""
    split = entry.split
    if split is None or split.candidate != candidate or split.mode != "bandit":
        return False
    # What fell back was the candidate's by its key: it is no fair answer of either.
    return not split.fell_back
