"""Two versions on the same rows: what each scores, what each answers, and how it is judged."""

from dataclasses import dataclass, replace

import numpy as np

from ai_assets.lifecycle.evaluation.bootstrap import Estimate, difference_between
from ai_assets.lifecycle.evaluation.classes import ScoredClasses
from ai_assets.lifecycle.evaluation.metrics import AnyScored, get_metric, scored, values_of
from ai_assets.lifecycle.schema.decision import CostMatrix, Decision


@dataclass(frozen=True)
class Side:
    """One version.

    Attributes:
        scores: Calibrated scores [n], of classes [n, K], or the values of a regression [n].
        decision: How it makes answers of them: its own threshold, or its own costs of classes.
    """

    scores: np.ndarray
    decision: Decision


@dataclass(frozen=True)
class Pair:
    """Both versions and the labels of the rows.

    Attributes:
        y: Labels [n].
        champion: What is in production.
        challenger: What would replace it.
        costs: What answers cost as it is declared today, by which both are judged; None where
            nothing is.
    """

    y: np.ndarray
    champion: Side
    challenger: Side
    costs: CostMatrix | None = None

    def at(self, rows: np.ndarray) -> "Pair":
        """Both on some of the rows alone, a mask [n]."""
        champion, challenger = (
            replace(side, scores=side.scores[rows]) for side in (self.champion, self.challenger)
        )
        return replace(self, y=self.y[rows], champion=champion, challenger=challenger)

    def values(self, metric: str) -> tuple[float | None, float | None]:
        """The metric of the champion and of the challenger; None where it is undefined."""
        champion, challenger = self._judged(metric)
        return values_of(champion, (metric,))[metric], values_of(challenger, (metric,))[metric]

    def difference(self, metric: str, *, blocks: np.ndarray | None, seed: int) -> Estimate:
        """The challenger's metric minus the champion's, with the interval of drawn rows.

        Args:
            metric: Its name.
            blocks: The block (day) of each row [n]; rows of a day are alike.
            seed: Of the bootstrap.
        """
        champion, challenger = self._judged(metric)
        return difference_between(challenger, champion, metric, seed=seed, blocks=blocks)

    def _judged(self, metric: str) -> tuple[AnyScored, AnyScored]:
        return self._rows(self.champion, metric), self._rows(self.challenger, metric)

    def _rows(self, side: Side, metric: str) -> AnyScored:
        """Its rows as the metric judges them: by its own answers, at the present costs."""
        decision, values = side.decision, get_metric(metric).of_values is not None
        rows = scored(self.y, side.scores, decision.threshold, values=values, costs=self.costs)
        if isinstance(rows, ScoredClasses):
            return replace(rows, given=decision.codes(side.scores))
        return rows
