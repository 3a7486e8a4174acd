"""What is known of a stable bundle and its candidate while both answer."""

from dataclasses import dataclass

import numpy as np

from ai_assets.lifecycle.evaluation.bootstrap import Estimate

# Each look at the numbers may be wrong, and there are many: 99 % of a two-sided interval.
Z = 2.576


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
        estimated: log loss of the candidate less that of the stable one over all rows, those
            without an outcome as their scores promise, with the interval of `losses`; None where
            too few rows tell of it.
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
