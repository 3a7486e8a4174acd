"""Groups of people: the values of a protected column, as words."""

import polars as pl

from ai_assets.lifecycle.errors import DataError

MISSING = "(missing)"
MOST_GROUPS = 20


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
