"""How often a key may ask: a rate (a token bucket), and a quota (a count in a window of time)."""

import fcntl
import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from ai_assets.lifecycle.errors import UserError, must_be

_UNITS = {"s": 1, "min": 60, "h": 3600, "day": 86400}
_AMOUNT = re.compile(r"([1-9]\d{0,11})/(s|min|h|day)")
_SPAN = re.compile(r"([1-9]\d{0,5}) ?(s|min|h|day)s?")


class LimitError(UserError):
    """A limit is not written as one."""


@dataclass(frozen=True)
class Rate:
    """At most `count` requests at once, and as many again in each `seconds`, evenly."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return _written(self.count, self.seconds)


@dataclass(frozen=True)
class Quota:
    """At most `count` requests in each window of `seconds`; windows begin at multiples, in UTC."""

    count: int
    seconds: int

    def __str__(self) -> str:
        return _written(self.count, self.seconds)

    def window(self, now: float) -> int:
        """When the window began that holds the moment, in seconds since 1970."""
        return int(now // self.seconds) * self.seconds


def parse_rate(text: str) -> Rate:
    """A rate such as `100/s`.

    Raises:
        LimitError: it is written in another way.
    """
    return Rate(*_amount("rate", text))


def parse_quota(text: str) -> Quota:
    """A quota such as `100000/day`.

    Raises:
        LimitError: it is written in another way.
    """
    return Quota(*_amount("quota", text))


def parse_span(text: str) -> int:
    """A span such as `90 days`, in seconds.

    Raises:
        LimitError: it is written in another way.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise LimitError(must_be("expires", "a span such as '90 days' or '12 h'", text))
    return int(found[1]) * _UNITS[found[2]]


class Bucket:
    """A token bucket. It begins full, and is refilled evenly."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._left, self._at = float(rate.count), now

    def take(self, now: float) -> float:
        """0 where a request may pass now; else seconds until one may."""
        per_second = self.rate.count / self.rate.seconds
        # A clock that goes back must not empty the bucket.
        self._left = min(self.rate.count, self._left + max(0.0, now - self._at) * per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / per_second


class SharedBucket(Bucket):
    """A token bucket in a file, for all processes that have it. The clock must be theirs too.

    Args:
        rate: how fast it is refilled.
        now: the clock's time; it begins full for whoever comes first.
        file: where it is; made where it is not.
    """

    _FORM = struct.Struct("dd")

    def __init__(self, rate: Rate, now: float, file: Path) -> None:
        super().__init__(rate, now)
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, now: float) -> float:
        """0 where a request may pass now; else seconds until one may."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            found = os.pread(self._file, self._FORM.size, 0)
            if found:
                self._left, self._at = self._FORM.unpack(found)
            wait = super().take(max(now, self._at))
            os.pwrite(self._file, self._FORM.pack(self._left, self._at), 0)
            return wait
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __del__(self) -> None:
        os.close(self._file)


def retry_after(seconds: float) -> str:
    """The header's value: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))


def _amount(name: str, text: str) -> tuple[int, int]:
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise LimitError(must_be(name, "a count for each s, min, h or day, such as '100/s'", text))
    return int(found[1]), _UNITS[found[2]]


def _written(count: int, seconds: int) -> str:
    return f"{count}/{next(unit for unit, value in _UNITS.items() if value == seconds)}"
