"""How a CSV file writes numbers and dates, found out from its values."""

from dataclasses import dataclass, field, fields
from itertools import product
from typing import Any

import polars as pl

from ai_assets.lifecycle.profile.column_types import MISSING, PADDED, TOLERATED
from ai_assets.lifecycle.schema.notation import Notation
from ai_assets.lifecycle.schema.usual_form import is_number, read_as, rewritten

# Those without marks between thousands first: where both fit, the simpler one is meant.
_NUMBERS = (
    Notation(","), Notation(",", "."), Notation(",", " "), Notation(",", "'"),
    Notation(".", ","), Notation(".", " "), Notation(".", "'"),
)  # fmt: skip
_USUAL = Notation()
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})*$"
_POINT = r"^[+-]?\d+\.\d+$"
_ISO = r"^\d{4}-\d{2}-\d{2}"
_DATED = r"^\d{1,4}[./ -]([A-Za-z]{3,9}|\d{1,2})[./ -]\d{2,4}|^[A-Za-z]{3,9} \d{1,2},? \d{4}"
_DAYS = (
    *(f"%d{mark}%m{mark}{year}" for mark, year in product("./-", ("%Y", "%y"))),
    *(f"%m{mark}%d{mark}{year}" for mark, year in product("/-", ("%Y", "%y"))),
    "%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%d %B %Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y",
)  # fmt: skip
_TIMES = (
    "", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p", ", %H:%M",
    ", %H:%M:%S", "T%H:%M", "T%H:%M:%S",
)  # fmt: skip
_TRIED = 50
_MARKS = {".": "points", ",": "commas", " ": "blanks", "'": "apostrophes"}


@dataclass(frozen=True)
class Found:
    """The notation of a file.

    Attributes:
        notation: what is declared of it.
        numbers: columns of numbers that are written so.
        moments: columns of dates that are written so.
        unclear: columns of dates that may be read in two ways, and an example.
    """

    notation: Notation
    numbers: list[str] = field(default_factory=list)
    moments: list[str] = field(default_factory=list)
    unclear: dict[str, str] = field(default_factory=dict)

    def usual(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows as they will be read."""
        return rewritten(rows, self.notation, self.numbers, self.moments)

    def source(self) -> dict[str, Any]:
        """What `source:` declares of it."""
        here = {f.name: getattr(self.notation, f.name) for f in fields(Notation)}
        told = {name: v for name, v in here.items() if v != getattr(_USUAL, name)}
        return told | ({"dates": list(self.notation.dates)} if self.notation.dates else {})

    def notes(self) -> tuple[str, ...]:
        """How the file is read, where that is not as usual, in words."""
        notes = []
        if self.notation.decimal == ",":
            notes.append("its numbers have a decimal comma")
        if self.notation.thousands:
            notes.append(f"its thousands are set apart by {_MARKS[self.notation.thousands]}")
        if self.notation.dates:
            notes.append(f"its dates are written as {' or '.join(self.notation.dates)}, in UTC")
        for name, example in self.unclear.items():
            notes.append(
                f"{name} may be day or month first, as in {example}, and stays text until "
                "source.dates says which"
            )
        return tuple(notes)


def notation_of(frame: pl.DataFrame, delimiter: str) -> Found:
    """How the columns of text write numbers and dates.

    Args:
        frame: rows of the file, every column as text.
        delimiter: of its fields. Where it is no comma, the comma is more often a decimal one.
    """
    texts = {
        name: _distinct(frame[name]) for name in frame.columns if frame[name].dtype == pl.String
    }
    odd = {name: there for name, there in texts.items() if len(there) and not _fits(_USUAL, there)}
    numbers = _of_numbers(odd, _has_points(texts), delimiter)
    # Also those that look usual, for they will be read so too: 1.234 is a thousand here.
    usual = [n for n, v in texts.items() if n not in odd and _fits(numbers, v)]
    columns = [] if numbers.is_usual else [n for n in odd if _is_of(numbers, odd[n])] + usual
    forms: dict[str, list[str]] = {
        name: _forms(there) for name, there in odd.items() if name not in columns
    }
    dates = tuple(dict.fromkeys(found[0] for found in forms.values() if len(found) == 1))
    return Found(
        Notation(numbers.decimal, numbers.thousands, dates),
        columns,
        [name for name, found in forms.items() if len(found) == 1],
        {name: str(odd[name]["text"][0]) for name, found in forms.items() if len(found) > 1},
    )


def _distinct(column: pl.Series) -> pl.DataFrame:
    """The distinct texts that mean a value, and how many `rows` hold each."""
    plain = column.drop_nulls().str.strip_chars().alias("text").to_frame()
    there = plain.filter(~pl.col("text").is_in([*MISSING, ""]))
    return there.group_by("text", maintain_order=True).agg(pl.len().alias("rows"))


def _of_numbers(texts: dict[str, pl.DataFrame], has_points: bool, delimiter: str) -> Notation:
    """The notation that the most columns are written in."""
    best, most = _USUAL, 0
    for notation in _NUMBERS:
        if notation.thousands == "." and has_points:
            continue  # 3.140 would be read as three thousand
        columns = [name for name, there in texts.items() if _is_of(notation, there)]
        whole = all(texts[name]["text"].str.contains(_THOUSANDS).all() for name in columns)
        if notation.decimal == "," and whole and delimiter == ",":
            continue  # 1,234 in a file whose fields are split by commas is no fraction
        if len(columns) > most:
            best, most = notation, len(columns)
    return best


def _has_points(texts: dict[str, pl.DataFrame]) -> bool:
    """Whether some column has decimals after a point, and is not of thousands."""
    grouped = Notation(",", ".")
    return any(
        there["text"].str.contains(_POINT).any() and not _fits(grouped, there)
        for there in texts.values()
    )


def _is_of(notation: Notation, there: pl.DataFrame) -> bool:
    """Whether a column is of numbers in a notation, not of names such as 612 345 678."""
    if not _fits(notation, there) or there["text"].str.contains(PADDED).any():
        return False
    is_grouped = not _fits(Notation(notation.decimal), there)
    return not is_grouped or there["text"].str.len_chars().n_unique() > 1


def _fits(notation: Notation, there: pl.DataFrame) -> bool:
    return _nearly_all(there, is_number(pl.col("text"), notation))


def _forms(there: pl.DataFrame) -> list[str]:
    """The formats that a column of dates may have; two where day and month may change places."""
    some = there.filter(pl.col("text").str.contains(_DATED)).head(_TRIED)
    is_dated = pl.col("text").str.contains(_DATED) & ~pl.col("text").str.contains(_ISO)
    if some.is_empty() or not _nearly_all(there, is_dated):
        return []
    forms: dict[str, str] = {}
    for day, time in product(_DAYS, _TIMES):
        read = read_as(pl.col("text"), day + time).is_not_null()
        kind = day.replace("%B", "%b")  # both read a short name, and mean the same by it
        if kind not in forms and some.select(read.any()).item() and _nearly_all(there, read):
            forms[kind] = day + time
    return list(forms.values())


def _nearly_all(there: pl.DataFrame, fits: pl.Expr) -> bool:
    """Whether texts fit, but for those of a few rows in a thousand."""
    odd = there.select(pl.col("rows").filter(~fits).sum()).item()
    return int(odd) <= TOLERATED * int(there["rows"].sum())
