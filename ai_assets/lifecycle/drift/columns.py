"""One column of the drift reference, and one column of the rows as arrays that it can be held to.

No value in a profile stands for fewer than 20 rows: numbers are kept as edges of bins that hold 20
rows or more, with the means of the 20 lowest and the 20 highest in place of minimum and maximum;
text as counts of categories with 20 rows or more, the others summed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ai_assets.lifecycle.tally import tally

BINS = 20
FEWEST = 20
MOST_CATEGORIES = 200
# A column's part of this many rows stays in the cache while all edges are compared with it.
CHUNK = 65_536

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class NumberProfile:
    """A number's distribution. NaN and infinity count as missing.

    Attributes:
        rows: Rows, missing ones included.
        missing: Rows without a value.
        edges: Inner edges, ascending; bin i holds values in (edges[i-1], edges[i]].
        counts: Rows of each bin, one more than there are edges.
        low: Mean of the 20 lowest values.
        high: Mean of the 20 highest values.
        mean: Mean; None without values.
        std: Standard deviation; None without values.
    """

    rows: int
    missing: int
    edges: list[float]
    counts: list[int]
    low: float | None
    high: float | None
    mean: float | None
    std: float | None
    kind: str = "number"


@dataclass(frozen=True)
class CategoryProfile:
    """A text's, or a truth value's, distribution.

    Attributes:
        rows: Rows, missing ones included.
        missing: Rows without a value.
        counts: Rows of each common category.
        other: Rows of all other categories together.
    """

    rows: int
    missing: int
    counts: dict[str, int]
    other: int
    kind: str = "category"


ColumnProfile = NumberProfile | CategoryProfile


def kind_of(dtype: pl.DataType) -> str | None:
    """`number`, `category`, or None for a type that has no profile."""
    if dtype.is_numeric():
        return "number"
    return "category" if dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum) else None


def comparable(column: ColumnProfile, dtype: pl.DataType) -> bool:
    """Whether values of the type can be held to the profile."""
    return dtype.is_numeric() == (column.kind == "number")


def chunks(rows: pl.DataFrame, size: int = CHUNK) -> Iterator[pl.DataFrame]:
    """The rows in parts of `size`, in their order."""
    return rows.iter_slices(size)


def floats(values: pl.Series) -> Floats:
    """The values as float64 [n], NaN where one is missing or infinite."""
    found = values.cast(pl.Float64).to_numpy()
    if np.isinf(found).any():
        found = np.where(np.isinf(found), np.nan, found)
    return found


def codes(values: pl.Series, column: CategoryProfile) -> Codes:
    """Each value's place [n] in the profile's categories; then others, then missing."""
    words = values.cast(pl.String)
    named = words.cast(pl.Enum(list(column.counts)), strict=False).to_physical()
    other, missing = len(column.counts), len(column.counts) + 1
    # As float64, NaN for a null: through expressions each chunk would wait for a query.
    place = named.cast(pl.Float64).to_numpy()
    found = np.where(np.isnan(place), other, place).astype(np.intp)
    if words.null_count():
        found[words.is_null().to_numpy()] = missing
    return found


def number_profile(values: pl.Series) -> NumberProfile:
    """The profile of numbers, in up to 20 bins."""
    numbers = values.cast(pl.Float64)
    known = numbers.filter(numbers.is_finite()).sort()
    missing = len(values) - len(known)
    if len(known) < FEWEST:
        # Too few to be told without telling rows: all that is said is how many there are.
        return NumberProfile(len(values), missing, [], [len(known)], None, None, None, None)
    edges, counts = _bins(known)
    return NumberProfile(
        rows=len(values),
        missing=missing,
        edges=edges,
        counts=counts,
        low=_float(known.head(FEWEST).mean()),
        high=_float(known.tail(FEWEST).mean()),
        mean=_float(known.mean()),
        std=_float(known.std(ddof=0)),
    )


def _bins(known: pl.Series) -> tuple[list[float], list[int]]:
    """Edges at quantiles, dropped where a bin would hold too few rows; and the bins' counts."""
    size = len(known)
    bins = min(BINS, size // FEWEST)
    edges: list[float] = []
    counts: list[int] = []
    taken = 0
    for part in range(1, bins):
        edge = known[math.ceil(part * size / bins) - 1]
        below = int(known.search_sorted(edge, side="right"))
        if below - taken >= FEWEST and size - below >= FEWEST:
            edges.append(float(edge))
            counts.append(below - taken)
            taken = below
    return edges, [*counts, size - taken]


def category_profile(values: pl.Series) -> CategoryProfile:
    """The profile of text or truth values, with up to 200 categories, the commonest first."""
    words = values.cast(pl.String)
    known = words.drop_nulls()
    counted = tally(known).sort(["rows", "value"], descending=[True, False])
    common = counted.filter(pl.col("rows") >= FEWEST).head(MOST_CATEGORIES)
    counts = dict(common.iter_rows())
    return CategoryProfile(
        rows=len(values),
        missing=words.null_count(),
        counts=counts,
        other=len(known) - sum(counts.values()),
    )


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
