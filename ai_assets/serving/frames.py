"""Rows that come as columns: checked column by column, with the words of the row-wise check.

`ColumnCheck` alone says what is allowed. Here whole columns are searched for values that might not
be; only those are put to it, so that good columns cost no Python a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain, islice
from typing import Any

import polars as pl
from pydantic_core import PydanticCustomError

from ai_assets.serving.columns import ColumnCheck
from ai_assets.serving.problems import MOST_DETAILS, Detail, refusal
from ai_assets.serving.request import RequestReader, told_by
from ai_assets.serving.suspects import nulls, suspects, typed, without_nan


@dataclass(frozen=True, eq=False)
class Checked:
    """Columns as declared, and what is wrong with them.

    Attributes:
        frame: the request's columns. A value that was refused is null.
        problems: by row, then in the order of the columns.
    """

    frame: pl.DataFrame
    problems: list[Detail]


class ColumnReader:
    """Reads columns of any number of rows as `RequestReader` reads rows.

    Args:
        reader: knows the columns of the request.
        from_text: numbers and truth values may come as texts, as they do from CSV.
    """

    def __init__(self, reader: RequestReader, *, from_text: bool = False) -> None:
        self._reader = reader
        self._from_text = from_text

    def frame(self, columns: Mapping[str, pl.Series], height: int) -> pl.DataFrame:
        """The columns as the request declares them.

        Args:
            columns: by name, each of `height` values; NaN and null are missing values.
            height: how many rows there are.

        Raises:
            Refused: with status 400 and what is wrong with which column of which row.
        """
        self.check_names(columns)
        checked = self.check(columns, height, MOST_DETAILS)
        if checked.problems:
            raise refusal(checked.problems)
        return checked.frame

    def check_names(self, columns: Mapping[str, Any]) -> None:
        """Refuse columns that the request does not have, and those that lack."""
        reader = self._reader
        unknown = (reader.unknown(name) for name in columns if name not in reader.checks)
        missing = (
            reader.missing(name, columns)
            for name, check in reader.checks.items()
            if check.required and name not in columns
        )
        details = list(islice(chain(unknown, missing), MOST_DETAILS))
        if details:
            raise refusal(details)

    def check(
        self, columns: Mapping[str, pl.Series], height: int, most: int | None = None
    ) -> Checked:
        """Check the values of the columns that there are; others are missing values.

        Args:
            columns: by name, each of `height` values.
            height: how many rows there are.
            most: of each column at most so many problems are told; None for all.
        """
        found: list[pl.Series] = []
        problems: list[tuple[int, int, Detail]] = []
        for place, (name, check) in enumerate(self._reader.checks.items()):
            dtype = self._reader.schema[name]
            given = columns[name] if name in columns else nulls(name, dtype, height)
            series, wrong = self._column(check, given, dtype, most)
            found.append(series.alias(name))
            problems += [(detail.row or 0, place, detail) for detail in wrong]
        problems.sort(key=lambda item: item[:2])
        return Checked(pl.DataFrame(found), [detail for _, _, detail in problems][:most])

    def _column(
        self, check: ColumnCheck, given: pl.Series, dtype: pl.DataType, most: int | None
    ) -> tuple[pl.Series, list[Detail]]:
        given = without_nan(given)
        series = typed(given, check.column.type, dtype, from_text=self._from_text)
        if check.column.type == "image":
            return _images(check, given, most)
        rows = suspects(check, given, series)
        details: list[Detail] = []
        mended: list[Any] = []
        known: dict[Any, Any] = {}
        for row in rows:
            value = _plain(series[row] if _is_plain(series[row]) else given[row])
            key = (type(value), value)
            if key not in known:
                known[key] = _asked(check, value)
            answer = known[key]
            refused = isinstance(answer, PydanticCustomError)
            mended.append(None if refused else answer)
            if refused:
                details.append(_detail(row, check.name, answer))
                if most is not None and len(details) >= most:
                    break
        if mended:
            series = series.clone().scatter(rows[: len(mended)], pl.Series(mended, dtype=dtype))
        return series, details


def _images(
    check: ColumnCheck, given: pl.Series, most: int | None
) -> tuple[pl.Series, list[Detail]]:
    """A column of pictures, each put to the check, which reads it."""
    read: list[bytes | None] = []
    details: list[Detail] = []
    for row, value in enumerate(given.to_list()):
        answer = _asked(check, value)
        refused = isinstance(answer, PydanticCustomError)
        read.append(None if refused else answer)
        if refused and (most is None or len(details) < most):
            details.append(_detail(row, check.name, answer))
    return pl.Series(check.name, read, pl.Binary), details


def _is_plain(value: Any) -> bool:
    """Whether JSON could have held the value, so that the check takes it as it is."""
    return isinstance(value, str | int | float)


def _asked(check: ColumnCheck, value: Any) -> Any:
    """The value as the check gives it, or the error it raises."""
    try:
        return check(value)
    except PydanticCustomError as error:
        return error


def _plain(value: Any) -> Any:
    """The value as JSON would have held it."""
    if value is None or _is_plain(value):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def _detail(row: int, name: str, error: PydanticCustomError) -> Detail:
    return told_by(row, name, error.context or {})
