"""What families have in common that train a network at length."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import Dataset, Task
from ai_assets.lifecycle.learners.checkpoints import Checkpoint, digest_of_run
from ai_assets.lifecycle.learners.training_loop import Course


class NetworkFamily:
    """Trains on a device, stops where validation improves no more, goes on after a kill.

    Args:
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one, which computes in bfloat16
            where that is exact enough. Equal bytes are promised on the CPU only.
        checkpoint: a file for the state of a fit that goes on; a killed one then continues.

    Attributes:
        patience: epochs without improvement on validation before stopping.
        kept_every: epochs between two states of a checkpoint.
    """

    patience: int
    kept_every: int

    def __init__(self, device: str = "auto", checkpoint: Path | None = None) -> None:
        self.device, self.checkpoint = device, checkpoint

    def course(
        self,
        settings: dict[str, Any],
        validation: Dataset | None,
        task: Task,
        seed: int,
        threads: int,
    ) -> Course:
        """How a fit trains. A refit, which has `iterations` among its settings, is not stopped
        early; of fewer epochs than the rates were made for it walks the same path."""
        stops = validation is not None and "iterations" not in settings
        return Course(
            task=task,
            settings=settings,
            seed=seed,
            threads=threads,
            device=self.device,
            iterations=settings.get("iterations"),
            patience=self.patience if stops else None,
        )

    def kept(
        self,
        course: Course,
        train: Dataset,
        validation: Dataset | None,
        facts: dict[str, Any],
        start: Iterable[np.ndarray] = (),
    ) -> Checkpoint | None:
        """Where this very fit keeps its state, if anywhere.

        Args:
            course: of the fit.
            train: rows to learn from.
            validation: rows that say when to stop.
            facts: of what it begins with.
            start: the numbers that it begins with.
        """
        if self.checkpoint is None:
            return None
        told = [facts, course.settings, course.task, course.seed]
        run = digest_of_run(told, start, train, validation)
        return Checkpoint(self.checkpoint, run, self.kept_every)
