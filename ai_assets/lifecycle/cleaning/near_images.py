"""Pictures that are nearly the same.

A picture is described by its lowest frequencies (the coefficients whose signs are known as pHash),
relative to its contrast. The transform is orthonormal, so two pictures are never further apart in
these numbers than they are in pixels: a tree over them finds every pair that may be near, and the
pixels themselves decide. What is compared are pictures as models see them, of one size.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ai_assets.lifecycle.cleaning.shelf import Read

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

FREQUENCIES = 24
# Of one picture so many that are nearest are compared pixel by pixel.
NEAREST = 16
_CHUNK = 1024
_GRID = 8
_AT_ONCE = 32 * 2**20
# A picture without contrast is told from another by a single shade.
_LEAST_CONTRAST = 1.0
_ROUNDING = 1e-3


def described(images: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """Numbers [n, k] of canonical pictures, in units of each one's contrast."""
    basis = _frequencies(shape[0], shape[1])
    step = max(1, _AT_ONCE // int(np.prod(shape)))
    found = [np.empty((0, basis.shape[1]), dtype=np.float32)]
    for start in range(0, len(images), step):
        pixels = _pixels(images[start : start + step], shape)
        grey = pixels.mean(axis=3).reshape(len(pixels), -1)
        found.append(((grey @ basis) / contrast(pixels)[:, None]).astype(np.float32))
    return np.concatenate(found)


def contrast(pixels: np.ndarray) -> np.ndarray:
    """Standard deviation of the shades of each picture [n], at least one shade of 255."""
    return np.maximum(pixels.reshape(len(pixels), -1).std(axis=1), _LEAST_CONTRAST)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far apart pictures are, [n], of two arrays [n, height, width, channels].

    The root mean square of the difference in the part of the picture (of at most 8 x 8 parts of at
    least 2 x 2 pixels) where it is largest, divided by the lesser contrast of the two. So what is
    spread over a picture, as the loss of JPEG, counts little, and a small thing that is on one of
    them only counts much.
    """
    squares = ((one - other) ** 2).mean(axis=3)
    for axis in (1, 2):
        size = squares.shape[axis]
        edges = np.linspace(0, size, max(1, min(_GRID, size // 2)) + 1).astype(int)
        sizes = np.diff(edges).astype(np.float32)
        sums = np.add.reduceat(squares, edges[:-1], axis=axis)
        squares = sums / (sizes[:, None] if axis == 1 else sizes)
    worst = np.sqrt(squares.reshape(len(squares), -1).max(axis=1))
    return worst / np.minimum(contrast(one), contrast(other))


def leaders(numbers: np.ndarray, read: Read, shape: tuple[int, ...], within: float) -> np.ndarray:
    """Of each picture the number of the one that it nearly repeats, or its own; int64 [n].

    Pictures are taken in their order. One that is near none of those that stand for themselves
    stands for itself; so no chain of small steps makes one of two pictures that are far apart.

    Args:
        numbers: as of `described`, of pictures no two of which are equal.
        read: gives the pictures of some numbers.
        shape: [height, width, channels].
        within: the largest `difference`.
    """
    own = np.arange(len(numbers))
    if within == 0:
        return own
    found, radius = own.copy(), 2 * within + _ROUNDING
    forest = _Forest()
    for start in range(0, len(numbers), _CHUNK):
        rows = own[start : start + _CHUNK]
        for near in forest.nearest(numbers[rows], radius).T:
            asked = (near >= 0) & (found[rows] == rows)
            apart = _apart(rows[asked], near[asked], read, shape)
            found[rows[asked][apart <= within]] = near[asked][apart <= within]
        alone = rows[found[rows] == rows]
        _among(alone, numbers, found, radius, lambda i, j: _apart(i, j, read, shape) <= within)
        forest.add(alone[found[alone] == alone], numbers)
    return found


def _among(
    rows: np.ndarray,
    numbers: np.ndarray,
    found: np.ndarray,
    radius: float,
    near: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Find the leaders of rows among themselves, each before those that come after it."""
    from scipy.spatial import cKDTree

    if not len(rows):
        return
    pairs = cKDTree(numbers[rows]).query_pairs(radius, output_type="ndarray")
    if not len(pairs):
        return
    first, later = pairs.min(axis=1), pairs.max(axis=1)
    apart = np.linalg.norm(numbers[rows[first]] - numbers[rows[later]], axis=1)
    order = np.lexsort((first, apart, later))
    first, later = first[order], later[order]
    starts = np.flatnonzero(np.diff(later, prepend=-1))
    for one in np.split(np.arange(len(later)), starts[1:]):
        row, before = rows[later[one[0]]], rows[first[one]]
        before = before[found[before] == before][:NEAREST]
        hits = before[near(np.full(len(before), row), before)] if len(before) else before
        if len(hits):
            found[row] = hits[0]


class _Forest:
    """Trees over pictures that stand for themselves; each is at least twice the next."""

    def __init__(self) -> None:
        self._trees: list[tuple[cKDTree, np.ndarray]] = []

    def add(self, rows: np.ndarray, numbers: np.ndarray) -> None:
        from scipy.spatial import cKDTree

        while self._trees and len(self._trees[-1][1]) < 2 * len(rows):
            rows = np.concatenate([self._trees.pop()[1], rows])
        if len(rows):
            self._trees.append((cKDTree(numbers[rows]), rows))

    def nearest(self, numbers: np.ndarray, radius: float) -> np.ndarray:
        """Up to `NEAREST` rows of each [n, k], the nearest first; -1 where there are no more."""
        if not self._trees:
            return np.empty((len(numbers), 0), dtype=np.int64)
        apart, near = [], []
        for tree, rows in self._trees:
            d, place = tree.query(numbers, k=NEAREST, distance_upper_bound=radius)
            apart.append(d)
            near.append(np.append(rows, -1)[place])
        order = np.argsort(np.hstack(apart), axis=1, kind="stable")[:, :NEAREST]
        return np.take_along_axis(np.hstack(near), order, axis=1)


def _apart(one: np.ndarray, other: np.ndarray, read: Read, shape: tuple[int, ...]) -> np.ndarray:
    step = max(1, _AT_ONCE // int(np.prod(shape)))
    found = [np.empty(0, dtype=np.float32)]
    for start in range(0, len(one), step):
        part = slice(start, start + step)
        pictures = (_pixels(read(rows[part]), shape) for rows in (one, other))
        found.append(difference(*pictures))
    return np.concatenate(found)


def _pixels(images: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    whole = np.frombuffer(b"".join(images), dtype=np.uint8)
    return whole.reshape(len(images), *shape).astype(np.float32)


def _frequencies(height: int, width: int) -> np.ndarray:
    """The lowest waves of the cosine transform (DCT-II), a column each, in root mean squares."""
    tall, wide = _waves(height), _waves(width)
    all_of = [(u + v, u, v) for u in range(min(height, 8)) for v in range(min(width, 8))]
    lowest = sorted(all_of)[1 : FREQUENCIES + 1] or [(0, 0, 0)]  # the first is mere brightness
    waves = [np.outer(tall[u], wide[v]).ravel() for _, u, v in lowest]
    return np.stack(waves, axis=1).astype(np.float32) / np.float32(np.sqrt(height * width))


def _waves(size: int) -> np.ndarray:
    """Orthonormal cosines, a row a frequency."""
    at, of = np.arange(size) + 0.5, np.arange(min(size, 8))[:, None]
    waves = np.cos(np.pi * of * at / size) * np.sqrt(2 / size)
    waves[0] /= np.sqrt(2)
    return waves
