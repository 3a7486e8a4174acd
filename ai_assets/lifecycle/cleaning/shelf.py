"""Items set aside to be looked at again, one at a time."""

import tempfile
from collections.abc import Callable, Iterable

import numpy as np

IN_MEMORY = 32 * 2**20
Read = Callable[[np.ndarray], list[bytes]]
"""Gives the items of some numbers."""


class Shelf:
    """Bytes of any length by number, in memory while few, in a temporary file when many."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=in_memory, prefix="ai_assets_")  # noqa: SIM115
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, values: Iterable[bytes]) -> None:
        """Append items; all are added before one is read."""
        for value in values:
            self._file.write(value)
            self._ends.append(self._ends[-1] + len(value))

    def read(self, numbers: np.ndarray) -> list[bytes]:
        """The items of some numbers."""
        return [self._read(number) for number in numbers.tolist()]

    def _read(self, number: int) -> bytes:
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        return self._file.read(end - start)
