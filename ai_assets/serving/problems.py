"""What the server answers to a request that it cannot serve: a status, a sentence, the details."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# Details of one refusal. Whoever finds mistakes stops here, whatever a caller sends.
MOST_DETAILS = 50
# To look for a near name takes long; so the first details of a refusal are given one, not all.
_MOST_HINTS = 10
_LONGEST_SHOWN = 200
_MOST_TOLD = 5


@dataclass(frozen=True)
class Detail:
    """One thing wrong with one field of one row.

    Attributes:
        row: its number; None where it is not of a row.
        field: its name; None where the row itself is wrong.
        given: what came.
        allowed: what may come.
        message: a sentence.
        hint: looks for the name that was meant; a sentence with a space before it, or nothing.
    """

    row: int | None
    field: str | None
    given: Any
    allowed: Any
    message: str
    hint: Callable[[], str] | None = dataclasses.field(default=None, compare=False, repr=False)

    def hinted(self) -> "Detail":
        """The detail, with the name that was meant in its message."""
        if self.hint is None:
            return self
        return replace(self, message=self.message + self.hint(), hint=None)

    def content(self) -> dict[str, Any]:
        """The detail as JSON can hold it."""
        return {
            "row": self.row,
            "field": self.field,
            "given": shown(self.given),
            "allowed": shown(self.allowed),
            "message": printable(self.message),
        }


@dataclass
class Refused(Exception):
    """The request is refused; a person can mend it, or try again later."""

    status: int
    error: str
    details: list[Detail] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": printable(self.error), "details": [d.content() for d in self.details]}


def refusal(details: Sequence[Detail], status: int = 400) -> Refused:
    """The refusal that tells these details, of which there is one at least."""
    told = [detail.hinted() for detail in details[:_MOST_HINTS]]
    return Refused(status, told[0].message, [*told, *details[_MOST_HINTS:MOST_DETAILS]])


def shown(value: Any) -> Any:
    """A given value as JSON can hold it: bounded in size, and without NaN or infinity."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else shown(str(value))
    if isinstance(value, list | tuple) and len(value) <= 50:
        texts = [shown(item) for item in value]
        return texts if len(str(texts)) <= 4 * _LONGEST_SHOWN else printable(str(texts))
    return printable(str(value))


def printable(text: str) -> str:
    """The text, shortened, without characters that UTF-8 cannot hold."""
    short = text if len(text) <= 4 * _LONGEST_SHOWN else text[: 4 * _LONGEST_SHOWN] + "…"
    return short.encode("utf-8", "replace").decode("utf-8")


def as_json(value: Any) -> str:
    """A given value as its caller wrote it: null, true and lists as JSON, others as Python does.

    Args:
        value: read from JSON; of a frame it may be anything.
    """
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=repr)
    return repr(value)


def told(refused: Refused) -> str:
    """A refusal in one text, where there is no place for details."""
    shown = [
        detail.message if detail.row is None else f"row {detail.row}: {detail.message}"
        for detail in refused.details[:_MOST_TOLD]
    ]
    if not shown:
        return printable(refused.error)
    more = len(refused.details) - len(shown)
    return printable("; ".join(shown) + (f" (and {more} more)" if more else ""))
