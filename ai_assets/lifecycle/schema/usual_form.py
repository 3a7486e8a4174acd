"""Numbers and dates of CSV files as their country writes them, brought to the one form read here.

Numbers get a decimal point and no marks between thousands, dates become ISO 8601. A text that is
not in the declared notation stays as it is, for cleaning to judge.
"""

import re
from collections.abc import Iterable, Mapping

import polars as pl

from ai_assets.lifecycle.schema.notation import FALSE, TRUE, CsvForm, Notation

_EARLIEST_YEAR = 1000
_TYPED = ("int64", "float64", "bool", "datetime", "date")
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_BARE = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?$"
_UTC = r"\s*(UTC|[Zz])$"
# Programs write several characters for the same mark.
_ALIKE = {" ": " \u00a0\u202f", "'": "'\u2019"}


def is_number(text: pl.Expr, notation: Notation) -> pl.Expr:
    """Whether a text is a number in a notation."""
    mark = re.escape(notation.decimal)
    tail = rf"({mark}\d+)?([eE][+-]?\d+)?$"
    forms = [rf"^[+-]?\d+{tail}"]
    if notation.thousands:
        forms.append(rf"^[+-]?\d{{1,3}}({_between(notation)}\d{{3}})+{tail}")
    return text.str.strip_chars().str.contains("|".join(forms))


def number(text: pl.Expr, notation: Notation) -> pl.Expr:
    """Numbers with a decimal point and nothing between thousands; other texts as they are."""
    plain = text.str.strip_chars()
    if notation.thousands:
        plain = plain.str.replace_all(_between(notation), "")
    plain = plain.str.replace(notation.decimal, ".", literal=True)
    return pl.when(is_number(text, notation)).then(plain).otherwise(text)


def moment(text: pl.Expr, notation: Notation) -> pl.Expr:
    """Dates and instants in ISO 8601, with that of UTC where a text has an offset; others stay."""
    return pl.coalesce(*(_iso(text.str.strip_chars(), form) for form in notation.dates), text)


def in_utc(text: pl.Expr) -> pl.Expr:
    """Instants in ISO 8601 without an offset get that of UTC, days its midnight; others stay."""
    bare = pl.when(text.str.contains(_BARE)).then(text + "Z")
    return bare.when(text.str.contains(_DAY)).then(text + "T00:00:00Z").otherwise(text)


def day(text: pl.Expr) -> pl.Expr:
    """Of instants in ISO 8601 without an offset the day; others stay."""
    return pl.when(text.str.contains(_BARE)).then(text.str.head(10)).otherwise(text)


def truth(text: pl.Expr) -> pl.Expr:
    """The words and digits that mean yes or no as `true` and `false`; others stay."""
    word = text.str.to_lowercase()
    told = pl.when(word.is_in(TRUE)).then(pl.lit("true"))
    return told.when(word.is_in(FALSE)).then(pl.lit("false")).otherwise(text)


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
    told = [] if notation.is_usual else [number(pl.col(n), notation).alias(n) for n in numbers]
    if notation.dates:
        told += [moment(pl.col(name), notation).alias(name) for name in moments]
    return rows.with_columns(told) if told else rows


def as_usual(rows: pl.LazyFrame, notation: Notation, types: Mapping[str, str]) -> pl.LazyFrame:
    """Rows of text with their columns of numbers and dates in the usual form.

    Args:
        rows: texts.
        notation: in which they are written.
        types: declared types by column, of columns that may be absent too.
    """
    of = _by_type(rows, types)
    return rewritten(rows, notation, of["int64"] + of["float64"], of["date"] + of["datetime"])


def as_callers_write(rows: pl.LazyFrame, form: CsvForm, types: Mapping[str, str]) -> pl.LazyFrame:
    """Rows of a CSV with all that is no text as callers of the server write it.

    Args:
        rows: texts.
        form: in which they are written.
        types: declared types by column, of columns that may be absent too.
    """
    of = _by_type(rows, types)
    bare = [pl.col(name).str.strip_chars() for names in of.values() for name in names]
    rows = as_usual(rows.with_columns(bare), form.notation, types)
    told = [truth(pl.col(name)).alias(name) for name in of["bool"]]
    moments = [pl.col(name).str.replace(_UTC, "Z") for name in of["datetime"]]
    told += [in_utc(text) if form.utc else text for text in moments]
    if form.utc:
        told += [day(pl.col(name)) for name in of["date"]]
    return rows.with_columns(*told)


def _by_type(rows: pl.LazyFrame, types: Mapping[str, str]) -> dict[str, list[str]]:
    """The columns that are there and no text, by their declared type."""
    there = [name for name in rows.collect_schema().names() if name in types]
    return {kind: [name for name in there if types[name] == kind] for kind in _TYPED}


def _iso(text: pl.Expr, form: str) -> pl.Expr:
    shape = "%Y-%m-%dT%H:%M:%S%.6f" if _has_time(form) else "%Y-%m-%d"
    return read_as(text, form).dt.strftime(f"{shape}Z" if _zone(form) else shape)


def _has_time(form: str) -> bool:
    return any(part in form for part in ("%H", "%I", "%T", "%R"))


def _zone(form: str) -> str | None:
    return "UTC" if "%z" in form else None


def _between(notation: Notation) -> str:
    return f"[{re.escape(_ALIKE.get(notation.thousands, notation.thousands))}]"
