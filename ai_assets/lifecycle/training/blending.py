"""How much each family should have to say when several answer together."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from ai_assets.lifecycle.learners.base import Task
from ai_assets.lifecycle.learners.blend import pool

ROUNDS = 20


def blend_weights(
    predicted: dict[str, np.ndarray], *, task: Task, loss: Callable[[np.ndarray], float]
) -> dict[str, float]:
    """Weights, summing to 1, of the families that are worth hearing; those of weight 0 left out.

    Greedy selection with replacement (Caruana et al. 2004, "Ensemble selection from libraries of
    models"): 20 times the family is added that makes the mean of those chosen so far best. Steps
    of a twentieth hardly overfit.

    Args:
        predicted: predictions [n, K] of each family, of rows that it did not learn from.
        task: what is predicted.
        loss: how bad predictions [n, K] of these rows are.
    """
    chosen: Counter[str] = Counter()
    best, least = chosen, float("inf")
    for _ in range(ROUNDS):
        losses = {
            name: loss(pool_of(predicted, _shares(chosen + Counter([name])), task))
            for name in predicted
        }
        name = min(losses, key=lambda n: losses[n])
        chosen = chosen + Counter([name])
        if losses[name] < least:
            best, least = chosen, losses[name]
    return {name: share for name in predicted if (share := _shares(best).get(name))}


def pool_of(predicted: dict[str, np.ndarray], weights: dict[str, float], task: Task) -> np.ndarray:
    """The blend's predictions [n, K]."""
    return pool(task, [predicted[name] for name in weights], list(weights.values()))


def _shares(chosen: Counter[str]) -> dict[str, float]:
    return {name: count / chosen.total() for name, count in chosen.items()}
