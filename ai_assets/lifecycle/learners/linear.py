"""Logistic, ridge and Poisson regression: the model that every other one has to beat."""

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
from ai_assets.lifecycle.learners.preparation import Preparation, fit_preparation


@dataclass(frozen=True)
class LinearModel:
    """A sum of weighted numbers and a weight for each category, through the task's link.

    `dense` is float64 [P + M, K], `category` float64 [slots, K], `intercept` float64 [K].
    """

    task: Task
    names: list[str]
    preparation: Preparation
    dense: np.ndarray
    category: np.ndarray
    intercept: np.ndarray
    spread: np.ndarray
    iterations: int
    curve: list[dict[str, float]]
    family: str = "linear"

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 [n, K]."""
        dense, slots = self.preparation.transform(x)
        score = dense @ self.dense + self.intercept
        for column in range(slots.shape[1]):
            score += self.category[slots[:, column]]
        return link(self.task, score)

    def importances(self) -> dict[str, float]:
        """Standard deviation of each feature's part of the score over the training rows."""
        return shares(self.names, self.spread)

    def to_onnx(self) -> bytes:
        """One matrix product, and a table of weights in place of one-hot columns."""
        graph = Graph()
        score = graph.constant(self.intercept.astype(np.float32)[None, :])
        if (dense := add_dense(graph, self.preparation)) is not None:
            weights = graph.constant(self.dense.astype(np.float32))
            score = graph.add("Add", graph.add("MatMul", dense, weights), score)
        if (slots := add_slots(graph, self.preparation)) is not None:
            table = graph.constant(self.category.astype(np.float32))
            each = graph.add("Gather", table, slots, axis=0)
            axis = graph.constant(np.array([1], dtype=np.int64))
            score = graph.add("Add", graph.add("ReduceSum", each, axis, keepdims=0), score)
        add_link(graph, self.task, score)
        return graph.to_bytes(len(self.names), len(self.intercept))

    def save(self, folder: Path) -> None:
        """Write `model.json` and `model.npz`."""
        about: dict[str, Any] = {"family": self.family, "task": self.task, "names": self.names}
        about |= {"iterations": self.iterations, "curve": self.curve}
        write_json(folder / "model.json", about)
        own = {"dense": self.dense, "category": self.category, "intercept": self.intercept}
        parts = self.preparation.to_arrays() | own | {"spread": self.spread}
        write_arrays(folder / "model.npz", parts)


class Linear:
    """L2-regularised logistic (binary, multiclass), ridge (regression) or Poisson (count).

    scikit-learn's lbfgs and conjugate gradients, on a sparse one-hot matrix: thousands of
    categories cost little. There is nothing to stop early, so validation is only measured.
    """

    name = "linear"

    def defaults(self) -> dict[str, Any]:
        """Moderate regularisation."""
        return {"c": 0.1}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """`c` is the inverse strength of the L2 penalty, for rows of mean weight 1."""
        return {"c": trial.suggest_float("c", 1e-4, 10.0, log=True)}

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
    ) -> LinearModel:
        """See `Family.fit`. The optimum is unique: `seed` and `iterations` do not change it."""
        from threadpoolctl import threadpool_limits

        outputs = class_count(task, train)
        preparation = fit_preparation(train)
        with threadpool_limits(threads or None):
            matrix = _one_hot(preparation, train.x)
            coefficients, intercept, steps = _solve(matrix, train, task, params["c"], outputs)
        split = len(preparation.dense_columns)
        model = LinearModel(
            task=task,
            names=list(train.encoding.names),
            preparation=preparation,
            dense=coefficients[:split],
            category=coefficients[split:],
            intercept=intercept,
            spread=_spread(preparation, train.x, coefficients),
            iterations=steps,
            curve=[],
        )
        entry = {"step": 1.0, "train": loss(task, train.y, model.predict(train.x), train.weight)}
        if validation is not None:
            predicted = model.predict(validation.x)
            entry["validation"] = loss(task, validation.y, predicted, validation.weight)
            if on_step is not None:
                on_step(1, entry["validation"])
        model.curve.append(entry)
        return model

    def load(self, folder: Path) -> LinearModel:
        """Read what `LinearModel.save` wrote."""
        about, arrays = read_json(folder / "model.json"), read_arrays(folder / "model.npz")
        own = {k: arrays[k] for k in ("dense", "category", "intercept", "spread")}
        parts: dict[str, Any] = {**own, **about}
        return LinearModel(preparation=Preparation.from_arrays(arrays), **parts)


def _one_hot(preparation: Preparation, x: np.ndarray) -> Any:
    from scipy import sparse

    dense, slots = preparation.transform(x)
    rows, columns = slots.shape
    hot = sparse.csr_matrix(
        (np.ones(slots.size), slots.ravel(), np.arange(rows + 1) * columns),
        shape=(rows, preparation.width),
    )
    return sparse.hstack([sparse.csr_matrix(dense.astype(np.float64)), hot], format="csr")


def _solve(
    matrix: Any, train: Dataset, task: Task, c: float, outputs: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Coefficients [D, K], intercept [K] and the number of iterations."""
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    # Weights of mean 1 keep the meaning of `c` when classes are weighted.
    weight = None if train.weight is None else train.weight / train.weight.mean()
    if task == "regression":
        ridge = Ridge(alpha=1.0 / c, solver="sparse_cg", tol=1e-6, max_iter=1000)
        ridge.fit(matrix, train.y, sample_weight=weight)
        return ridge.coef_[:, None], np.array([ridge.intercept_]), int(np.max(ridge.n_iter_ or 1))
    if task == "count":
        # Its loss is a mean over rows, that of the others a sum.
        poisson = PoissonRegressor(alpha=1.0 / (c * len(train)), tol=1e-6, max_iter=1000)
        poisson.fit(matrix, train.y, sample_weight=weight)
        return poisson.coef_[:, None], np.array([poisson.intercept_]), int(poisson.n_iter_)
    logistic = LogisticRegression(C=c, tol=1e-4, max_iter=300)
    logistic.fit(matrix, train.y.astype(np.int64), sample_weight=weight)
    steps = int(np.max(logistic.n_iter_))
    if task == "binary":
        return logistic.coef_.T, logistic.intercept_, steps
    coefficients = np.zeros((matrix.shape[1], outputs))
    intercept = np.full(outputs, -30.0)  # a class that training never saw gets no probability
    if logistic.coef_.shape[0] == 1:  # two classes: scikit-learn keeps one row of scores
        low, high = logistic.classes_
        coefficients[:, high], intercept[high] = logistic.coef_[0], logistic.intercept_[0]
        intercept[low] = 0.0
    else:
        coefficients[:, logistic.classes_] = logistic.coef_.T
        intercept[logistic.classes_] = logistic.intercept_
    return coefficients, intercept, steps


def _spread(preparation: Preparation, x: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    dense, slots = preparation.transform(x)
    split = dense.shape[1]
    spread = np.zeros(x.shape[1])
    deviation = dense.std(axis=0, dtype=np.float64)[:, None] * np.abs(coefficients[:split])
    np.add.at(spread, preparation.dense_columns, deviation.mean(axis=1))
    for position, column in enumerate(preparation.categorical):
        spread[column] = coefficients[split:][slots[:, position]].std(axis=0).mean()
    return spread


FAMILY = Linear()
