"""Rows judged by the answers that a decision gave to them, whatever answers cost today."""

from dataclasses import replace

from numpy.typing import ArrayLike

from ai_assets.lifecycle.evaluation.classes import ScoredClasses
from ai_assets.lifecycle.evaluation.metrics import AnyScored, scored
from ai_assets.lifecycle.schema.decision import CostMatrix, Decision


def answered(
    y: ArrayLike, p: ArrayLike, decision: Decision, costs: CostMatrix | None = None
) -> AnyScored:
    """Labels and scores of rows, with the answers that were given to them.

    Args:
        y: Labels [n], or the outcomes of a regression.
        p: P(positive) [n], of K classes [n, K], or the values of a regression [n].
        decision: How scores become answers: by its own threshold, or by its own costs of classes.
        costs: What the answers are held to cost, by label and answer, [2, 2] or [K, K]; None where
            nothing is declared.

    Raises:
        DataError: As of `scored`.
    """
    values = decision.task == "regression"
    rows = scored(y, p, decision.threshold, values=values, interval=decision.interval, costs=costs)
    if isinstance(rows, ScoredClasses):
        return replace(rows, given=decision.codes(rows.p))
    return rows
