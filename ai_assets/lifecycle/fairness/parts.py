"""What is to be alike: rows of a column's groups, and the rate that they are compared by."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ai_assets.lifecycle.fairness.groups import Protected

_SURELY = 1.96
_LEAST = 0.25
"""Share of the limit that is close enough, however few rows there are: chance is not chased."""


@dataclass(frozen=True)
class Part:
    """Rows of which groups of one column must be answered alike.

    Attributes:
        column: Position of the protected column.
        event: Labels of the rows that count: 1.0, 0.0, or None for all.
        values: The groups that have rows enough to be held against each other, int64 [K].
        rows: Which rows count, bool [n].
        place: Where in `values` the group of each row that counts is, int8 [n]; K for any other.
        shares: P(k, e), the share of rows that count and are of each group, [K].
        share: P(e), the share of rows that count.
    """

    column: int
    event: float | None
    values: np.ndarray
    rows: np.ndarray
    place: np.ndarray
    shares: np.ndarray
    share: float

    @classmethod
    def of(
        cls, column: int, event: float | None, groups: np.ndarray, y: np.ndarray, min_rows: int
    ) -> "Part":
        """The part of rows with groups [n] and labels [n]; `values` has no smaller groups."""
        rows = np.ones(len(y), dtype=bool) if event is None else y == event
        values, sizes = np.unique(groups[rows], return_counts=True)
        kept = sizes >= min_rows
        values, shares = values[kept], sizes[kept] / max(len(y), 1)
        place = np.full(len(y), len(values), dtype=np.int8)
        for position, value in enumerate(values):
            place[rows & (groups == value)] = position
        return cls(column, event, values, rows, place, shares, float(rows.mean()))

    @property
    def compares(self) -> bool:
        """Whether there are two groups at least to hold against each other."""
        return len(self.values) > 1

    def take(self, rows: np.ndarray) -> "Part":
        """The part as the rows at the given positions show it; shares stay those of all."""
        return replace(self, rows=self.rows[rows], place=self.place[rows])

    def pull(self, multipliers: np.ndarray) -> np.ndarray:
        """What multipliers [K] take from a row's worth of a positive answer, [n]."""
        each = np.append(multipliers / self.shares, 0.0)
        pulled: np.ndarray = each[self.place] - multipliers.sum() / self.share * self.rows
        return pulled

    def rates(self, answered: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """The share [K] of each group that is answered positive, of rows that weigh [n]."""
        totals, positive = (
            np.bincount(self.place, weights=counted, minlength=len(self.values) + 1)
            for counted in (weight, weight * answered)
        )
        found: np.ndarray = positive[:-1] / totals[:-1]
        return found

    def allowed(
        self, rates: np.ndarray, answered: np.ndarray, weight: np.ndarray, limit: float
    ) -> float:
        """The largest difference whose 95 % interval over these rows ends within the limit.

        The interval is Wald's, of the highest rate against the lowest. Where `answered` is at how
        many of several thresholds a row is positive, it is the interval of the mean rate over them,
        which varies less than the rate at one of them.

        Args:
            rates: what `rates` gave of the same answers, [K].
            answered: 0 to 1, [n].
            weight: how many rows each stands for, [n].
            limit: the largest difference that is to be.
        """
        error = 0.0
        for end in (rates.argmax(), rates.argmin()):
            counted, of_end = weight[self.place == end], answered[self.place == end]
            error += float((counted**2 @ (of_end - rates[end]) ** 2) / counted.sum() ** 2)
        return max(limit - _SURELY * np.sqrt(error), _LEAST * limit)


def parts_of(protected: Protected, y: np.ndarray) -> Iterator[Part]:
    """A part of each column for each rate of the declared criterion, by labels 0 and 1 [n]."""
    spec = protected.spec
    for column in range(protected.groups.shape[1]):
        for event in spec.events:
            yield Part.of(column, event, protected.groups[:, column], y, spec.min_rows)


def compared_parts(protected: Protected, y: np.ndarray) -> list[Part]:
    """Those of which two groups at least have rows enough that count."""
    return [part for part in parts_of(protected, y) if part.compares]
