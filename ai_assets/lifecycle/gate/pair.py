"""Two versions on the same rows: what each scores, what each answers, and how it is judged."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ai_assets.lifecycle.evaluation.answered import answered
from ai_assets.lifecycle.evaluation.bootstrap import Estimate, side_by_side
from ai_assets.lifecycle.evaluation.metrics import AnyScored
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

    def compared(
        self, metric: str, *, blocks: np.ndarray | None, seed: int
    ) -> tuple[float | None, float | None, Estimate]:
        """Both by one metric, on the same rows.

        Args:
            metric: Its name.
            blocks: The block (day) of each row [n]; rows of a day are alike.
            seed: Of the bootstrap.

        Returns:
            Its value of the champion and of the challenger, None where it is undefined, and the
            challenger's minus the champion's, with the interval of drawn rows.
        """
        champion, challenger = self._rows
        of_challenger, of_champion, difference = side_by_side(
            challenger, champion, metric, seed=seed, blocks=blocks
        )
        return of_champion, of_challenger, difference

    @cached_property
    def _rows(self) -> tuple[AnyScored, AnyScored]:
        """The rows of both, by their own answers, at the present costs: as any metric asks them."""
        champion, challenger = (
            answered(self.y, side.scores, side.decision, self.costs)
            for side in (self.champion, self.challenger)
        )
        return champion, challenger
