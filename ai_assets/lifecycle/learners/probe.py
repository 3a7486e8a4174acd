"""A linear model on a frozen sentence encoder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.learners.base import Dataset, OnStep, Task, class_count, link, loss
from ai_assets.lifecycle.learners.text_features import (
    bags,
    meanings,
    rarity,
    tokens_of,
)
from ai_assets.lifecycle.learners.text_model import Head, TextModel, load_text_model
from ai_assets.lifecycle.learners.transformer import Transformer, read_bert

NEVER = 20.0
"""How far below the least likely class a class is that no row has."""
STEPS = 1000


@dataclass(frozen=True)
class Start:
    """A frozen encoder with its head: what the fine-tuned family begins with.

    Attributes:
        transformer: the encoder, as long as the column of texts.
        head: fitted to what it finds.
        tokens: of the training rows, int64 [n, T].
    """

    transformer: Transformer
    head: Head
    tokens: np.ndarray

    def inputs(self, tokens: np.ndarray, threads: int) -> np.ndarray:
        """What the head reads of texts, float32 [n, 2D]."""
        words = self.transformer.weights["words"]
        found = [meanings(self.transformer, tokens, threads)]
        return np.concatenate([*found, bags(words, self.head.rarity, tokens)], axis=1)


class Probe:
    """Logistic regression, or ridge, on the embedding and the words of a text."""

    name = "probe"

    def defaults(self) -> dict[str, Any]:
        """Little shrinkage: what the head reads is of length 1. `encoder` is a folder with
        `config.json` and `model.safetensors`; without one it is the installed encoder."""
        return {"C": 30.0, "encoder": ""}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """How little it shrinks."""
        return {"C": trial.suggest_float("C", 1.0, 300.0, log=True)}

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
        """See `Family.fit`. It has one optimum, so one iteration and no use for the seed."""
        settings = self.defaults() | params
        start = fit_probe(train, settings, task=task, threads=threads)
        entry = {"step": 1.0, "train": self._loss(start, train, task, threads)}
        if validation is not None:
            entry["validation"] = self._loss(start, validation, task, threads)
            if on_step is not None:
                on_step(1, entry["validation"])
        return as_model(start, train, task, self.name, 1, [entry])

    def load(self, folder: Path) -> TextModel:
        """Read what `TextModel.save` wrote."""
        return load_text_model(folder)

    def _loss(self, start: Start, data: Dataset, task: Task, threads: int) -> float:
        _, place = data.encoding.first("text")
        tokens = tokens_of(data.x[:, place], start.transformer.architecture.vocabulary)
        scores = start.inputs(tokens, threads) @ start.head.weight + start.head.bias
        return loss(task, data.y, link(task, scores.astype(np.float64)), data.weight)


def fit_probe(train: Dataset, settings: dict[str, Any], *, task: Task, threads: int) -> Start:
    """The encoder, and a head fitted to what it finds in the training rows.

    Raises:
        DataError: there is no text, or the labels or tokens are not what the task or encoder asks.
        DeclarationError: the encoder cannot be read, or is made for shorter texts.
    """
    if settings["C"] <= 0:
        raise DeclarationError(must_be("C", "above 0", settings["C"]))
    outputs = class_count(task, train)
    column, place = train.encoding.first("text")
    folder = Path(settings["encoder"]) if settings["encoder"] else None
    transformer = read_bert(folder).short(column.width)
    tokens = tokens_of(train.x[:, place], transformer.architecture.vocabulary)
    width = 2 * transformer.architecture.width
    empty = np.zeros((width, outputs), dtype=np.float32)
    weight = rarity(tokens, transformer.architecture.vocabulary)
    unfitted = Start(transformer, Head(empty, empty[0], weight), tokens)
    return replace(unfitted, head=fit_head(unfitted, train, settings["C"], task, threads))


def fit_head(start: Start, train: Dataset, c: float, task: Task, threads: int) -> Head:
    """A head fitted to what the encoder finds in the training rows."""
    inputs = start.inputs(start.tokens, threads).astype(np.float64)
    coefficients, bias = _linear(inputs, train, c, task, len(start.head.bias))
    return replace(start.head, weight=coefficients.astype(np.float32), bias=bias.astype(np.float32))


def as_model(
    start: Start,
    train: Dataset,
    task: Task,
    family: str,
    iterations: int,
    curve: list[dict[str, float]],
) -> TextModel:
    """The encoder with its head as a model of the rows' encoding."""
    column, place = train.encoding.first("text")
    return TextModel(
        task=task,
        transformer=start.transformer,
        head=start.head,
        features=[each.name for each in train.encoding.columns],
        text=column.name,
        place=(place.start, place.stop),
        columns=train.encoding.width,
        iterations=iterations,
        curve=curve,
        family=family,
    )


def _linear(
    inputs: np.ndarray, train: Dataset, c: float, task: Task, outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [2D, K] and biases [K]."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from threadpoolctl import threadpool_limits

    # The products are small: more threads would wait for each other longer than they work.
    with threadpool_limits(1):
        if task == "regression":
            shift, scale = float(train.y.mean()), float(train.y.std()) or 1.0
            ridge = Ridge(alpha=1 / c).fit(inputs, (train.y - shift) / scale, train.weight)
            return ridge.coef_[:, None] * scale, np.array([ridge.intercept_ * scale + shift])
        fitted = LogisticRegression(C=c, max_iter=STEPS).fit(inputs, train.y, train.weight)
    if task == "binary":
        return fitted.coef_.T, fitted.intercept_
    if len(fitted.classes_) == 2:
        # Of two classes scikit-learn fits the second's advantage alone.
        fitted.coef_ = np.concatenate([-fitted.coef_, fitted.coef_]) / 2
        fitted.intercept_ = np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2
    there = fitted.classes_.astype(np.int64)
    weight = np.zeros((inputs.shape[1], outputs))
    bias = np.full(outputs, fitted.intercept_.min() - NEVER)
    weight[:, there], bias[there] = fitted.coef_.T, fitted.intercept_
    return weight, bias


FAMILY = Probe()
