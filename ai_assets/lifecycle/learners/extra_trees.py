"""Boosting of extremely randomized trees: of each feature one threshold by chance is looked at.

Geurts et al. 2006, "Extremely randomized trees"; boosted by LightGBM's `extra_trees`. Its errors
are smoother than those of trees with the best thresholds, alone or blended with them.
"""

from dataclasses import dataclass, field
from typing import Any

from ai_assets.lifecycle.learners.lightgbm import WIDE, LightGbm, anywhere

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


FAMILY = ExtraTrees()
