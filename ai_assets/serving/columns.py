"""The check and the JSON schema of one column of the request, both made from its declaration."""

import base64
import math
import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, partial
from typing import Any

from pydantic_core import PydanticCustomError

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.features.images import canonical, png
from ai_assets.lifecycle.features.tokens import normal_text
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.serving.problems import as_json

Check = Callable[[Any], Any]
_INT64 = 2**63
_JSON_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "int64": {"type": "integer", "format": "int64"},
    "float64": {"type": "number"},
    "bool": {"type": "boolean"},
    # In UTC the first day may be one before the first, and the last one after the last.
    "datetime": {
        "type": "string",
        "format": "date-time",
        "pattern": r"^(?!0001-01-01.*\+|9999-12-31.*-\d\d:)",
    },
    "date": {"type": "string", "format": "date"},
    "image": {"type": ["string", "array"], "contentEncoding": "base64"},
    "text": {"type": "string"},
}
_KINDS: Any = {"string": str, "int64": int, "float64": (int, float), "bool": bool,
               "text": str}  # fmt: skip
_WORDS = {
    "string": "a text",
    "int64": "a whole number",
    "float64": "a number",
    "bool": "true or false",
    "datetime": "an ISO 8601 instant with its UTC offset, such as 2013-04-10T21:00:00Z",
    "date": "an ISO 8601 date, such as 2013-04-10",
    "image": "a PNG or JPEG file as Base64, or rows of numbers",
    "text": "a text",
}
_BOUNDS = dict.fromkeys(("string", "text"), ("minLength", "maxLength"))
_SHOWN_OF_IMAGE = 40


