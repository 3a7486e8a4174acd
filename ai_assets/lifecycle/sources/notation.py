"""Numbers and dates of CSV files as their country writes them, brought to the one form read here.

Numbers get a decimal point and no marks between thousands, dates become ISO 8601. A text that is
not in the declared notation stays as it is, for cleaning to judge.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ai_assets.lifecycle.schema.tables import Source, Table

_EARLIEST_YEAR = 1000
# Programs write several characters for the same mark.
_ALIKE = {" ": " \u00a0\u202f", "'": "'\u2019"}


@dataclass(frozen=True)
class Notation:
    """How numbers and dates are written.

    Attributes:
        decimal: the mark before decimals.
        thousands: the mark between thousands; empty for none.
        dates: formats of strptime, the first that fits counts.
    """

    decimal: str = "."
    thousands: str = ""
    dates: tuple[str, ...] = ()

    @property
    def is_usual(self) -> bool:
        """Whether nothing is to be done for numbers."""
        return self.decimal == "." and not self.thousands

    def is_number(self, text: pl.Expr) -> pl.Expr:
        """Whether a text is a number in this notation."""
        mark = re.escape(self.decimal)
        tail = rf"({mark}\d+)?([eE][+-]?\d+)?$"
        forms = [rf"^[+-]?\d+{tail}"]
        if self.thousands:
            forms.append(rf"^[+-]?\d{{1,3}}({self._between}\d{{3}})+{tail}")
        return text.str.strip_chars().str.contains("|".join(forms))

    def number(self, text: pl.Expr) -> pl.Expr:
        """Numbers with a decimal point and nothing between thousands; other texts as they are."""
        plain = text.str.strip_chars()
        if self.thousands:
            plain = plain.str.replace_all(self._between, "")
        plain = plain.str.replace(self.decimal, ".", literal=True)
        return pl.when(self.is_number(text)).then(plain).otherwise(text)

    def moment(self, text: pl.Expr) -> pl.Expr:
        """Dates and instants in ISO 8601, in UTC where a text has an offset; others as they are."""
        return pl.coalesce(*(_iso(text.str.strip_chars(), form) for form in self.dates), text)

    @property
    def _between(self) -> str:
        return f"[{re.escape(_ALIKE.get(self.thousands, self.thousands))}]"


def read_as(text: pl.Expr, form: str) -> pl.Expr:
    """Texts as instants without a zone, by a format of strptime; null where one does not fit."""
    if not _has_time(form):
        read = text.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    else:
        read = text.str.to_datetime(form, time_unit="us", strict=False, time_zone=_zone(form))
        read = read.dt.replace_time_zone(None) if _zone(form) else read
    # A year of two digits would pass for one of the first century.
    return pl.when(read.dt.year() >= _EARLIEST_YEAR).then(read)


def rewritten(
    rows: pl.LazyFrame, notation: Notation, numbers: Iterable[str], moments: Iterable[str]
) -> pl.LazyFrame:
    """The rows with the texts of these columns in the usual form."""
    told = [] if notation.is_usual else [notation.number(pl.col(n)).alias(n) for n in numbers]
    if notation.dates:
        told += [notation.moment(pl.col(name)).alias(name) for name in moments]
    return rows.with_columns(told) if told else rows


def as_usual(rows: pl.LazyFrame, source: Source, table: Table) -> pl.LazyFrame:
    """Rows of text with the declared columns of numbers and dates in the usual form."""
    notation = Notation(source.decimal, source.thousands, tuple(source.dates))
    there = rows.collect_schema()
    of = {name: c.type for name, c in {**table.columns, **table.plain}.items() if name in there}
    return rewritten(
        rows, notation, _named(of, ("int64", "float64")), _named(of, ("date", "datetime"))
    )


def _named(of: Mapping[str, str], types: Sequence[str]) -> list[str]:
    return [name for name, kind in of.items() if kind in types]


def _iso(text: pl.Expr, form: str) -> pl.Expr:
    shape = "%Y-%m-%dT%H:%M:%S%.6f" if _has_time(form) else "%Y-%m-%d"
    return read_as(text, form).dt.strftime(shape)


def _has_time(form: str) -> bool:
    return any(part in form for part in ("%H", "%I", "%T", "%R"))


def _zone(form: str) -> str | None:
    return "UTC" if "%z" in form else None
