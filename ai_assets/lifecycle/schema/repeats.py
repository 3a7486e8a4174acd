"""Which of many numbers come more than once."""

import numpy as np
import polars as pl


def repeats_of(numbers: pl.Series) -> np.ndarray:
    """The numbers that come after an equal one: of k equal ones k - 1, ascending.

    Sorted for that, which takes 8 bytes a row; a set of them would take several times as much.

    Args:
        numbers: integers [n] without nulls, in any order.
    """
    ordered = numbers.sort().to_numpy()
    found: np.ndarray = ordered[1:][ordered[1:] == ordered[:-1]]
    return found
