"""Groups of people: the values of protected columns, as words and as numbers."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.fairness.spec import MOST_GROUPS, Fairness
from ai_assets.lifecycle.features.reserved import PROTECTED

MISSING = "(missing)"


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
    """One Int64 a row, of which each column's group is a digit; `group_digits` takes it apart.

    A digit is the rank of the group's word among those of this frame, so numbers of two frames are
    not to be compared. At most 14 columns fit (`spec.MOST_COLUMNS`).
    """
    digits = [words[name].rank("dense").cast(pl.Int64) - 1 for name in words.columns]
    total = pl.zeros(words.height, pl.Int64, eager=True)
    for digit in digits:
        total = total * MOST_GROUPS + digit
    return total


def group_digits(numbers: np.ndarray, columns: int) -> np.ndarray:
    """The number of each row's group in each of the columns, int64 [n, C].

    Raises:
        DataError: these are not numbers of so many columns' groups.
    """
    most = MOST_GROUPS**columns
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < most:
        wrong = next(number for number in numbers.tolist() if not 0 <= number < most)
        raise DataError(
            f"{PROTECTED} must be a whole number from 0 to {most - 1} for {columns} protected "
            f"columns, but got {wrong}: it was written for another declaration or by another "
            "version. Materialize training_set again."
        )
    powers = MOST_GROUPS ** np.arange(columns - 1, -1, -1, dtype=np.int64)
    digits: np.ndarray = numbers[:, None] // powers % MOST_GROUPS
    return digits


def protected_of(rows: pl.DataFrame, spec: Fairness | None) -> Protected | None:
    """The groups of the rows, which `_protected` holds; None where that is not there.

    Raises:
        DataError: it holds no numbers of the declared columns' groups.
    """
    if spec is None or PROTECTED not in rows.columns:
        return None
    return Protected(group_digits(rows[PROTECTED].to_numpy(), len(spec.columns)), spec)
