"""JSON as every answer has it."""

import json
from typing import Any

# Made once: `json.dumps` makes an encoder for each call that asks for more than its defaults.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str)


def as_json(content: Any) -> str:
    """The content as JSON.

    Raises:
        ValueError: it holds NaN or infinity, which JSON does not have.
    """
    return _ENCODER.encode(content)
