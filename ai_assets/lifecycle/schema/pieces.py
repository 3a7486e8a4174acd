"""How many rows of a matrix a graph is given at once: as many as fit into some memory."""

from typing import Any

INNER = "numbers_of_a_row"
"""Where a graph tells, among its metadata, how many numbers it holds within for a row."""
MOST_ROWS = 8192
_NUMBERS = 1 << 25
"""128 MB, in 32 bits."""
_TIMES = 8
"""Numbers within for each column of the matrix, where a graph does not tell."""


def rows_at_once(session: Any, most: int = MOST_ROWS) -> int:
    """How many rows to give to an onnxruntime session at once, at least one.

    Args:
        session: of a graph that reads `x` [N, F].
        most: never more.
    """
    told = session.get_modelmeta().custom_metadata_map.get(INNER)
    width = session.get_inputs()[0].shape[-1]
    numbers = int(told) if told else _TIMES * (width if isinstance(width, int) else 1)
    return max(1, min(most, _NUMBERS // max(numbers, 1)))
