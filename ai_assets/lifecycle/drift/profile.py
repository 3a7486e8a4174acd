"""The reference that drift is measured against: small, JSON, and without any row.

No value in it stands for fewer than 20 rows: numbers are kept as edges of bins that hold 20 rows
or more, with the means of the 20 lowest and the 20 highest in place of minimum and maximum; text
as counts of categories with 20 rows or more, the others summed. So it may travel in a bundle.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be

FORMAT = 1
BINS = 20
FEWEST = 20
MOST_CATEGORIES = 200


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


@dataclass(frozen=True)
class Profile:
    """The distribution of each column, by name."""

    columns: dict[str, NumberProfile | CategoryProfile]

    def to_json(self) -> str:
        """Text that `from_json` reads back; the same profile gives the same text."""
        columns = {name: asdict(column) for name, column in self.columns.items()}
        return json.dumps({"format": FORMAT, "columns": columns}, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "Profile":
        """The profile that `to_json` wrote.

        Raises:
            DataError: It was written by another version of this code.
        """
        told = json.loads(text)
        if told.get("format") != FORMAT:
            raise DataError(
                must_be("the drift reference's format", str(FORMAT), told.get("format"))
            )
        return Profile({name: _read(column) for name, column in told["columns"].items()})


def _read(told: dict[str, Any]) -> NumberProfile | CategoryProfile:
    made: dict[str, Any] = {"number": NumberProfile, "category": CategoryProfile}
    return made[told["kind"]](**told)


def profile(frame: pl.DataFrame | pl.LazyFrame) -> Profile:
    """The profile of each column of the frame.

    Numbers get up to 20 bins, text and truth values up to 200 categories. Columns whose name starts
    with `_` and moments in time are left out: those are identities, and always new.

    Raises:
        DataError: The frame has no rows.
    """
    rows = frame.lazy().collect()
    if not rows.height:
        raise DataError("A drift reference needs rows, but got none.")
    columns: dict[str, NumberProfile | CategoryProfile] = {}
    for name, kind in profiled(rows.schema).items():
        column = rows[name]
        columns[name] = _number(column) if kind == "number" else _category(column)
    return Profile(columns)


def profiled(schema: pl.Schema) -> dict[str, str]:
    """The columns that have a profile, with their kind: number or category."""
    kinds = {}
    for name, dtype in schema.items():
        if name.startswith("_"):
            continue
        if dtype.is_numeric():
            kinds[name] = "number"
        elif dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum):
            kinds[name] = "category"
    return kinds


def _number(column: pl.Series) -> NumberProfile:
    values = column.cast(pl.Float64)
    known = values.filter(values.is_finite()).sort()
    missing = len(column) - len(known)
    if len(known) < FEWEST:
        # Too few to be told without telling rows: all that is said is how many there are.
        counts = [len(known)]
        return NumberProfile(len(column), missing, [], counts, None, None, None, None)
    edges, counts = _bins(known)
    return NumberProfile(
        rows=len(column),
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


def _category(column: pl.Series) -> CategoryProfile:
    words = column.cast(pl.String)
    known = words.drop_nulls()
    counted = known.value_counts(name="rows").sort(["rows", known.name], descending=[True, False])
    common = counted.filter(pl.col("rows") >= FEWEST).head(MOST_CATEGORIES)
    counts = dict(common.iter_rows())
    return CategoryProfile(
        rows=len(column),
        missing=words.null_count(),
        counts=counts,
        other=len(known) - sum(counts.values()),
    )


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
