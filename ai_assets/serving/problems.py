"""What the server answers to a request that it cannot serve: a status, a sentence, the details."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LONGEST_SHOWN = 200
_MOST_TOLD = 5


@dataclass(frozen=True)
class Detail:
    """One thing wrong with one field of one row."""

    row: int | None
    field: str | None
    given: Any
    allowed: Any
    message: str

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
