"""A small neural network with embedded categories."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import (
    Dataset,
    OnStep,
    Task,
    class_count,
    link,
    loss,
    read_arrays,
    read_json,
    shares,
    write_arrays,
    write_json,
)
from ai_assets.lifecycle.learners.graphs import Graph, add_dense, add_link, add_slots
from ai_assets.lifecycle.learners.network_family import NetworkFamily
from ai_assets.lifecycle.learners.preparation import Preparation, fit_preparation

EPOCHS = 40
IMPORTANCE_ROWS = 2000


@dataclass(frozen=True)
class MlpModel:
    """Weights of the network; predicting needs numpy alone.

    `embedding` is float32 [slots, D]; layer i has `weights[i]` float32 [in, out] and `biases[i]`.
    The first layer reads the dense columns, then the embeddings of the categorical columns.
    """

    task: Task
    names: list[str]
    preparation: Preparation
    embedding: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    shares_of_loss: dict[str, float]
    iterations: int
    curve: list[dict[str, float]]
    family: str = "mlp"

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 [n, K]."""
        dense, slots = self.preparation.transform(x)
        flat = self.embedding[slots].reshape(len(x), -1)
        hidden = np.concatenate([dense, flat], axis=1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.maximum(hidden @ weight + bias, 0)
        score = hidden @ self.weights[-1] + self.biases[-1]
        return link(self.task, score.astype(np.float64))

    def importances(self) -> dict[str, float]:
        """Share of the loss that shuffling each feature adds (permutation importance)."""
        return self.shares_of_loss

    def to_onnx(self) -> bytes:
        """Matrix products apart from their biases: the form that int8 quantization knows."""
        graph = Graph()
        parts = [dense] if (dense := add_dense(graph, self.preparation)) is not None else []
        if (slots := add_slots(graph, self.preparation)) is not None:
            each = graph.add("Gather", graph.constant(self.embedding), slots, axis=0)
            width = slots_width(self.preparation) * self.embedding.shape[1]
            shape = graph.constant(np.array([-1, width], dtype=np.int64))
            parts.append(graph.add("Reshape", each, shape))
        hidden = graph.add("Concat", *parts, axis=1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            product = graph.add("MatMul", hidden, graph.constant(weight))
            hidden = graph.add("Add", product, graph.constant(bias))
            if layer < len(self.weights) - 1:
                hidden = graph.add("Relu", hidden)
        add_link(graph, self.task, hidden)
        return graph.to_bytes(len(self.names), len(self.biases[-1]))

    def save(self, folder: Path) -> None:
        """Write `model.json` and `model.npz`."""
        about: dict[str, Any] = {"family": self.family, "task": self.task, "names": self.names}
        about |= {"iterations": self.iterations, "curve": self.curve}
        about |= {"shares_of_loss": self.shares_of_loss, "layers": len(self.weights)}
        write_json(folder / "model.json", about)
        own = {"embedding": self.embedding}
        own |= {f"weight_{i}": weight for i, weight in enumerate(self.weights)}
        own |= {f"bias_{i}": bias for i, bias in enumerate(self.biases)}
        write_arrays(folder / "model.npz", self.preparation.to_arrays() | own)


def slots_width(preparation: Preparation) -> int:
    """Number of categorical columns, each of which brings one embedding."""
    return len(preparation.categorical)


class Mlp(NetworkFamily):
    """Feed-forward network: AdamW, dropout, early stopping on validation. A fit is too short to
    keep its state for."""

    name = "mlp"
    patience = 4

    def __init__(self, device: str = "auto") -> None:
        super().__init__(device)

    def defaults(self) -> dict[str, Any]:
        """One moderately wide network, well regularised."""
        return {
            "width": 128,
            "layers": 2,
            "embedding": 8,
            "dropout": 0.2,
            "learning_rate": 2e-3,
            "weight_decay": 1e-2,
        }

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Size, step and regularisation."""
        return {
            "width": trial.suggest_categorical("width", [32, 64, 128, 256]),
            "layers": trial.suggest_int("layers", 1, 3),
            "embedding": trial.suggest_categorical("embedding", [4, 8, 16]),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
            "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
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
    ) -> MlpModel:
        """See `Family.fit`. An iteration is an epoch; the learning rate is constant, so that a
        refit of as many epochs walks the same path."""
        from ai_assets.lifecycle.learners.mlp_training import train_network

        outputs = class_count(task, train)
        preparation = fit_preparation(train)
        settings = {"epochs": EPOCHS} | self.defaults() | params
        course = self.course(settings, validation, task, seed, threads)
        fitted = train_network(
            preparation, train, validation, course, outputs=outputs, on_step=on_step
        )
        names = list(train.encoding.names)
        unranked = MlpModel(task, names, preparation, **fitted, shares_of_loss={})
        ranked = _permutation_shares(unranked, train if validation is None else validation, seed)
        return MlpModel(task, names, preparation, **fitted, shares_of_loss=ranked)

    def load(self, folder: Path) -> MlpModel:
        """Read what `MlpModel.save` wrote."""
        about, arrays = read_json(folder / "model.json"), read_arrays(folder / "model.npz")
        layers = range(about.pop("layers"))
        return MlpModel(
            preparation=Preparation.from_arrays(arrays),
            embedding=arrays["embedding"],
            weights=[arrays[f"weight_{i}"] for i in layers],
            biases=[arrays[f"bias_{i}"] for i in layers],
            **about,
        )


def _permutation_shares(model: MlpModel, data: Dataset, seed: int) -> dict[str, float]:
    random = np.random.default_rng(seed)
    rows = random.permutation(len(data))[:IMPORTANCE_ROWS]
    sample = data.take(rows)
    base = loss(model.task, sample.y, model.predict(sample.x), sample.weight)
    added = []
    for column in range(sample.x.shape[1]):
        shuffled = sample.x.copy()
        shuffled[:, column] = random.permutation(shuffled[:, column])
        added.append(loss(model.task, sample.y, model.predict(shuffled), sample.weight) - base)
    # Rounded: the last bits of a float32 product may differ between two BLAS thread counts.
    return {name: round(v, 6) for name, v in shares(model.names, np.array(added)).items()}


FAMILY = Mlp()
