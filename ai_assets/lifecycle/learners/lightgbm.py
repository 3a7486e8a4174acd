"""Gradient boosted trees: strong on tables, read categories as they are."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ai_assets.lifecycle.learners.base import (
    Dataset,
    OnStep,
    Task,
    class_count,
    read_json,
    shares,
    write_json,
)
from ai_assets.lifecycle.learners.forest import read_forest
from ai_assets.lifecycle.learners.forest_graph import forest_to_onnx

ROUNDS = 2000
PATIENCE = 60
REPORT_EVERY = 10
CELLS_A_THREAD = 5_000_000
"""Rows times features from which on another thread pays."""

OBJECTIVES: dict[Task, dict[str, Any]] = {
    "binary": {"objective": "binary", "metric": "binary_logloss"},
    "multiclass": {"objective": "multiclass", "metric": "multi_logloss"},
    "regression": {"objective": "regression", "metric": "l2"},
    "count": {"objective": "poisson", "metric": "poisson"},
}


@dataclass(frozen=True)
class LightGbmModel:
    """Trees as LightGBM's own text, from which the booster is made when it is needed."""

    task: Task
    names: list[str]
    text: str = field(repr=False)
    outputs: int
    iterations: int
    curve: list[dict[str, float]]
    threads: int = 2
    family: str = "lightgbm"

    @cached_property
    def booster(self) -> Any:
        """The `lightgbm.Booster`."""
        import lightgbm

        return lightgbm.Booster(model_str=self.text)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 [n, K]."""
        predicted = self.booster.predict(x, num_threads=self.threads)
        return np.asarray(predicted, dtype=np.float64).reshape(len(x), self.outputs)

    def importances(self) -> dict[str, float]:
        """Each feature's share of the loss that its splits took away (gain)."""
        return shares(self.names, self.booster.feature_importance(importance_type="gain"))

    def to_onnx(self) -> bytes:
        """The trees with thresholds only; see `forest_graph`."""
        return forest_to_onnx(read_forest(self.text), len(self.names))

    def save(self, folder: Path) -> None:
        """Write `trees.txt`, which LightGBM reads anywhere, and `model.json`."""
        about: dict[str, Any] = {"family": self.family, "task": self.task, "names": self.names}
        about |= {"outputs": self.outputs, "iterations": self.iterations, "curve": self.curve}
        write_json(folder / "model.json", about | {"threads": self.threads})
        (folder / "trees.txt").write_text(self.text, encoding="utf-8", newline="\n")


Space = Literal["cautious", "wide"]
_OF_ROWS = (("min_child_samples", 20, 20), ("min_data_per_group", 100, 20), ("cat_smooth", 10, 50))
"""Parameters that count rows, LightGBM's own value, and of how many rows it is at most one."""
CAUTIOUS: dict[str, Any] = {
    "learning_rate": 0.03,
    "num_leaves": 31,
    "min_child_samples": 200,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "lambda_l2": 20.0,
    "cat_smooth": 100.0,
    "cat_l2": 50.0,
    "max_cat_to_onehot": 4,
    "path_smooth": 10.0,
    "extra_trees": False,
    # As good as 255 where rows are many, in three quarters of the time.
    "max_bin": 63,
}
WIDE: dict[str, Any] = CAUTIOUS | {
    "num_leaves": 12,
    "min_child_samples": 5,
    "bagging_fraction": 0.8,
    "lambda_l2": 1.0,
    "cat_smooth": 10.0,
    "cat_l2": 10.0,
    "path_smooth": 0.0,
    "max_bin": 255,
}


