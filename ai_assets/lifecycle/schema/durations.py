"""Durations as people write them in YAML: `2 hours`, `1 day`, `90 minutes`."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+?)s?\s*")


def parse_duration(value: Any) -> timedelta:
    """Read `<number> <unit>`; unit is second, minute, hour, day or week, plural or not.

    Raises:
        ValueError: the text is of another form, or the unit is unknown.
    """
    if isinstance(value, timedelta):
        return value
    match = _FORM.fullmatch(str(value))
    if match is None or match[2] not in _UNITS:
        raise ValueError(
            "a duration must be a number and one of second, minute, hour, day, week "
            f"(such as '2 hours'), but got {value!r}."
        )
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back."""
    seconds = value.total_seconds()
    for unit in ("week", "day", "hour", "minute"):
        count, rest = divmod(seconds, _UNITS[unit])
        if count and not rest:
            return f"{count:.0f} {unit}{'s' if count != 1 else ''}"
    return f"{seconds:g} seconds"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2 hours", "1 day"]}),
]
