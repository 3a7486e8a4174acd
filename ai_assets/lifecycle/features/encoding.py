"""From a frame of features to the matrix that models read, the same way in training and serving."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, product
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from ai_assets.lifecycle.errors import DataError, did_you_mean, must_be
from ai_assets.lifecycle.features.tokens import shipped_tokenizer, token_ids

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from ai_assets.lifecycle.schema.tables import Column

FORMAT = 1
NOT_FEATURES = ("_row_id", "_partition")
UNSEEN = -1
# Below this many rows a dictionary is quicker than building an Enum series.
_FEW_ROWS = 64

Kind = Literal["numeric", "categorical", "image", "text"]
_WHITE = 255


@dataclass(frozen=True)
class EncodedColumn:
    """One feature as columns of the matrix.

    A number is one column as it is, a category its place among `categories`. An image of `shape`
    [height, width, channels] is a column a pixel from 0 (black) to 1, row by row. A text of `shape`
    [tokens] is a column a token: its number in the vocabulary of `tokenizer`, 0 after the end.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    tokenizer: str = field(default="", repr=False)

    @property
    def width(self) -> int:
        """How many columns of the matrix."""
        return prod(self.shape)

    @property
    def slots(self) -> tuple[str, ...]:
        """What each of its columns of the matrix is called."""
        if not self.shape:
            return (self.name,)
        places = product(*(range(size) for size in self.shape))
        return tuple(f"{self.name}[{','.join(map(str, place))}]" for place in places)

    @cached_property
    def codes(self) -> dict[str, int]:
        """The code of each category."""
        return {category: code for code, category in enumerate(self.categories)}

    @cached_property
    def _enum(self) -> "pl.Enum":
        import polars as pl

        return pl.Enum(list(self.categories))

    def encode(self, values: "pl.Series") -> "np.ndarray":
        """The column's values as numbers [n], or of an image or a text [n, width].

        A missing number is NaN, an unknown or missing category -1; a missing image is black, a
        missing text is empty.
        """
        import numpy as np
        import polars as pl

        if self.kind == "numeric":
            return _numbers(self.name, values)
        if self.kind == "image":
            return _pixels(self, values)
        if self.kind == "text":
            return token_ids(self.tokenizer, values.to_list(), self.width).astype(np.float32)
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
        if self.kind in ("categorical", "text"):
            return dtype == pl.String
        if self.kind == "image":
            return dtype == pl.Binary
        return dtype.is_numeric() or dtype == pl.Boolean

    def encode_plain(self, values: "Sequence[Any]") -> "np.ndarray":
        """What `encode` gives for a series of these values, where `takes_plain` allows its type."""
        import numpy as np

        if self.kind == "categorical":
            codes = self.codes
            return np.array([codes.get(value, UNSEEN) for value in values], dtype=np.float32)
        if self.shape:
            import polars as pl

            return self.encode(pl.Series(self.name, values))
        with np.errstate(over="ignore"):
            return np.array(values, dtype=np.float32)