@dataclass
class LightGbm:
    """Histogram gradient boosting (https://lightgbm.readthedocs.io/en/stable/Parameters.html).

    Row-wise histograms, `deterministic` and a fixed thread count give the same trees each time.
    `space` is where `suggest` looks.
    """

    space: Space = "cautious"
    name: str = field(default="lightgbm", init=False)

    def defaults(self) -> dict[str, Any]:
        """Small steps, four features of ten a tree.

        Cautious: categories held back by large penalties, for what was learned about a rare one
        last month seldom holds next month. Wide: small leaves, a little shrunk.
        """
        return dict(CAUTIOUS if self.space == "cautious" else WIDE)

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Cautious: a narrow space around the defaults; what a few trials find weaker than this in
        regularisation wins by luck on the held-out weeks and loses later. Wide: most of what is
        ever of use."""
        return _near_cautious(trial) if self.space == "cautious" else anywhere(trial)

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
    ) -> LightGbmModel:
        """See `Family.fit`. Stops when validation has not improved for 60 rounds.

        `params` may hold any LightGBM parameter besides those of `defaults`, and `iterations`.
        """
        import lightgbm

        outputs = class_count(task, train)
        given = {k: v for k, v in params.items() if k != "iterations"}
        settings = _settings(task, outputs, seed, useful_threads(train.x.size, threads)) | given
        # Leaves of a twentieth of all rows: more would leave small tables without any split. A text
        # has none where no group of its categories is that large, or each is rarer than cat_smooth.
        for name, usual, part in _OF_ROWS:
            settings[name] = min(settings.get(name, usual), max(1, len(train) // part))
        rounds = params.get("iterations", ROUNDS)
        rows = _lgb_dataset(train, settings)
        curve: list[dict[str, float]] = []
        watched: list[Any] = []
        callbacks: list[Any] = []
        if validation is not None:
            watched.append(_lgb_dataset(validation, settings, reference=rows))
            callbacks.append(_recorder(curve, on_step))
            if "iterations" not in params:
                callbacks.append(lightgbm.early_stopping(PATIENCE, verbose=False))
        booster = lightgbm.train(
            settings,
            rows,
            rounds,
            watched,
            ["validation"],
            callbacks=callbacks,
            # Otherwise it is written as text and read again, as is done below.
            keep_training_booster=True,
        )
        best = booster.best_iteration if booster.best_iteration > 0 else rounds
        text = booster.model_to_string(num_iteration=best)
        names = list(train.encoding.names)
        return LightGbmModel(task, names, text, outputs, best, curve, threads, family=self.name)

    def load(self, folder: Path) -> LightGbmModel:
        """Read what `LightGbmModel.save` wrote."""
        text = (folder / "trees.txt").read_text(encoding="utf-8")
        return LightGbmModel(text=text, **read_json(folder / "model.json"))


def _near_cautious(trial: Any) -> dict[str, Any]:
    return CAUTIOUS | {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.05, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 15, 47, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 50, 1000, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 0.6),
        "lambda_l2": trial.suggest_float("lambda_l2", 2.0, 50.0, log=True),
        "cat_smooth": trial.suggest_float("cat_smooth", 30.0, 300.0, log=True),
        "path_smooth": trial.suggest_float("path_smooth", 5.0, 100.0, log=True),
    }


def anywhere(trial: Any) -> dict[str, Any]:
    """From few large leaves to many small ones, each tree of some or of all features."""
    return WIDE | {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.1, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 63, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 3, 100, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.6, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.01, 30.0, log=True),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 100.0, log=True),
    }


def useful_threads(cells: int, most: int) -> int:
    """How many threads fit so many cells soonest; `most` = 0 is every core.

    Threads wait for each other several times a leaf. They sleep meanwhile (see `ai_assets`), and on
    a small table to wake one takes longer than what it then does: of 50,000 rows and 48 features
    two threads took 1.9 times as long as one alone, of 600,000 rows two thirds of its time. The
    trees are the same, but those of several classes for the last bits of their values.
    """
    return max(1, min(most or os.cpu_count() or 1, cells // CELLS_A_THREAD))


def _settings(task: Task, outputs: int, seed: int, threads: int) -> dict[str, Any]:
    settings = {
        "bagging_freq": 1,
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "min_data_per_group": 50,
        "verbosity": -1,
    }
    settings |= OBJECTIVES[task]
    return settings | ({"num_class": outputs} if task == "multiclass" else {})


def _lgb_dataset(data: Dataset, settings: dict[str, Any], reference: Any = None) -> Any:
    import lightgbm

    kept = ("min_data_per_group", "feature_pre_filter", "max_bin", "verbosity", "num_threads")
    categorical = list(data.encoding.categorical)
    x = data.x.copy()
    # LightGBM reads a negative category as missing too, but complains about each column.
    x[:, categorical] = np.where(x[:, categorical] < 0, np.nan, x[:, categorical])
    return lightgbm.Dataset(
        x,
        label=data.y,
        weight=data.weight,
        # Names may hold signs that LightGBM refuses; the model keeps the real ones.
        feature_name=[f"f{i}" for i in range(data.x.shape[1])],
        categorical_feature=categorical,
        reference=reference,
        params={name: settings[name] for name in kept if name in settings},
        free_raw_data=True,
    )


def _recorder(curve: list[dict[str, float]], on_step: OnStep | None) -> Any:
    def record(env: Any) -> None:
        step = env.iteration + 1
        if step % REPORT_EVERY and step != env.end_iteration:
            return
        value = float(env.evaluation_result_list[0][2])
        curve.append({"step": float(step), "validation": value})
        if on_step is not None:
            on_step(step, value)

    return record


FAMILY = LightGbm()
