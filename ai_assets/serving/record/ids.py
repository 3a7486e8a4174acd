"""Ids of predictions: UUIDs of version 7, which sort by time; a request numbers those of its rows.

The lowest 20 bits are the row of the request. A million ids cost one random number, and the entry
of a prediction is found by its id with those bits cleared.
"""

import os
import re
import uuid
from collections.abc import Iterator

ID_PATTERN = (
    "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-7[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
)
_ID = re.compile(ID_PATTERN)
ROW_BITS = 20
MOST_ROWS = 1 << ROW_BITS
_ROW_DIGITS = ROW_BITS // 4
_RANDOM_BITS = 62 - ROW_BITS


def new_request_id(at_us: int) -> int:
    """The id of a request, which is that of its row 0.

    Args:
        at_us: microseconds since 1970. Ids order by it to a quarter of a microsecond; 42 random
            bits tell those of one moment apart.
    """
    ms, rest = divmod(at_us, 1000)
    random = int.from_bytes(os.urandom(8)) >> (64 - _RANDOM_BITS)
    return ms << 80 | 7 << 76 | (rest * 4096 // 1000) << 64 | 2 << 62 | random << ROW_BITS


def first_id(at_us: int) -> int:
    """No id of a request of that moment, or of a later one, is smaller.

    Args:
        at_us: microseconds since 1970.
    """
    return at_us // 1000 << 80


def prediction_ids(request_id: int, rows: int) -> Iterator[str]:
    """The ids of a request's rows, in order."""
    digits = f"{request_id:032x}"
    prefix = "-".join(
        (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:-_ROW_DIGITS])
    )
    return (f"{prefix}{row:0{_ROW_DIGITS}x}" for row in range(rows))


def split_id(prediction_id: str) -> tuple[int, int] | None:
    """The request's id and the row of a prediction's id; None where it is no such id."""
    # Written otherwise it would be found, and never again: outcomes are kept by its text.
    if not _ID.fullmatch(prediction_id):
        return None
    given = uuid.UUID(prediction_id)
    return given.int >> ROW_BITS << ROW_BITS, given.int & (MOST_ROWS - 1)
