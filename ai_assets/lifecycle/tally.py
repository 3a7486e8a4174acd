"""How often each value of a column stands."""

import polars as pl


def tally(values: pl.Series, *, sort: bool = False) -> pl.DataFrame:
    """`value` and `rows` of each distinct value, whatever the column is called.

    Polars itself gives the column's own name beside that of the numbers, and refuses where the two
    are the same: a column may well be called n, rows or count.

    Args:
        values: the column.
        sort: whether the most frequent comes first.
    """
    return values.rename("value").value_counts(sort=sort, name="rows")
