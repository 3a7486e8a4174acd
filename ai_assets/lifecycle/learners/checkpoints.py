"""The state of a training, kept as it goes on, so that a killed one continues."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