@dataclass(frozen=True)
class Encoding:
    """How each feature becomes a column of the matrix. Travels in the bundle as JSON."""

    columns: tuple[EncodedColumn, ...]

    @classmethod
    def fit(
        cls,
        frame: "pl.DataFrame",
        items: "Mapping[str, Column] | None" = None,
        *,
        max_categories: int = 1000,
    ) -> "Encoding":
        """Learn the kinds and the categories from training features.

        Args:
            frame: the features; `_row_id` and `_partition` are left out.
            items: the declared columns; features of their names that are images or texts are
                encoded as such.
            max_categories: of a text with more values the most frequent are kept, and the rest
                share the code of unseen values.

        Raises:
            DataError: a feature is neither a number, a truth value nor a text.
        """
        if max_categories < 1:
            raise ValueError(must_be("max_categories", "at least 1", max_categories))
        names = [name for name in frame.columns if name not in NOT_FEATURES]
        known = items or {}
        return cls(
            tuple(_fit_column(frame[name], known.get(name), max_categories) for name in names)
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What the matrix's columns are called; a feature's own name where it is one column."""
        return tuple(slot for column in self.columns for slot in column.slots)

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return len(self.names)

    @cached_property
    def slots(self) -> tuple[EncodedColumn, ...]:
        """The feature behind each of the matrix's columns."""
        return tuple(column for column in self.columns for _ in range(column.width))

    @cached_property
    def places(self) -> tuple[slice, ...]:
        """Where each feature lies among the matrix's columns."""
        ends = list(accumulate(column.width for column in self.columns))
        return tuple(slice(end - c.width, end) for c, end in zip(self.columns, ends, strict=True))

    @cached_property
    def items(self) -> tuple[EncodedColumn, ...]:
        """The features that are images or texts."""
        return tuple(column for column in self.columns if column.shape)

    def first(self, kind: Literal["image", "text"]) -> tuple[EncodedColumn, slice]:
        """The first feature of a kind of item, and where it lies among the matrix's columns.

        Raises:
            DataError: there is none.
        """
        for column, place in zip(self.columns, self.places, strict=True):
            if column.kind == kind:
                return column, place
        given = ", ".join(f"{column.name} ({column.kind})" for column in self.columns)
        wanted = {"image": "an image", "text": "a text"}[kind]
        raise DataError(must_be("one of the features", wanted, given or "nothing"))

    @cached_property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the categorical columns."""
        return tuple(i for i, column in enumerate(self.slots) if column.kind == "categorical")

    def transform(self, frame: "pl.DataFrame") -> "np.ndarray":
        """The features as a C-contiguous float32 matrix, a row for each row of the frame.

        Raises:
            DataError: a feature is missing, or a number is given as a text that is none.
        """
        import numpy as np

        present = set(frame.columns)
        matrix = np.empty((frame.height, self.width), dtype=np.float32)
        for place, column in zip(self.places, self.columns, strict=True):
            if column.name not in present:
                raise DataError(_missing(column.name, frame.columns))
            encoded = column.encode(frame.get_column(column.name))
            matrix[:, place] = encoded if column.shape else encoded[:, None]
        return matrix

    def to_json(self) -> str:
        """The encoding as JSON; `from_json` reads it back."""
        columns = [_told(column) for column in self.columns]
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
                EncodedColumn(
                    c["name"],
                    c["kind"],
                    tuple(c["categories"]),
                    tuple(c.get("shape", ())),
                    c.get("tokenizer", ""),
                )
                for c in read["columns"]
            )
        )


def _told(column: EncodedColumn) -> dict[str, Any]:
    told: dict[str, Any] = {"name": column.name, "kind": column.kind}
    told["categories"] = list(column.categories)
    if column.shape:
        told["shape"] = list(column.shape)
    return told | ({"tokenizer": column.tokenizer} if column.tokenizer else {})


def _fit_column(
    values: "pl.Series", declared: "Column | None", max_categories: int
) -> EncodedColumn:
    import polars as pl

    dtype = values.dtype
    if declared is not None and declared.shape:
        tokenizer = shipped_tokenizer() if declared.type == "text" else ""
        kind: Kind = "text" if declared.type == "text" else "image"
        return EncodedColumn(values.name, kind, (), declared.shape, tokenizer)
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
    counts = _texts(values).drop_nulls().rename("value").value_counts(name="rows")
    kept = counts.sort(["rows", "value"], descending=[True, False]).head(max_categories)
    return EncodedColumn(values.name, "categorical", tuple(sorted(kept["value"].to_list())))


def _texts(values: "pl.Series") -> "pl.Series":
    import polars as pl

    return values.cast(pl.String)


def _numbers(name: str, values: "pl.Series") -> "np.ndarray":
    import polars as pl

    try:
        return values.cast(pl.Float32).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise DataError(must_be(f"feature '{name}'", "a number", str(values.dtype))) from error


def _pixels(column: EncodedColumn, values: "pl.Series") -> "np.ndarray":
    """Cleaned images, a byte a pixel, as float32 [n, width] from 0 to 1."""
    import numpy as np

    black = bytes(column.width)
    given = [black if value is None else value for value in values.to_list()]
    if any(len(value) != column.width for value in given):
        found = next(len(value) for value in given if len(value) != column.width)
        shape = "x".join(map(str, column.shape))
        raise DataError(
            f"feature '{column.name}' must be images of {shape} bytes, but got {found}."
        )
    pixels = np.frombuffer(b"".join(given), dtype=np.uint8).reshape(len(given), column.width)
    return pixels.astype(np.float32) / _WHITE


def _missing(name: str, given: list[str]) -> str:
    return f"feature '{name}' is missing: the model needs it.{did_you_mean(name, given)}"
