"""Whole columns at once: to their declared types, and which of their values to look at closely.

What is not suspected here is what `ColumnCheck` would let pass, unchanged.
"""

import re
from typing import Any

import polars as pl

from ai_assets.lifecycle.features.tokens import normal_text
from ai_assets.lifecycle.schema.tables import ITEMS
from ai_assets.serving.columns import ColumnCheck

# What polars reads exactly as Python's `fromisoformat` does; other forms are left to the check.
_INSTANT = (
    r"^(1[0-9]{3}|2[0-9]{3})-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_DAY = r"^(1[0-9]{3}|2[0-9]{3})-[0-9]{2}-[0-9]{2}$"
# A program that knows missing values among fractions only writes 3.0 where it means 3.
_INTEGER = r"^[+-]?[0-9]{1,19}(\.0*)?$"
_TRUTH = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}


def typed(given: pl.Series, kind: str, dtype: pl.DataType, *, from_text: bool) -> pl.Series:
    """The values in the declared type; null where that cannot be done here.

    Args:
        given: values as they came, NaN already null.
        kind: the declared type's name.
        dtype: the declared type.
        from_text: numbers and truth values may be texts.
    """
    if given.dtype == dtype and kind not in ITEMS:
        return given
    nothing = pl.Series(given.name, [None], dtype).new_from_index(0, len(given))
    if given.dtype == pl.Null:
        return nothing
    if given.dtype in (pl.Categorical, pl.Enum):
        given = given.cast(pl.String)
    if given.dtype == pl.String and kind not in _FROM_TEXT and not from_text:
        return nothing
    return _CASTS[kind](given, dtype, nothing)


def _text(given: pl.Series, _: pl.DataType, nothing: pl.Series) -> pl.Series:
    return given if given.dtype == pl.String else nothing


def _integer(given: pl.Series, dtype: pl.DataType, nothing: pl.Series) -> pl.Series:
    if given.dtype == pl.String:
        given = _where(given, given.str.contains(_INTEGER)).str.replace(r"\.0*$", "")
    elif given.dtype.is_float():
        given = _where(given, (given == given.floor()) & (given.abs() < 2**53))
    elif not given.dtype.is_integer():
        return nothing
    return given.cast(dtype, strict=False)


def _number(given: pl.Series, dtype: pl.DataType, nothing: pl.Series) -> pl.Series:
    if given.dtype != pl.String and not given.dtype.is_numeric():
        return nothing
    return given.cast(dtype, strict=False).fill_nan(None)


def _truth(given: pl.Series, dtype: pl.DataType, nothing: pl.Series) -> pl.Series:
    if given.dtype != pl.String:
        return nothing
    return given.replace_strict(_TRUTH, default=None, return_dtype=dtype)


def _instant(given: pl.Series, dtype: pl.DataType, nothing: pl.Series) -> pl.Series:
    if isinstance(given.dtype, pl.Datetime):
        # An instant without a zone would be read differently by each who reads it.
        return nothing if given.dtype.time_zone is None else given.cast(dtype)
    if given.dtype != pl.String:
        return nothing
    known = _where(given, given.str.contains(_INSTANT)).str.replace("Z$", "+00:00")
    return known.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False).cast(
        dtype
    )


def _day(given: pl.Series, _: pl.DataType, nothing: pl.Series) -> pl.Series:
    if given.dtype != pl.String:
        return nothing
    return _where(given, given.str.contains(_DAY)).str.to_date("%Y-%m-%d", strict=False)


def _words(given: pl.Series, dtype: pl.DataType, nothing: pl.Series) -> pl.Series:
    """Texts in one form; an empty one is missing."""
    if given.dtype != pl.String:
        return nothing
    texts = [None if v is None else normal_text(v) or None for v in given.to_list()]
    return pl.Series(given.name, texts, dtype)


def _unread(given: pl.Series, _: pl.DataType, nothing: pl.Series) -> pl.Series:
    """Each picture is put to the check, which reads it."""
    return nothing


_FROM_TEXT = ("datetime", "date", "string", *ITEMS)
_CASTS = {
    "string": _text, "int64": _integer, "float64": _number, "bool": _truth, "datetime": _instant,
    "date": _day, "text": _words, "image": _unread,
}  # fmt: skip


def suspects(check: ColumnCheck, given: pl.Series, series: pl.Series) -> pl.Series:
    """Which values [n] must be put to the check.

    Args:
        check: what is allowed.
        given: values as they came.
        series: the same in the declared type.
    """
    column = check.column
    found = series.is_null()
    if not check.required:
        found &= given.is_not_null()
    if column.type in ("int64", "float64"):
        if column.min is not None:
            found |= _true(series < column.min)
        if column.max is not None:
            found |= _true(series > column.max)
    if column.type == "float64":
        found |= _true(series.is_infinite())
    if column.type in ("string", "text"):
        if column.min is not None:
            found |= _true(series.str.len_chars() < column.min)
        if column.max is not None:
            found |= _true(series.str.len_chars() > column.max)
    if column.allowed is not None or column.pattern is not None or check.known is not None:
        found |= _among(series, [v for v in series.unique().to_list() if not _passes(check, v)])
    return found


def _passes(check: ColumnCheck, value: Any) -> bool:
    """Whether a value is allowed as far as its text goes. Null is judged elsewhere."""
    column = check.column
    if value is None:
        return True
    if column.allowed is not None and (column.type in ("datetime", "date")):
        return False
    if column.allowed is not None and value not in column.allowed:
        return False
    if not isinstance(value, str):
        return True
    if column.pattern is not None and not re.fullmatch(column.pattern, value):
        return False
    return check.known is None or value in check.known


def _among(series: pl.Series, values: list[Any]) -> pl.Series:
    if not values:
        return pl.Series([False]).new_from_index(0, len(series))
    return _true(series.is_in(pl.Series(values, dtype=series.dtype).implode()))


def _true(mask: pl.Series) -> pl.Series:
    return mask.fill_null(False)


def _where(series: pl.Series, mask: pl.Series) -> pl.Series:
    """The values where the mask says so, null elsewhere."""
    return series.set(~_true(mask), None) if series.dtype != pl.String else _texts(series, mask)


def _texts(series: pl.Series, mask: pl.Series) -> pl.Series:
    return pl.select(pl.when(mask).then(series)).to_series()
