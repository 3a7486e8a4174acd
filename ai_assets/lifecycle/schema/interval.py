"""Around a predicted value, the interval that holds the outcome as often as was declared."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ai_assets.lifecycle.errors import DataError, must_be

if TYPE_CHECKING:
    import numpy as np

Scale = Literal["root"]
ROOT: Scale = "root"
_SMALLEST = 1e-9


@dataclass(frozen=True)
class Interval:
    """How far from a predicted value its outcome lies, mostly.

    Split conformal prediction (Vovk et al. 2005, "Algorithmic learning in a random world"; Lei et
    al. 2018, "Distribution-free predictive inference for regression"): of `rows` that the model
    did not learn from, the `rank`-th smallest absolute error is the half width. Whatever the model
    and the data, an outcome of rows like those lies within it with a chance of rank / (rows + 1).
    `lifecycle.training.conformal` makes one. Where outcomes spread the more the larger they are, as
    counts do, errors are measured per the root of the prediction, which is the spread of a Poisson
    count (the same paper, section 5.2; Papadopoulos et al. 2002, "Inductive confidence machines for
    regression"): the promise stays, and is kept for small predictions as for large ones.

    Attributes:
        coverage: Declared share of outcomes that lie inside, above 0 and below 1.
        half_width: Distance of each end from the prediction, in the unit of the target; of a
            scaled one, of a prediction of 1.
        rows: How many rows it was measured on.
        floor: What no outcome is below, as counts are not below 0; None where there is no such.
        scale: `root` where it widens with the root of the prediction; None: it is of one width.
    """

    coverage: float
    half_width: float
    rows: int
    floor: float | None = None
    scale: Scale | None = None

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1:
            raise DataError(must_be("coverage of an interval", "above 0, below 1", self.coverage))
        if not self.half_width >= 0:
            raise DataError(must_be("half width of an interval", "0 or more", self.half_width))
        if self.scale not in (None, ROOT):
            raise DataError(must_be("scale of an interval", (ROOT,), self.scale))

    @property
    def rank(self) -> int:
        """Which of the absolute errors, from 1 on, is the half width."""
        return rank_of(self.coverage, self.rows)

    def ends(self, predicted: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
        """Lower and upper ends [n] around predictions [n]."""
        half = self.half_width * spread(predicted, self.scale)
        low, high = predicted - half, predicted + half
        return (low if self.floor is None else low.clip(self.floor)), high

    def __str__(self) -> str:
        """In words, for people."""
        near = "times the prediction's root of it" if self.scale else "of the prediction"
        return (
            f"{self.coverage:.0%} of outcomes within {self.half_width:.4g} {near}, measured on "
            f"{self.rows:,} rows"
        )


def spread(predicted: "np.ndarray", scale: Scale | None) -> "np.ndarray | float":
    """What errors of predictions [n] are measured in: 1, or the root of each."""
    # A prediction of 0 promises that nothing happens; so small a one differs from it in no answer.
    return 1.0 if scale is None else predicted.clip(_SMALLEST) ** 0.5


def rank_of(coverage: float, rows: int) -> int:
    """Which of the sorted absolute errors of so many rows bounds a share: ceil((n + 1) coverage).

    Above `rows` where there are too few of them to bound it.
    """
    # What is a whole number up to rounding, as 0.9 times 10, must not become the next one.
    wanted = (rows + 1) * coverage
    return int(-(-(wanted - 1e-9) // 1))
