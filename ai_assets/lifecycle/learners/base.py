"""What every family of models has in common: the data it reads and the model it returns."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.fairness.groups import Protected
from ai_assets.lifecycle.features.encoding import Encoding

Task = Literal["binary", "multiclass", "regression", "count"]
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression", "count")
OF_VALUES = ("regression", "count")
"""Tasks whose answer is a number; a count's is never below 0 and learned by its logarithm."""

OnStep = Callable[[int, float], None]
"""Called as (step, loss on validation) while a model is fitted; may raise to stop the fit."""


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from.

    `x` is float32 [n, F], the encoding's matrix. `y` is float64 [n]: 0 or 1, the class's number
    from 0, or the value. `weight` is float64 [n] or None when every row counts the same.
    `classes` is the number of classes that there are, of which these rows may lack some; None:
    as many as the labels tell. `protected` are the groups of people that rows are of, where
    training is to do something about them, else None.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    encoding: Encoding
    classes: int | None = None
    protected: Protected | None = None

    def __post_init__(self) -> None:
        columns = self.encoding.width
        if self.x.ndim != 2 or self.x.shape[1] != columns:
            raise DataError(f"x must be [n, {columns}] like its encoding, but got {self.x.shape}.")
        for name, values in (("y", self.y), ("weight", self.weight)):
            if values is not None and values.shape != (len(self.x),):
                raise DataError(f"{name} must be [{len(self.x)}] like x, but got {values.shape}.")
        if self.protected is not None and len(self.protected) != len(self.x):
            raise DataError(
                f"protected must be of {len(self.x)} rows like x, but got {len(self.protected)}."
            )
        if not np.isfinite(self.y).all():
            raise DataError(f"y must be finite, but got {int((~np.isfinite(self.y)).sum())} rows.")

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> "Dataset":
        """The rows at the given positions, or where a mask is true."""
        weight = None if self.weight is None else self.weight[rows]
        protected = None if self.protected is None else self.protected.take(rows)
        return replace(self, x=self.x[rows], y=self.y[rows], weight=weight, protected=protected)


class Model(Protocol):
    """A fitted model. Needs its training library neither to predict nor to export, where it can."""

    @property
    def family(self) -> str:
        """Name of the family."""

    @property
    def task(self) -> Task:
        """What is predicted."""

    @property
    def curve(self) -> list[dict[str, float]]:
        """Losses by step."""

    @property
    def iterations(self) -> int:
        """Rounds that the fit took."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 [n, K]: P(positive) with K=1, a probability a class, or the value with K=1."""

    def importances(self) -> dict[str, float]:
        """How much each feature matters to the predictions; sums to 1."""

    def to_onnx(self) -> bytes:
        """An ONNX graph from `x` float32 [N, F] to `y` float32 [N, K], equal to `predict`."""

    def save(self, folder: Path) -> None:
        """Write the model; the same model gives the same bytes. No pickle."""


class Family(Protocol):
    """A way to learn."""

    name: str

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Parameters that an Optuna trial asks to try."""

    def defaults(self) -> dict[str, Any]:
        """Parameters that work untuned; the first trial."""

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
    ) -> Model:
        """Fit on `train`; `validation` says when to stop.

        Without validation the fit runs `params["iterations"]` rounds: that is how a model is
        refitted on all rows after validation has told the number. `threads` = 0 is every core.
        """

    def load(self, folder: Path) -> Model:
        """Read what the model's `save` wrote."""


def class_count(task: Task, data: Dataset) -> int:
    """Columns of a prediction: 1, or the number of classes for multiclass.

    Raises:
        DataError: the labels are not 0 and 1 (binary) or 0, 1, 2 … (multiclass), or all alike.
    """
    if task == "count" and (data.y < 0).any():
        raise DataError(f"counts must be 0 or more, but got {data.y.min():g}.")
    if task in OF_VALUES:
        return 1
    classes = np.unique(data.y)
    if len(classes) < 2:
        raise DataError(f"a {task} model needs at least two classes, but got {classes.tolist()}.")
    if (classes < 0).any() or (classes != np.floor(classes)).any():
        raise DataError(f"labels must be whole numbers from 0, but got {classes[:5].tolist()}.")
    if task == "binary" and classes[-1] != 1:
        raise DataError(f"labels must be 0 and 1, but got {classes[:5].tolist()}.")
    if task == "multiclass" and data.classes is not None and classes[-1] >= data.classes:
        raise DataError(
            f"labels must be numbers below {data.classes}, the number of classes, but got "
            f"{classes[-1]:g}."
        )
    return 1 if task == "binary" else data.classes or int(classes[-1]) + 1


def loss(task: Task, y: np.ndarray, predicted: np.ndarray, weight: np.ndarray | None) -> float:
    """The weighted loss that families minimise: log loss in nats, the mean squared error, or of
    counts the Poisson deviance."""
    if task == "regression":
        rows = (predicted[:, 0] - y) ** 2
    elif task == "count":
        rows = poisson_deviances(y, predicted[:, 0])
    elif task == "binary":
        p = np.clip(predicted[:, 0], 1e-7, 1 - 1e-7)
        rows = -(y * np.log(p) + (1 - y) * np.log1p(-p))
    else:
        rows = -np.log(np.clip(predicted[np.arange(len(y)), y.astype(np.int64)], 1e-7, None))
    return float(np.average(rows, weights=weight))


def poisson_deviances(y: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Twice how much likelier counts [n] are under themselves than under positive means [n], in
    nats (McCullagh and Nelder 1989, "Generalized linear models", section 2.3)."""
    mean = np.maximum(expected, 1e-9)
    found: np.ndarray = 2 * (y * np.log(np.where(y > 0, y, 1.0) / mean) - (y - mean))
    return found


def link(task: Task, score: np.ndarray) -> np.ndarray:
    """From scores [n, K] to predictions: the logistic function, softmax, exp, or as they are."""
    if task == "count":
        return np.exp(score)
    if task == "regression":
        return score
    if task == "binary":
        return 1.0 / (1.0 + np.exp(-score))
    powers = np.exp(score - score.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def shares(names: list[str], amounts: np.ndarray) -> dict[str, float]:
    """Amounts as shares that sum to 1; equal shares when there is nothing to share out."""
    positive = np.maximum(np.asarray(amounts, dtype=np.float64), 0.0)
    total = positive.sum()
    parts = positive / total if total > 0 else np.full(len(names), 1.0 / max(len(names), 1))
    return dict(zip(names, parts.tolist(), strict=True))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whose bytes depend on the content alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as `.npz` without pickle; numpy dates every entry 1980, so bytes are stable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as read:
        return {name: read[name] for name in read.files}
