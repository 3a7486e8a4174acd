"""Texts that are nearly the same.

A text is the set of its pieces of 5 characters. Which pairs may be near is found by MinHash
(Broder, On the resemblance and containment of documents, 1997): texts that have much in common
agree in one of several groups of numbers. The pieces themselves decide (Jaccard).
"""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from math import ceil, log, sqrt
from typing import NamedTuple

import numpy as np

from ai_assets.lifecycle.cleaning.shelf import Read

PIECE = 5
# A pair at the very threshold is missed once in so many times.
_MISSED = 1e-3
_MOST_NUMBERS = 128
# Of one text so many are compared piece by piece; so many of one group are remembered.
_NEAREST = 4
_STANDARD_ERRORS = 4.5
_AT_ONCE = 2**16
_REMEMBERED = 2_000
_LAST = np.uint32(2**32 - 1)
_MARKS = re.compile(r"[\s.,;:!?…\"'“”„‘’«»()\[\]{}¿¡、。，！？；：]+")
_FIGURES = re.compile(r"\d+")


def plain(text: str) -> str:
    """The text without upper case and the marks of a sentence; itself if nothing else is left."""
    return _MARKS.sub(" ", text.casefold()).strip() or text


def described(texts: list[str], within: float) -> np.ndarray:
    """MinHash numbers, uint32 [n, bands, rows], of texts as `plain` gives them."""
    bands, rows = _groups(within)
    found = np.empty((len(texts), bands * rows), dtype=np.uint32)
    starts, start = np.cumsum([0, *(max(len(t) + 2, PIECE) for t in texts)]), 0
    while start < len(texts):
        stop = max(start + 1, int(np.searchsorted(starts, starts[start] + _AT_ONCE)) - 1)
        found[start:stop] = _least(texts[start:stop], bands * rows)
        start = stop
    return found.reshape(len(texts), bands, rows)


class _Pieces(NamedTuple):
    """What is compared of a text."""

    pieces: frozenset[str]
    figures: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "_Pieces":
        padded = f" {text} ".ljust(PIECE)
        pieces = frozenset(padded[at : at + PIECE] for at in range(len(padded) - PIECE + 1))
        return cls(pieces, tuple(_FIGURES.findall(text)))


def difference(one: str, other: str) -> float:
    """Share of the pieces of two plain texts that only one of them has; 1 if numbers differ."""
    return _difference(_Pieces.of(one), _Pieces.of(other))


def _difference(one: _Pieces, other: _Pieces) -> float:
    if one.figures != other.figures:
        return 1.0
    common = len(one.pieces & other.pieces)
    return 1 - common / (len(one.pieces) + len(other.pieces) - common)


def leaders(numbers: np.ndarray, read: Read, within: float) -> np.ndarray:
    """Of each text the number of the one that it nearly repeats, or its own; int64 [n].

    Texts are taken in their order, as in `near_images.leaders`.

    Args:
        numbers: as of `described`, of texts no two of which are equal.
        read: gives the texts of some numbers as `plain` gives them, in UTF-8.
        within: the largest `difference`.
    """
    found = np.arange(len(numbers))
    if within == 0 or not len(numbers):
        return found
    groups = _shared(numbers)
    flat = numbers.reshape(len(numbers), -1)
    stand: dict[int, list[int]] = defaultdict(list)
    one = lru_cache(maxsize=_REMEMBERED)(lambda row: _Pieces.of(read(np.array([row]))[0].decode()))
    for row in np.flatnonzero((groups >= 0).any(axis=1)).tolist():
        met = [group for group in groups[row].tolist() if group >= 0]
        near = list(dict.fromkeys(other for group in met for other in stand[group]))
        leader = _leader(row, near, flat, one, within)
        found[row] = row if leader is None else leader
        if leader is None:
            for group in met:
                if len(stand[group]) < _NEAREST:
                    stand[group].append(row)
    return found


def _leader(
    row: int, near: list[int], flat: np.ndarray, read: Callable[[int], _Pieces], within: float
) -> int | None:
    """The likeliest of the texts in question that really is near."""
    if not near:
        return None
    alike = (flat[near] == flat[row]).mean(axis=1)
    # The share in which the numbers of two texts agree is that of their pieces, but for chance.
    unsure = _STANDARD_ERRORS * sqrt(within * (1 - within) / flat.shape[1])
    likely = np.flatnonzero(alike >= 1 - within - unsure)
    likely = likely[np.argsort(-alike[likely], kind="stable")][:_NEAREST]
    for other in (near[place] for place in likely.tolist()):
        if _difference(read(row), read(other)) <= within:
            return other
    return None


def _groups(within: float) -> tuple[int, int]:
    """How many groups of how many numbers find a pair at the threshold almost surely."""
    alike = 1 - within
    for rows in range(16, 1, -1):
        bands = ceil(log(_MISSED) / log(1 - alike**rows)) if alike < 1 else 1
        if bands * rows <= _MOST_NUMBERS:
            return bands, rows
    return _MOST_NUMBERS, 1


def _shared(numbers: np.ndarray) -> np.ndarray:
    """A number of each group that several texts are in, int64 [n, bands]; -1 of others."""
    mixed = np.zeros(numbers.shape[:2], dtype=np.uint64)
    mixed += np.arange(numbers.shape[1], dtype=np.uint64)
    for row in range(numbers.shape[2]):
        mixed = _mixed(mixed ^ numbers[:, :, row])
    _, inverse, counts = np.unique(mixed, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(mixed.shape)
    return np.where(counts[inverse] > 1, inverse, -1)


def _least(texts: list[str], count: int) -> np.ndarray:
    """The least of the pieces' hashes under each of `count` functions, uint32 [n, count]."""
    padded = [f" {text} ".ljust(PIECE) for text in texts]
    letters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    count_of = len(letters) - PIECE + 1
    hashes = np.zeros(count_of, dtype=np.uint64)
    for at in range(PIECE):
        hashes = _mixed(hashes ^ letters[at : count_of + at])
    ends = np.cumsum([len(text) for text in padded])
    starts = ends - [len(text) for text in padded]
    # Of each text the pieces that lie in it, and those that reach into the next, left out again.
    edges = np.stack([starts, ends - PIECE + 1], axis=1).ravel()
    factors = _mixed(np.arange(1, count + 1, dtype=np.uint64)) | np.uint64(1)
    found = np.empty((len(texts), count), dtype=np.uint32)
    with np.errstate(over="ignore"):
        for number, factor in enumerate(factors):
            turned = ((hashes * factor) >> np.uint64(32)).astype(np.uint32)
            found[:, number] = np.minimum.reduceat(np.append(turned, _LAST), edges)[::2]
    return found


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finisher of splitmix64 (Steele 2014)."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
