"""Groups of people: the values of protected columns, as words and as numbers."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.fairness.spec import Fairness

MISSING = "(missing)"
MOST_GROUPS = 20


@dataclass(frozen=True)
class Protected:
    """The groups of people that rows are of, and what is declared about them.

    Attributes:
        groups: The number of each row's group in each protected column, int64 [n, C].
        spec: The declaration.
    """

    groups: np.ndarray
    spec: Fairness

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, rows: np.ndarray) -> "Protected":
        """The rows at the given positions, or where a mask is true."""
        return replace(self, groups=self.groups[rows])


def group_words(values: pl.Series) -> pl.Series:
    """The group of each row as text; who gave no value is a group too.

    Raises:
        DataError: the column has more values than groups can be.
    """
    if values.dtype.is_float():
        values = values.fill_nan(None)
    if (found := values.n_unique()) > MOST_GROUPS:
        raise DataError(
            f"fairness.columns must have at most {MOST_GROUPS} different values, which are groups, "
            f"but '{values.name}' has {found:,}. Cut it into groups in the source, such as decades."
        )
    return values.cast(pl.String).fill_null(MISSING)


def group_numbers(words: pl.DataFrame) -> pl.Series:
    """One Int64 a row, of which each column's group is a digit; `group_digits` takes it apart."""
    digits = [words[name].rank("dense").cast(pl.Int64) - 1 for name in words.columns]
    total = pl.zeros(words.height, pl.Int64, eager=True)
    for digit in digits:
        total = total * MOST_GROUPS + digit
    return total


def group_digits(numbers: np.ndarray, columns: int) -> np.ndarray:
    """The number of each row's group in each of the columns, int64 [n, C]."""
    powers = MOST_GROUPS ** np.arange(columns - 1, -1, -1, dtype=np.int64)
    digits: np.ndarray = numbers[:, None] // powers % MOST_GROUPS
    return digits
