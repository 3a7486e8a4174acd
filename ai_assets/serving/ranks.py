"""Where a value lies among those that a bundle gave to its test rows."""

import json
from dataclasses import dataclass

import numpy as np

from ai_assets.lifecycle.schema.scores import SCORED
from ai_assets.serving.bundle import Bundle


@dataclass(frozen=True)
class Ranks:
    """The distribution of values, piecewise linear.

    Attributes:
        values: Ascending, in the unit of the target.
        shares: The share of the values that are at most as large, as many, ascending from 0 to 1.
    """

    values: tuple[float, ...]
    shares: tuple[float, ...]

    def of(self, values: np.ndarray) -> np.ndarray:
        """The rank of each value [n], from 0 to 1."""
        found: np.ndarray = np.interp(values, self.values, self.shares)
        return found


def ranks_of(bundle: Bundle) -> Ranks | None:
    """Ranks among the values of which the bundle's drift reference tells; None without any."""
    if bundle.decision.task != "regression" or bundle.reference is None:
        return None
    told = json.loads(bundle.reference)["columns"].get(SCORED[0])
    if told is None or told["low"] is None:
        return None
    shares, known = [0.0], sum(told["counts"])
    for count in told["counts"]:
        shares.append(shares[-1] + count / known)
    # The outermost are means of 20 values, so that none stands for itself.
    return Ranks((told["low"], *told["edges"], told["high"]), (*shares[:-1], 1.0))
