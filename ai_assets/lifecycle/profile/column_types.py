"""The type of a column, from its values: as cleaning will read them, so that it keeps its rows."""

from dataclasses import dataclass

import polars as pl

from ai_assets.lifecycle.schema.tables import ColumnType
from ai_assets.lifecycle.sources.casts import cast

MISSING = ("NaN", "nan", "NULL", "null", "None", "none", "N/A", "n/a", "#N/A", "?", "-", "--", ".")
"""Words that mean missing where they stand among numbers or dates."""
TOLERATED = 0.002
"""Share of a column's rows that may be of another type or notation; cleaning rejects them."""
_ORDER: tuple[ColumnType, ...] = ("int64", "float64", "date", "datetime")
PADDED = r"^[+-]?0\d"
"""Digits that are a name: 00123 is not the number 123."""
_ISO_DAY = r"^\d{4}-\d{2}-\d{2}$"


@dataclass(frozen=True)
class Typed:
    """A column in its type.

    Attributes:
        type: as declared; None of what no type can hold.
        values: the column, cast.
        missing: texts of it that mean missing, beside the empty one and NA.
        odd: how many of the values looked at are of another type.
    """

    type: ColumnType | None
    values: pl.Series
    missing: tuple[str, ...] = ()
    odd: int = 0


def typed(column: pl.Series, *, words: bool = True) -> Typed:
    """The narrowest type that holds all values of a column, but for a few in a thousand.

    Args:
        column: the values.
        words: whether the source can be told which words mean missing.
    """
    kind = column.dtype
    if kind == pl.String or kind in (pl.Categorical, pl.Enum):
        return _of_text(column.cast(pl.String), words)
    native: ColumnType | None = None
    if kind == pl.Boolean:
        native = "bool"
    elif kind.is_integer():
        # What is too large for int64 is a name made of digits, such as a hash.
        fits = column.cast(pl.Int64, strict=False).null_count() == column.null_count()
        native = "int64" if fits else "string"
    elif kind.is_numeric():
        native = "float64"
    elif kind == pl.Date:
        native = "date"
    elif isinstance(kind, pl.Datetime):
        native = "datetime"
    elif kind == pl.Null:
        native = "string"
    return Typed(native, _cast(column, native) if native else column)


def _of_text(texts: pl.Series, may_declare: bool) -> Typed:
    there = texts.drop_nulls()
    plain = there.str.strip_chars()
    if there.is_empty():
        return Typed("string", texts)
    if plain.str.to_lowercase().is_in(["true", "false"]).all():
        return Typed("bool", _cast(texts, "bool"))
    missing = _means_missing(plain) if may_declare else pl.repeat(False, len(plain), eager=True)
    words = tuple(sorted(set(there.filter(missing).unique())))
    rest = plain.filter(~missing)
    if rest.is_empty() or rest.str.contains(PADDED).any():
        return Typed("string", texts)
    for wanted in _ORDER:
        if wanted == "date" and not rest.str.contains(_ISO_DAY).all():
            continue
        odd = _cast(rest, wanted).null_count()
        if wanted == "int64" and odd and not _cast(rest, "float64").null_count():
            continue  # few of them have a fraction, and are numbers all the same
        if odd <= TOLERATED * len(rest):
            known = pl.when(~texts.is_in(words)).then(texts) if words else pl.lit(texts)
            values = pl.select(known.alias(texts.name)).to_series()
            return Typed(wanted, _cast(values, wanted), words, odd)
    return Typed("string", texts)


def _means_missing(plain: pl.Series) -> pl.Series:
    return plain.is_in([*MISSING, ""])


def _cast(column: pl.Series, wanted: ColumnType) -> pl.Series:
    return column.to_frame("c").select(cast("c", column.dtype, wanted).alias(column.name))[
        column.name
    ]
