"""Boosting of extremely randomized trees: of each feature one threshold by chance is looked at.

Geurts et al. 2006, "Extremely randomized trees"; boosted by LightGBM's `extra_trees`. Its errors
are smoother than those of trees with the best thresholds, alone or blended with them.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from ai_assets.lifecycle.learners.base import Dataset, OnStep, Task
from ai_assets.lifecycle.learners.lightgbm import WIDE, LightGbm, LightGbmModel, anywhere

_RANDOM = {"extra_trees": True}


@dataclass
class ExtraTrees(LightGbm):
    """As `LightGbm`, thresholds by chance."""

    name: str = field(default="extra_trees", init=False)

    def defaults(self) -> dict[str, Any]:
        """More leaves and more features a tree than with the best thresholds."""
        return WIDE | _RANDOM | {"num_leaves": 31, "feature_fraction": 0.8, "lambda_l2": 0.1}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Most of what is ever of use."""
        return anywhere(trial) | _RANDOM

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
        """See `LightGbm.fit`."""
        fitted = super().fit(
            train, validation, params, task=task, seed=seed, threads=threads, on_step=on_step
        )
        return replace(fitted, family=self.name)


FAMILY = ExtraTrees()