@dataclass(frozen=True)
class ColumnCheck:
    """Turns a given JSON value into the column's type, or says what is wrong with it.

    Attributes:
        name: the column.
        column: its declaration.
        required: a value must be given, and not null.
        known: the texts seen in training, when others are to be refused.
    """

    name: str
    column: Column
    required: bool
    known: Set[str] | None = None

    def __call__(self, value: Any) -> Any:
        if value is None:
            if self.required:
                raise self._wrong("not_null", self.column.allowed or _WORDS[self.column.type], None)
            return None
        typed = self._typed(value)
        if typed == "" and self.column.type == "text":
            return self(None)  # nothing was said
        if self.column.allowed is not None and typed not in self.column.allowed:
            raise self._wrong("not_allowed", self.column.allowed, value)
        self._check_range(typed, value)
        self._check_text(typed, value)
        return typed

    def json_schema(self) -> dict[str, Any]:
        """What OpenAPI shows of the column: description, unit, range, values, example."""
        column = self.column
        schema: dict[str, Any] = dict(_JSON_TYPES[column.type])
        if not self.required:
            given = schema["type"]
            schema["type"] = [*(given if isinstance(given, list) else [given]), "null"]
        if column.allowed is not None:
            schema["enum"] = [*column.allowed, *([] if self.required else [None])]
        if column.pattern is not None:
            schema["pattern"] = f"^(?:{column.pattern})$"
        low, high = (-_INT64, _INT64 - 1) if column.type == "int64" else (None, None)
        least, most = _BOUNDS.get(column.type, ("minimum", "maximum"))
        bounds = {
            least: low if column.min is None else column.min,
            most: high if column.max is None else column.max,
        }
        if column.type == "image":  # what is given may be a file, whose numbers are not these
            bounds.clear()
        schema |= {k: _number(v) for k, v in bounds.items() if v is not None}
        words = column.description
        if column.unit:
            schema["x-unit"] = column.unit
            words = f"{words} ({column.unit})" if words else f"In {column.unit}."
        if words:
            schema["description"] = words
        if column.example is not None:
            schema["examples"] = [example(column)]
        return schema

    def _typed(self, value: Any) -> Any:
        kind = self.column.type
        if kind in ("datetime", "date"):
            return self._moment(value)
        if kind == "image":
            return self._image(value)
        # To JSON Schema, and to clients that know only one kind of number, 3.0 is a whole number.
        if kind == "int64" and isinstance(value, float) and value.is_integer():
            value = int(value)
        # In Python a truth value is a whole number too; in JSON it is not.
        if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise self._wrong("wrong_type", _WORDS[kind], value)
        if kind == "int64" and not -_INT64 <= value < _INT64:
            raise self._wrong("out_of_range", "a whole number of 64 bits", value)
        if kind == "text":
            return normal_text(value)
        if kind != "float64":
            return value
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._wrong("not_finite", "a finite number", value)
        return number

    def _image(self, value: Any) -> bytes:
        try:
            return canonical(value, self.column)
        except DataError as error:
            shown = repr(value)[:_SHOWN_OF_IMAGE]
            raise self._wrong("unreadable_image", f"{_WORDS['image']} ({error})", shown) from None

    def _moment(self, value: Any) -> datetime | date:
        allowed = _WORDS[self.column.type]
        if not isinstance(value, str):
            raise self._wrong("wrong_type", allowed, value)
        try:
            if self.column.type == "date":
                return date.fromisoformat(value)
            moment = datetime.fromisoformat(value)
            # A time without offset would be read differently by client and server.
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise self._wrong("wrong_type", allowed, value)

    def _check_range(self, typed: Any, value: Any) -> None:
        low, high = self.column.min, self.column.max
        if not isinstance(typed, int | float) or isinstance(typed, bool):
            return
        if (low is None or typed >= low) and (high is None or typed <= high):
            return
        unit = f" {self.column.unit}" if self.column.unit else ""
        if low is None or high is None:
            bound = f"at least {_number(low)}" if low is not None else f"at most {_number(high)}"
        else:
            bound = f"between {_number(low)} and {_number(high)}"
        raise self._wrong("out_of_range", bound + unit, value)

    def _check_text(self, typed: Any, value: Any) -> None:
        if not isinstance(typed, str):
            return
        if self._is_long_or_short(typed):
            low, high = _number(self.column.min or 0), _number(self.column.max)
            words = f"at least {low}" if high is None else f"{low} to {high}"
            raise self._wrong("out_of_range", f"a text of {words} characters", value)
        pattern = self.column.pattern
        if pattern is not None and not re.fullmatch(pattern, typed):
            raise self._wrong("no_match", f"a text that matches {pattern}", value)
        if self.known is not None and typed not in self.known:
            raise self._wrong("unknown_category", sorted(self.known), value)
        try:
            typed.encode()
        except UnicodeEncodeError:
            raise self._wrong("wrong_type", "a text of valid Unicode", value) from None

    def _is_long_or_short(self, text: str) -> bool:
        low, high = self.column.min, self.column.max
        return (low is not None and len(text) < low) or (high is not None and len(text) > high)

    def _wrong(self, kind: str, allowed: Any, given: Any) -> PydanticCustomError:
        if isinstance(allowed, str):
            words, hint = allowed, None
        else:
            some = [str(item) for item in allowed[:20]]
            rest = f" and {len(allowed) - 20} more" if len(allowed) > 20 else ""
            words = "one of " + ", ".join(some) + rest
            # Looked for where it is told only; once, since many rows may hold the same mistake.
            hint = cache(partial(did_you_mean, given, allowed)) if isinstance(given, str) else None
        if self.column.personal:
            shown, given, hint = "something else", "(personal)", None
        else:
            shown = as_json(given)[:200]
        message = f"{self.name} must be {words}, but got {shown}."
        context = {"message": message, "allowed": allowed, "given": given, "hint": hint}
        return PydanticCustomError(kind, "{message}", context)


def example(column: Column) -> Any:
    """The declared example as JSON holds it (YAML reads bare instants as datetimes)."""
    given = column.example
    return given.isoformat() if isinstance(given, date) else given


def picture(image: bytes, shape: tuple[int, ...]) -> str:
    """A checked image as a caller could have given it: a PNG file as Base64."""
    # What another bundle has brought to its own size cannot be drawn; whoever reads it says so.
    content = png(image, shape) if len(image) == math.prod(shape) else image
    return base64.b64encode(content).decode()


def _number(value: float | None) -> float | int | None:
    return int(value) if value is not None and float(value).is_integer() else value
