"""A sentence encoder whose upper layers are fine-tuned."""

from pathlib import Path
from typing import Any

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.learners.base import Dataset, OnStep, Task
from ai_assets.lifecycle.learners.network_family import NetworkFamily
from ai_assets.lifecycle.learners.probe import Start, as_model, fit_probe
from ai_assets.lifecycle.learners.ranges import out_of_range
from ai_assets.lifecycle.learners.text_features import tokens_of
from ai_assets.lifecycle.learners.text_model import TextModel, load_text_model


class Encoder(NetworkFamily):
    """Fine-tuning, from the head that the frozen encoder gets: AdamW, a cosine schedule with
    warm-up, smaller steps for lower layers, early stopping on validation."""

    name = "encoder"
    patience = 2
    kept_every = 1

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
        """See `Family.fit`. An iteration is an epoch."""
        from ai_assets.lifecycle.learners.encoder_training import Texts, fine_tune

        settings = self.defaults() | params
        check_settings(settings)
        start = fit_probe(train, settings, task=task, threads=threads)
        course = self.course(settings, validation, task, seed, threads)
        facts = {"encoder": start.transformer.digest.hex()}
        kept = self.kept(course, train, validation, facts)
        watched = None
        if validation is not None:
            _, place = validation.encoding.first("text")
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
    for _, said in out_of_range("encoder", settings):
        raise DeclarationError(said)


FAMILY = Encoder()
