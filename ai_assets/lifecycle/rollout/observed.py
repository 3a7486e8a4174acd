"""What is known of a stable bundle and its candidate while both answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.metrics import LOG_LOSS_EPSILON

FEWEST_ROWS = 30
# Each look at the numbers may be wrong, and there are many: 99 % of a two-sided interval.
Z = 2.576
_Z_95 = 1.96


@dataclass(frozen=True)
class Arm:
    """How one of the two answered since the step began.

    Attributes:
        answered: requests that got an answer.
        failed: requests that should have, and did not.
        slow: answers that surely took longer than the limit of latency.
        p99_ms: what 99 of 100 answers did not exceed; None without answers.
    """

    answered: int = 0
    failed: int = 0
    slow: int = 0
    p99_ms: float | None = None

    @property
    def requests(self) -> int:
        return self.answered + self.failed

    @property
    def error_rate(self) -> float:
        """Share of requests that failed; 0 of none."""
        return self.failed / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Observed:
    """Both, over the same time.

    Attributes:
        stable: the one in production.
        candidate: the one beside it.
        estimated: log loss of the candidate less that of the stable one, both as their scores
            promise, with its 95 % interval; None where there are too few rows.
        realised: the same over rows whose outcome is known.
    """

    stable: Arm
    candidate: Arm
    estimated: Estimate | None = None
    realised: Estimate | None = None


def share_between(count: int, total: int, z: float = Z) -> tuple[float, float]:
    """The interval of a share (Wilson 1927, "Probable inference"); all of [0, 1] for no total."""
    if not total:
        return 0.0, 1.0
    share, square = count / total, z * z
    middle = share + square / (2 * total)
    reach = z * np.sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def difference_between(first: Arm, second: Arm, z: float = Z) -> tuple[float, float]:
    """The interval of the first's error rate less the second's (Newcombe 1998, method 10)."""
    low_1, high_1 = share_between(first.failed, first.requests, z)
    low_2, high_2 = share_between(second.failed, second.requests, z)
    one, two = first.error_rate, second.error_rate
    gap = one - two
    low = gap - np.hypot(one - low_1, high_2 - two)
    return float(low), float(gap + np.hypot(high_1 - one, two - low_2))


def row_losses(p: ArrayLike, q: ArrayLike) -> NDArray[np.float64]:
    """Log loss of each score [n], in nats.

    Args:
        p: scores [n].
        q: labels [n], or for rows without one the belief [n] that they are positives.
    """
    scores = np.clip(np.asarray(p, dtype=np.float64), LOG_LOSS_EPSILON, 1 - LOG_LOSS_EPSILON)
    positive = np.asarray(q, dtype=np.float64)
    return -(positive * np.log(scores) + (1 - positive) * np.log1p(-scores))


def loss_difference(candidate: ArrayLike, stable: ArrayLike) -> Estimate | None:
    """Mean loss of the candidate's rows less that of the stable one's, with its 95 % interval.

    Each answered its own rows, so the two means are independent (Welch 1947).

    Args:
        candidate: losses [n] of its rows.
        stable: losses [m] of its rows.

    Returns:
        None where either has fewer than 30 rows.
    """
    one, two = np.asarray(candidate, dtype=np.float64), np.asarray(stable, dtype=np.float64)
    if min(len(one), len(two)) < FEWEST_ROWS:
        return None
    value = float(one.mean() - two.mean())
    reach = _Z_95 * float(np.sqrt(one.var(ddof=1) / len(one) + two.var(ddof=1) / len(two)))
    return Estimate(value, value - reach, value + reach)
