"""How far a number may go: what was seen, with room for what was not."""

import math
import re

_FAR = 2.0
_OF_NATURE = {
    "month": (1, 12),
    "day": (1, 31),
    "weekday": (0, 7),
    "hour": (0, 24),
    "minute": (0, 60),
    "second": (0, 60),
    "lat": (-90, 90),
    "latitude": (-90, 90),
    "lon": (-180, 180),
    "long": (-180, 180),
    "lng": (-180, 180),
    "longitude": (-180, 180),
    "percent": (0, 100),
    "pct": (0, 100),
}
"""What words at the end of a name say of the range."""


def bounds(low: float, high: float, *, whole: bool, name: str = "") -> tuple[float, float]:
    """Smallest and largest value to allow, rounded.

    Half of what lies between the smallest and the largest seen is added on either side. A share
    stays between 0 and 1, a month between 1 and 12; what was never negative stays so.

    Args:
        low: smallest value seen.
        high: largest value seen.
        whole: whether the values are whole numbers.
        name: of the column; its last word may say more, as month and lat do.
    """
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    natural = _OF_NATURE.get(re.split(r"[\s_.-]", name.lower())[-1])
    if natural is not None and natural[0] <= low and high <= natural[1]:
        return float(natural[0]), float(natural[1])
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span))
    if whole:
        step = max(1.0, step)
    least = math.floor((low - span / 2) / step) * step
    most = math.ceil((high + span / 2) / step) * step
    if low >= 0 and low <= _FAR * span:
        least = 0.0
    if high <= 0 and -high <= _FAR * span:
        most = 0.0
    return _plain(least, step), _plain(most, step)


def _plain(value: float, step: float) -> float:
    """Without the last bits that multiplying leaves."""
    digits = max(0, -math.floor(math.log10(step)))
    return round(value, digits)
