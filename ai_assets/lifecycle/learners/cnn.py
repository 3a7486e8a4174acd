"""A small residual network of convolutions, for images."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import (
    Dataset,
    OnStep,
    Task,
    class_count,
    read_json,
    write_json,
)
from ai_assets.lifecycle.learners.cnn_graph import features_to_onnx, to_onnx
from ai_assets.lifecycle.learners.cnn_network import Architecture, Weights, design, started
from ai_assets.lifecycle.learners.network_family import NetworkFamily

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class CnnModel:
    """The network's numbers; predicting needs onnxruntime alone.

    Attributes:
        task: what is predicted.
        weights: float32 arrays by the names that torch gives them, and what they belong to.
        features: the columns of the encoding.
        image: name of the image that it reads.
        place: where that lies among the matrix's columns.
        columns: width of the matrix.
        settings: parameters of the fit.
    """

    task: Task
    weights: Weights
    features: list[str]
    image: str
    place: tuple[int, int]
    columns: int
    settings: dict[str, Any]
    iterations: int
    curve: list[dict[str, float]]
    family: str = "cnn"

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 [n, K]."""
        return _run(self._session, x)

    def embed(self, x: np.ndarray) -> np.ndarray:
        """What the last layer reads of each image, float32 [n, D]."""
        return _run(self._feature_session, x).astype(np.float32)

    def importances(self) -> dict[str, float]:
        """All that it knows, it knows from the image."""
        return {name: float(name == self.image) for name in self.features}

    def to_onnx(self) -> bytes:
        """Convolutions with their normalisations folded in; the very graph that `predict` runs."""
        return to_onnx(self.weights, self.task, slice(*self.place), self.columns)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `weights.safetensors`, which another fit can start from."""
        from safetensors.numpy import save

        about: dict[str, Any] = {"family": self.family, "task": self.task, "image": self.image}
        about |= {"features": self.features, "place": self.place, "columns": self.columns}
        about |= {"settings": self.settings}
        about |= {"architecture": self.weights.architecture.to_json()}
        about |= {"iterations": self.iterations, "curve": self.curve}
        write_json(folder / "model.json", about)
        (folder / WEIGHTS).write_bytes(save(self.weights.arrays))

    @cached_property
    def _session(self) -> Any:
        return _opened(self.to_onnx())

    @cached_property
    def _feature_session(self) -> Any:
        return _opened(features_to_onnx(self.weights, slice(*self.place), self.columns))


class Cnn(NetworkFamily):
    """A residual network: AdamW, a cosine schedule with warm-up, early stopping on validation."""

    name = "cnn"
    patience = 10
    kept_every = 5

    def defaults(self) -> dict[str, Any]:
        """A network of some tens of thousands of weights, and images changed a little."""
        return {
            "width": 16,
            "stages": 3,
            "blocks": 1,
            "stem_stride": 1,
            "epochs": 30,
            "batch": 64,
            "learning_rate": 1e-2,
            "warm_up": 0.1,
            "weight_decay": 5e-2,
            "label_smoothing": 0.05,
            "dropout": 0.1,
            "average": 0.99,
            "shift": 0.1,
            "rotation": 10.0,
            "scale": 0.1,
            "brightness": 0.05,
            "contrast": 0.1,
            "erase": 0.1,
            "weights": "",
        }

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Size, step, regularisation, and how far images are changed."""
        return {
            "width": trial.suggest_categorical("width", [8, 16, 24, 32]),
            "blocks": trial.suggest_int("blocks", 1, 2),
            "learning_rate": trial.suggest_float("learning_rate", 2e-3, 3e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-3, 0.3, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.4),
            "shift": trial.suggest_float("shift", 0.0, 0.15),
            "rotation": trial.suggest_float("rotation", 0.0, 20.0),
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
    ) -> CnnModel:
        """See `Family.fit`. An iteration is an epoch."""
        from ai_assets.lifecycle.learners.cnn_training import train_cnn

        settings = self.defaults() | params
        column, place = train.encoding.first("image")
        sizes = {name: int(settings[name]) for name in ("width", "stages", "blocks", "stem_stride")}
        architecture = design(column.shape, class_count(task, train), **sizes)
        start, fresh = Weights(architecture, {}), True
        if settings["weights"]:
            start, fresh = started(architecture, Path(settings["weights"])), False
        course = self.course(settings, validation, task, seed, threads)
        arrays = [start.arrays[name] for name in sorted(start.arrays)]
        kept = self.kept(course, train, validation, architecture.to_json(), arrays)
        trained = train_cnn(
            start, train, validation, place, course, fresh=fresh, checkpoint=kept, on_step=on_step
        )
        return CnnModel(
            task=task,
            weights=trained.weights,
            features=[column.name for column in train.encoding.columns],
            image=column.name,
            place=(place.start, place.stop),
            columns=train.encoding.width,
            settings=settings,
            iterations=trained.iterations,
            curve=trained.curve,
        )

    def load(self, folder: Path) -> CnnModel:
        """Read what `CnnModel.save` wrote."""
        from safetensors.numpy import load_file

        about = read_json(folder / "model.json")
        architecture = Architecture.from_json(about.pop("architecture"))
        about["place"] = tuple(about["place"])
        return CnnModel(weights=Weights(architecture, load_file(folder / WEIGHTS)), **about)


def _opened(graph: bytes) -> Any:
    from ai_assets.lifecycle.compression.onnx_session import open_session

    return open_session(graph)


def _run(session: Any, x: np.ndarray) -> np.ndarray:
    from ai_assets.lifecycle.compression.onnx_session import run_session

    return run_session(session, x)


FAMILY = Cnn()
