"""The state of a training, kept as it goes on, so that a killed one continues."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import Dataset

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """Tensors by name, and facts that JSON can tell."""

    tensors: dict[str, Any] = field(repr=False)
    about: dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds the latest state.

    Attributes:
        path: the file; safetensors, no pickle.
        run: what is trained, of what, in a digest. A state of another run is not gone on from.
        every: epochs between two states.
    """

    path: Path
    run: str
    every: int = 5

    def due(self, epoch: int) -> bool:
        """Whether the state after this epoch is kept."""
        return epoch % self.every == 0

    def write(self, progress: Progress) -> None:
        """Put the state in the place of the one before, at once: a kill leaves one or the other."""
        from safetensors.torch import save

        # Numbers of JSON keep every bit of a double.
        facts = {"format": FORMAT, "run": self.run, **progress.about}
        tensors = {name: value.contiguous() for name, value in progress.tensors.items()}
        content = save(tensors, {"about": json.dumps(facts)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)

    def read(self) -> Progress | None:
        """The latest state of this very run; None where there is none that can be read."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get("about", "{}"))
                if (about.get("format"), about.get("run")) != (FORMAT, self.run):
                    return None
                names = file.keys()
                return Progress({name: file.get_tensor(name) for name in names}, about)
        except (SafetensorError, json.JSONDecodeError):
            return None

    def remove(self) -> None:
        """Forget the state: the run is over."""
        self.path.unlink(missing_ok=True)


def digest_of_run(facts: list[Any], start: Iterable[np.ndarray], *rows: Dataset | None) -> str:
    """Digest of all that a fit depends on: only the same one goes on from a checkpoint.

    Args:
        facts: what JSON can tell of it.
        start: the numbers that it begins with, in an order of their own.
        rows: to learn from, and to stop by.
    """
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    arrays = list(start)
    for data in rows:
        arrays += [] if data is None else [data.x, data.y]
        arrays += [] if data is None or data.weight is None else [data.weight]
    for array in arrays:
        found.update(str(array.shape).encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
