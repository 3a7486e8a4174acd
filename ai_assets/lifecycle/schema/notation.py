"""How a CSV file is written: its fields, its text, and the numbers and dates of its country."""

from dataclasses import dataclass

from ai_assets.lifecycle.errors import must_be

DECIMALS, THOUSANDS = (".", ","), ("", ".", ",", " ", "'")
"""The marks that there may be before decimals, and between thousands."""
TRUE, FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
"""What means yes and no, in lower case."""
_DAYS = ("%d", "%e", "%j", "%F", "%D")


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

    def unclear(self, prefix: str) -> str | None:
        """Why nothing can be read in this notation, or None; `prefix` goes before the fields."""
        if self.decimal == self.thousands:
            both = f"but both are '{self.decimal}'."
            return f"{prefix}thousands must differ from {prefix}decimal, {both}"
        for form in self.dates:
            if not any(part in form for part in _DAYS):
                formats = "formats of strptime with a day, such as '%d.%m.%Y'"
                return f"{prefix}dates must be {formats}, but got '{form}'."
        return None

    @property
    def is_usual(self) -> bool:
        """Whether nothing is to be done for numbers."""
        return self.decimal == "." and not self.thousands


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written.

    Attributes:
        delimiter: between fields.
        encoding: of the text.
        missing: texts that mean that there is no value.
        notation: of numbers and dates.
        utc: whether instants without an offset are in UTC, as those of a source are; a day may
            then be written as one of its instants.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ("", "NA")
    notation: Notation = Notation()
    utc: bool = False

    def unclear(self, prefix: str) -> str | None:
        """Why nothing can be read that is written so, or None; `prefix` goes before the fields."""
        if len(self.delimiter.encode()) != 1:
            return must_be(f"{prefix}delimiter", "one ASCII character", self.delimiter)
        return self.notation.unclear(prefix)
