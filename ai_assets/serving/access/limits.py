"""How often a key may ask: a rate (a token bucket), and a quota (a count in a window of time)."""

import fcntl
import math
import os
import re
import struct
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
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
        self.left, self.at = float(rate.count), now

    def take(self, now: float) -> float:
        """0 where a request may pass now; else seconds until one may."""
        per_second = self.rate.count / self.rate.seconds
        # A clock that goes back must not empty the bucket.
        self.left = min(self.rate.count, self.left + max(0.0, now - self.at) * per_second)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / per_second


class Buckets:
    """A bucket for each key. Past `most` keys, the one that asked longest ago is forgotten.

    Subjects of an identity provider are any number, and what is forgotten begins full again.
    """

    def __init__(self, most: int = 65_536) -> None:
        self._most = most
        self._of: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, key_id: str, rate: Rate, now: float) -> float:
        """0 where a request of the key may pass now; else seconds until one may."""
        bucket = self._of.get(key_id)
        if bucket is None:
            bucket = self._of[key_id] = Bucket(rate, now)
            if len(self._of) > self._most:
                self._of.popitem(last=False)
        self._of.move_to_end(key_id)
        return bucket.take(now)


class SharedBuckets:
    """The same in one file of at most 2 MiB, for all processes that have it, of one clock.

    A key's place is one of eight that its hash says. Where all of them are others', it takes the
    place of the one that asked longest ago; its requests are counted from then on.

    Args:
        file: where they are; made where it is not.
        sets: how many eights there are.
    """

    _FORM = struct.Struct("=16sdd")
    _WAYS = 8

    def __init__(self, file: Path, sets: int = 8192) -> None:
        self._sets = sets
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, self._file)

    def take(self, key_id: str, rate: Rate, now: float) -> float:
        """0 where a request of the key may pass now; else seconds until one may."""
        # Ids of an identity provider may hold anything.
        name = blake2b(key_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        size = self._FORM.size * self._WAYS
        start = int.from_bytes(name[:8]) % self._sets * size
        fcntl.lockf(self._file, fcntl.LOCK_EX, size, start)
        try:
            found = os.pread(self._file, size, start).ljust(size, b"\0")
            there = list(self._FORM.iter_unpack(found))
            way = self._way(name, there)
            bucket = Bucket(rate, now)
            if there[way][0] == name:
                bucket.left, bucket.at = there[way][1:]
            wait = bucket.take(max(now, bucket.at))
            content = self._FORM.pack(name, bucket.left, bucket.at)
            os.pwrite(self._file, content, start + way * self._FORM.size)
            return wait
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, size, start)

    @staticmethod
    def _way(name: bytes, there: list[tuple[bytes, float, float]]) -> int:
        """The key's place among the eight; free ones have never asked, so they come first."""
        own = [n for n, entry in enumerate(there) if entry[0] == name]
        return own[0] if own else min(range(len(there)), key=lambda n: there[n][2])


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
