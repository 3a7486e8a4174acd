"""From a frame of features to the matrix that models read, the same way in training and serving."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ai_assets.lifecycle.errors import DataError, did_you_mean, must_be

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

FORMAT = 1
NOT_FEATURES = ("_row_id", "_partition")
UNSEEN = -1
# Below this many rows a dictionary is quicker than building an Enum series.
_FEW_ROWS = 64

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True)
class EncodedColumn:
    """One column of the matrix: a number as it is, or a text as its place among `categories`."""

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()

    @cached_property
    def codes(self) -> dict[str, int]:
        """The code of each category."""
        return {category: code for code, category in enumerate(self.categories)}

    @cached_property
    def _enum(self) -> "pl.Enum":
        import polars as pl

        return pl.Enum(list(self.categories))

    def encode(self, values: "pl.Series") -> "np.ndarray":
        """The column's values as numbers: missing is NaN, an unknown or missing text is -1."""
        import numpy as np
        import polars as pl

        if self.kind == "numeric":
            return _numbers(self.name, values)
        texts = values if values.dtype == pl.String else _texts(values)
        if len(texts) < _FEW_ROWS or not self.categories:
            codes = self.codes
            return np.array([codes.get(v, UNSEEN) for v in texts.to_list()], dtype=np.float32)
        codes_or_null = texts.cast(self._enum, strict=False).to_physical().cast(pl.Float32)
        return codes_or_null.fill_null(UNSEEN).to_numpy()

    def takes_plain(self, dtype: "pl.DataType | None") -> bool:
        """Whether `encode_plain` takes the values of a series of this type; None is none."""
        import polars as pl

        if dtype is None:
            return False
        if self.kind == "categorical":
            return dtype == pl.String
        return dtype.is_numeric() or dtype == pl.Boolean

    def encode_plain(self, values: "Sequence[Any]") -> "np.ndarray":
        """What `encode` gives for a series of these values, where `takes_plain` allows its type."""
        import numpy as np

        if self.kind == "categorical":
            codes = self.codes
            return np.array([codes.get(value, UNSEEN) for value in values], dtype=np.float32)
        with np.errstate(over="ignore"):
            return np.array(values, dtype=np.float32)


@dataclass(frozen=True)
class Encoding:
    """How each feature becomes a column of the matrix. Travels in the bundle as JSON."""

    columns: tuple[EncodedColumn, ...]

    @classmethod
    def fit(cls, frame: "pl.DataFrame", *, max_categories: int = 1000) -> "Encoding":
        """Learn the kinds and the categories from training features.

        Args:
            frame: the features; `_row_id` and `_partition` are left out.
            max_categories: of a text with more values the most frequent are kept, and the rest
                share the code of unseen values.

        Raises:
            DataError: a feature is neither a number, a truth value nor a text.
        """
        if max_categories < 1:
            raise ValueError(must_be("max_categories", "at least 1", max_categories))
        names = [name for name in frame.columns if name not in NOT_FEATURES]
        return cls(tuple(_fit_column(frame[name], max_categories) for name in names))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features, in the order of the matrix's columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the categorical columns."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind == "categorical")

    def transform(self, frame: "pl.DataFrame") -> "np.ndarray":
        """The features as a C-contiguous float32 matrix, a row for each row of the frame.

        Raises:
            DataError: a feature is missing, or a number is given as a text that is none.
        """
        import numpy as np

        present = set(frame.columns)
        matrix = np.empty((frame.height, len(self.columns)), dtype=np.float32)
        for i, column in enumerate(self.columns):
            if column.name not in present:
                raise DataError(_missing(column.name, frame.columns))
            matrix[:, i] = column.encode(frame.get_column(column.name))
        return matrix

    def to_json(self) -> str:
        """The encoding as JSON; `from_json` reads it back."""
        columns = [
            {"name": c.name, "kind": c.kind, "categories": list(c.categories)} for c in self.columns
        ]
        return json.dumps({"format": FORMAT, "columns": columns}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Encoding":
        """Read what `to_json` wrote.

        Raises:
            DataError: the JSON is of another format.
        """
        read = json.loads(text)
        if not isinstance(read, dict) or read.get("format") != FORMAT:
            given = read.get("format") if isinstance(read, dict) else type(read).__name__
            raise DataError(must_be("format of the encoding", f"{FORMAT}", given))
        return cls(
            tuple(
                EncodedColumn(c["name"], c["kind"], tuple(c["categories"])) for c in read["columns"]
            )
        )


def _fit_column(values: "pl.Series", max_categories: int) -> EncodedColumn:
    import polars as pl

    dtype = values.dtype
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        return EncodedColumn(values.name, "numeric")
    if dtype not in (pl.String, pl.Categorical, pl.Enum):
        hint = (
            " Take parts of it in the feature SQL, such as hour() or epoch(a - b)."
            if dtype.is_temporal()
            else ""
        )
        allowed = "a number, a truth value or a text"
        raise DataError(must_be(f"feature '{values.name}'", allowed, str(dtype)) + hint)
    counts = _texts(values).drop_nulls().value_counts(name="_count")
    kept = counts.sort(["_count", values.name], descending=[True, False]).head(max_categories)
    return EncodedColumn(values.name, "categorical", tuple(sorted(kept[values.name].to_list())))


def _texts(values: "pl.Series") -> "pl.Series":
    import polars as pl

    return values.cast(pl.String)


def _numbers(name: str, values: "pl.Series") -> "np.ndarray":
    import polars as pl

    try:
        return values.cast(pl.Float32).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise DataError(must_be(f"feature '{name}'", "a number", str(values.dtype))) from error


def _missing(name: str, given: list[str]) -> str:
    return f"feature '{name}' is missing: the model needs it.{did_you_mean(name, given)}"
