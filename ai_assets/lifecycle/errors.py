"""The one family of errors that mean: the user gave something we cannot work with."""

from collections.abc import Iterable
from difflib import get_close_matches

# No name is longer. To compare what is takes long, and callers of a server may send anything.
_LONGEST_NAME = 100


class UserError(ValueError):
    """Something in the declaration, the data or a request is wrong, and a person can mend it.

    The message says what was given, what is allowed and where. Raised at the borders only.
    """


class DeclarationError(UserError):
    """The YAML, or a file that it names, is wrong."""


class DataError(UserError):
    """The data is not what the declaration promises."""


class ColumnsError(DataError):
    """A source's columns are not as declared.

    Attributes:
        problems: What is wrong, a phrase a column.
    """

    def __init__(self, message: str, problems: list[str]) -> None:
        super().__init__(message)
        self.problems = problems


class MissingPartitionsError(UserError):
    """Partitions that a computation needs have not been materialized."""


class BundleError(UserError):
    """A bundle cannot be loaded: a file is missing, changed or of an unknown format."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the nearest allowed name, or nothing if none is near."""
    if len(str(given)) > _LONGEST_NAME:
        return ""
    names = [str(name) for name in allowed]
    near = get_close_matches(str(given), names, n=1, cutoff=0.6) or [
        name for name in names if name.casefold() == str(given).casefold()
    ]
    return f" Did you mean '{near[0]}'?" if near else ""


def must_be(
    name: str, allowed: str | Iterable[str], given: object, *, written: str | None = None
) -> str:
    """The house sentence: `"<name> must be <allowed>, but got <given>. Did you mean …?"`.

    Args:
        name: of the field.
        allowed: words, or the names that there are.
        given: what came.
        written: it as its writer knows it. Default: as Python writes it.
    """
    written = repr(given) if written is None else written
    if isinstance(allowed, str):
        return f"{name} must be {allowed}, but got {written}."
    names = [str(item) for item in allowed]
    choices = ", ".join(f"'{item}'" for item in names) or "nothing (none is declared)"
    return f"{name} must be one of {choices}, but got {written}.{did_you_mean(str(given), names)}"
