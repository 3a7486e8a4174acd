"""What chance alone does to effect sizes, so that few rows, or many columns, raise no alarm.

Between two samples of n and m rows of one distribution in B bins, psi is to first order Pearson's
statistic: with p, q near s, (p - q) ln(p / q) = (p - q)**2 / s, and p - q has the variance
s (1/n + 1/m) (minus the part that one total fixes). So psi / (1/n + 1/m) is chi-square with B - 1
degrees of freedom: Yurdakul (2018), "Statistical properties of population stability index"; mean
(B - 1)(1/n + 1/m). Limits are raised by the quantile that all columns together exceed by chance in
at most 5 % of comparisons (Bonferroni). At a million rows this is nothing and the size decides.
"""

import math

from ai_assets.lifecycle.drift.columns import Floats

FAMILY_ERROR = 0.05
# One comparison a partition, whose blocks are not exactly normal: three standard deviations.
JOINT_Z = 3.0


def psi(reference: Floats, current: Floats, tests: int) -> float:
    """What chance adds to the psi of counts [B] and [B], judged beside `tests` - 1 others."""
    from scipy.special import chdtri

    bins = int(((reference + current) > 0).sum())
    if bins < 2:
        return 0.0
    return float(chdtri(bins - 1, FAMILY_ERROR / tests) * (1 / reference.sum() + 1 / current.sum()))


def quantile(tests: int) -> float:
    """Standard deviations that the largest of so many normal differences exceeds in 5 %."""
    from scipy.special import ndtri

    return -float(ndtri(FAMILY_ERROR / tests / 2))


def share(before: float, n: int, now: float, m: int, tests: int) -> float:
    """What chance adds to the difference of two shares, of n and of m rows."""
    mean = (before * n + now * m) / (n + m)
    return quantile(tests) * math.sqrt(mean * (1 - mean) * (1 / n + 1 / m))
