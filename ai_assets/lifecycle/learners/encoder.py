"""A sentence encoder whose upper layers are fine-tuned."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.learners.base import Dataset, OnStep, Task
from ai_assets.lifecycle.learners.checkpoints import Checkpoint
from ai_assets.lifecycle.learners.probe import Start, as_model, fit_probe
from ai_assets.lifecycle.learners.text_features import text_of, tokens_of
from ai_assets.lifecycle.learners.text_model import TextModel, load_text_model

PATIENCE = 2


class Encoder:
    """Fine-tuning, from the head that the frozen encoder gets: AdamW, a cosine schedule with
    warm-up, smaller steps for lower layers, early stopping on validation.

    Args:
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one, which computes in bfloat16
            where that is exact enough. Equal bytes are promised on the CPU only.
        checkpoint: a file for the state of a fit that goes on; a killed one then continues.
    """

    name = "encoder"

    def __init__(self, device: str = "auto", checkpoint: Path | None = None) -> None:
        self.device, self.checkpoint = device, checkpoint

    def defaults(self) -> dict[str, Any]:
        """The two highest layers, a few times through the rows. `encoder` is a folder with
        `config.json` and `model.safetensors`; without one it is the installed encoder."""
        return {
            "C": 30.0,
            "encoder": "",
            "trained_layers": 2,
            "epochs": 4,
            "batch": 32,
            "learning_rate": 2e-4,
            "layer_decay": 0.9,
            "head_rate": 1e-3,
            "weight_decay": 1e-2,
            "warm_up": 0.1,
            "dropout": 0.1,
            "label_smoothing": 0.0,
        }

    def suggest(self, trial: Any) -> dict[str, Any]:
        """How far it goes from where it starts."""
        return {
            "trained_layers": trial.suggest_int("trained_layers", 1, 3),
            "learning_rate": trial.suggest_float("learning_rate", 5e-5, 5e-4, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.3),
            "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2),
        }

    def fit(
        self,
        train: Dataset,
        validation: Dataset | None,
        params: dict[str, Any],
        *,
        task: Task,
        seed: int,
        threads: int,
        on_step: OnStep | None = None,
    ) -> TextModel:
        """See `Family.fit`. An iteration is an epoch; a refit of fewer epochs than the schedule was
        made for walks the same path and stops where validation had stopped."""
        from ai_assets.lifecycle.learners.encoder_training import Course, Texts, fine_tune

        settings = self.defaults() | params
        check_settings(settings)
        start = fit_probe(train, settings, task=task, threads=threads)
        stop_early = "iterations" not in params and validation is not None
        course = Course(
            task=task,
            settings=settings,
            seed=seed,
            threads=threads,
            device=self.device,
            iterations=settings.get("iterations"),
            patience=PATIENCE if stop_early else None,
        )
        kept = None
        if self.checkpoint is not None:
            run = _run_of(start, settings, task, seed, train, validation)
            kept = Checkpoint(self.checkpoint, run, every=1)
        watched = None
        if validation is not None:
            _, place = text_of(validation.encoding)
            vocabulary = start.transformer.architecture.vocabulary
            tokens = tokens_of(validation.x[:, place], vocabulary)
            watched = Texts(tokens, validation.y, validation.weight)
        tuned = fine_tune(
            start,
            Texts(start.tokens, train.y, train.weight),
            watched,
            course,
            checkpoint=kept,
            on_step=on_step,
        )
        ended = Start(tuned.transformer, tuned.head, start.tokens)
        return as_model(ended, train, task, self.name, tuned.iterations, tuned.curve)

    def load(self, folder: Path) -> TextModel:
        """Read what `TextModel.save` wrote."""
        return load_text_model(folder)


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse what no fit can do.

    Raises:
        DeclarationError: a number is out of its bounds.
    """
    for name in ("trained_layers", "epochs", "batch"):
        if settings[name] < 1:
            raise DeclarationError(must_be(name, "at least 1", settings[name]))
    for name in ("dropout", "label_smoothing", "warm_up"):
        if not 0 <= settings[name] < 1:
            raise DeclarationError(must_be(name, "from 0 to below 1", settings[name]))


def _run_of(
    start: Start,
    settings: dict[str, Any],
    task: Task,
    seed: int,
    train: Dataset,
    validation: Dataset | None,
) -> str:
    """Digest of all that a fit depends on: only the same one goes on from a checkpoint."""
    found = hashlib.sha256(json.dumps([settings, task, seed], sort_keys=True).encode())
    found.update(start.transformer.digest)
    for data in (train, validation):
        arrays = [] if data is None else [data.x, data.y]
        arrays += [] if data is None or data.weight is None else [data.weight]
        for array in arrays:
            found.update(str(array.shape).encode())
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


FAMILY = Encoder()
