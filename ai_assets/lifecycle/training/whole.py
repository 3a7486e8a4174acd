"""Learning without a graph: split, fit what won, calibrate, refit; for backtests and benchmarks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.fairness.groups import PROTECTED, protected_of
from ai_assets.lifecycle.fairness.spec import Fairness
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners.base import Dataset, Model, Task
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.scores import squeezed
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.fitting import fit_together, refit_model
from ai_assets.lifecycle.training.spec import Training
from ai_assets.lifecycle.training.split import split_rows

NOT_FEATURES = ("_row_id", "label", "event_time", "known_at", PROTECTED)


@dataclass(frozen=True)
class Learned:
    """A model with what it needs to answer."""

    model: Model
    encoding: Encoding
    calibration: Calibration

    def score(self, features: pl.DataFrame) -> np.ndarray:
        """Calibrated scores, float64: P(positive) [n], or of several classes [n, K]."""
        predicted = self.model.predict(self.encoding.transform(features))
        return squeezed(self.calibration.apply(predicted))


def learn(
    rows: pl.DataFrame,
    weights: dict[str, float],
    params: dict[str, dict[str, Any]],
    training: Training,
    task: Task,
    classes: int | None = None,
    fairness: Fairness | None = None,
) -> Learned:
    """Fit families with given parameters and weights, as the graph would on these rows.

    Args:
        rows: features with `_row_id`, `label` and, by time, `event_time`; under a mitigation also
            `_protected`, the number of each row's groups.
        weights: what each family has to say; they sum to 1.
        params: parameters of each family.
        training: the product's declaration.
        task: what is predicted.
        classes: how many classes there are, where there are several.
        fairness: what is declared of groups of people.
    """
    roles = roles_of(rows, training)
    names = [name for name in NOT_FEATURES if name in rows.columns]
    encoding = Encoding.fit(rows.filter(pl.Series(roles) == "train").drop(names))
    y, protected = rows["label"].to_numpy(), protected_of(rows, fairness)
    data = Dataset(encoding.transform(rows), y, None, encoding, classes, protected)
    train, validation = data.take(roles == "train"), data.take(roles == "validation")
    judged = fit_together(weights, train, validation, params, training=training, task=task)
    scores = judged.predict(validation.x)
    calibration = fit_calibration(training.calibration, scores, validation.y)
    if training.refit == "none":
        return Learned(judged, encoding, calibration)
    served = refit_model(judged, data, params, training=training, task=task)
    return Learned(served, encoding, calibration)


def roles_of(rows: pl.DataFrame, training: Training) -> np.ndarray:
    """Whether each row is to train on, to validate with or to test on, [n]."""
    times = rows["event_time"].to_numpy() if "event_time" in rows.columns else None
    split = training.split
    return split_rows(times, rows["_row_id"].to_numpy(), split.validation, split.test)
