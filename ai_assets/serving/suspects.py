"""Whole columns at once: to their declared types, and which of their values to look at closely.

What is not suspected here is what `ColumnCheck` would let pass, unchanged. Most columns that come
are sound, and few rows long. That they are is seen by their ends and their distinct values: each of
polars' expressions costs as much as to read a hundred values.
"""

import math
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
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
# So many instants Python reads more quickly, and without polars' threads, which score beside this.
_FEW = 500
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
    nothing = nulls(given.name, dtype, len(given))
    if given.dtype == pl.Null:
        return nothing
    if given.dtype in (pl.Categorical, pl.Enum):
        given = given.cast(pl.String)
    if given.dtype == pl.String and kind not in _FROM_TEXT and not from_text:
        return nothing
    return _CASTS[kind](given, dtype, nothing)


def nulls(name: str, dtype: pl.DataType, height: int) -> pl.Series:
    """A column of missing values."""
    return pl.Series(name, [None], dtype).new_from_index(0, height)


def without_nan(series: pl.Series) -> pl.Series:
    """The values; NaN is a missing one."""
    if not series.dtype.is_float() or not np.isnan(series.to_numpy()).any():
        return series
    return series.fill_nan(None)


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
    return without_nan(given.cast(dtype, strict=False))


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
    if len(given) <= _FEW:
        texts = given.to_list()
        moments = {text: _moment(text) for text in set(texts)}
        return pl.Series(given.name, [moments[text] for text in texts], dtype)
    text = pl.first()
    known = pl.when(text.str.contains(_INSTANT)).then(text).str.replace("Z$", "+00:00")
    instant = known.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    return given.to_frame().select(instant.cast(dtype)).to_series()


def _moment(text: str | None) -> datetime | None:
    """The instant of a text in one of the forms that polars reads too."""
    if text is None or not re.fullmatch(_INSTANT, text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


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


def suspects(check: ColumnCheck, given: pl.Series, series: pl.Series) -> list[int]:
    """The rows whose values must be put to the check.

    Args:
        check: what is allowed.
        given: values [n] as they came.
        series: the same in the declared type.
    """
    strange = _strange(check, series)
    if not strange and _in_bounds(check, given, series):
        return []
    doubted = _unsound(check, given, series) | _among(series, strange)
    rows: list[int] = doubted.arg_true().to_list()
    return rows


def _strange(check: ColumnCheck, series: pl.Series) -> list[Any]:
    """The distinct values that are not among those allowed."""
    column = check.column
    if column.allowed is None and column.pattern is None and check.known is None:
        return []
    return [value for value in set(series.to_list()) if not _passes(check, value)]


def _in_bounds(check: ColumnCheck, given: pl.Series, series: pl.Series) -> bool:
    """Whether nothing is missing that must be there, and least and greatest are within bounds."""
    missing = 0 if check.required else given.null_count()
    if series.null_count() > missing:
        return False
    column, sizes = check.column, series
    if column.type in ("string", "text"):
        if column.min is None and column.max is None:
            return True
        sizes = series.str.len_chars()
    elif column.type not in ("int64", "float64"):
        return True
    ends = [end for end in (sizes.min(), sizes.max()) if isinstance(end, int | float)]
    low = -math.inf if column.min is None else column.min
    high = math.inf if column.max is None else column.max
    return all(low <= end <= high and math.isfinite(end) for end in ends)


def _unsound(check: ColumnCheck, given: pl.Series, series: pl.Series) -> pl.Series:
    """Which values [n] are missing though they must be there, or out of bounds."""
    column = check.column
    found = series.is_null()
    if not check.required:
        found &= given.is_not_null()
    sizes = series.str.len_chars() if column.type in ("string", "text") else series
    if column.type in ("int64", "float64", "string", "text"):
        if column.min is not None:
            found |= _true(sizes < column.min)
        if column.max is not None:
            found |= _true(sizes > column.max)
    if column.type == "float64":
        found |= _true(series.is_infinite())
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
