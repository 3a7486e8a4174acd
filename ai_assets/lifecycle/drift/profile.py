"""The reference that drift is measured against: small, JSON, and without any row.

It holds a profile of each column (`columns.py` says what of it) and, of the columns together, the
directions in which rows hardly vary (`multivariate.py`). So it may travel in a bundle.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from ai_assets.lifecycle.drift.columns import (
    CategoryProfile,
    ColumnProfile,
    NumberProfile,
    category_profile,
    kind_of,
    number_profile,
)
from ai_assets.lifecycle.drift.multivariate import Multivariate, fit_multivariate
from ai_assets.lifecycle.errors import DataError, must_be

FORMAT = 2
# Format 1 is the same without the multivariate part; bundles that hold one may be in production.
_READABLE = (1, 2)


@dataclass(frozen=True)
class Profile:
    """What rows of the reference are like.

    Attributes:
        columns: The distribution of each column by name, in the order of the frame.
        multivariate: How the columns vary together; None where that cannot be told.
    """

    columns: dict[str, ColumnProfile]
    multivariate: Multivariate | None = None

    def with_columns(self, other: "Profile") -> "Profile":
        """Also the other profile's columns, which take no part in the multivariate comparison."""
        return replace(self, columns={**self.columns, **other.columns})

    def to_json(self) -> str:
        """Text that `from_json` reads back; the same profile gives the same text."""
        columns = {name: asdict(column) for name, column in self.columns.items()}
        joint = asdict(self.multivariate) if self.multivariate else None
        told = {"format": FORMAT, "columns": columns, "multivariate": joint}
        return json.dumps(told, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "Profile":
        """The profile that `to_json` wrote.

        Raises:
            DataError: It was written by another version of this code.
        """
        told = json.loads(text)
        if told.get("format") not in _READABLE:
            allowed = " or ".join(map(str, _READABLE))
            raise DataError(must_be("the drift reference's format", allowed, told.get("format")))
        columns = {name: _read(column) for name, column in told["columns"].items()}
        joint = told.get("multivariate")
        return Profile(columns, Multivariate(**joint) if joint else None)


def _read(told: dict[str, Any]) -> ColumnProfile:
    made: dict[str, Any] = {"number": NumberProfile, "category": CategoryProfile}
    return made[told["kind"]](**told)


def profile(frame: pl.DataFrame | pl.LazyFrame) -> Profile:
    """The profile of each column of the frame, and of how they vary together.

    Numbers get up to 20 bins, text and truth values up to 200 categories. Columns whose name starts
    with `_` and moments in time are left out: those are identities, and always new.

    Raises:
        DataError: The frame has no rows.
    """
    rows = frame.lazy().collect()
    if not rows.height:
        raise DataError("A drift reference needs rows, but got none.")
    columns: dict[str, ColumnProfile] = {
        name: number_profile(rows[name]) if kind == "number" else category_profile(rows[name])
        for name, kind in profiled(rows.schema).items()
    }
    return Profile(columns, fit_multivariate(columns, rows))


def profiled(schema: pl.Schema) -> dict[str, str]:
    """The columns that have a profile, with their kind: number or category."""
    kinds = {name: kind_of(dtype) for name, dtype in schema.items() if not name.startswith("_")}
    return {name: kind for name, kind in kinds.items() if kind}
