"""Performance of several classes before labels: what a row's probabilities promise of each metric.

Log loss, Brier score, accuracy and cost are means of rows, so the expected value of each is the
mean of what a row of every class would count, weighted by the belief that it is of that class.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.evaluation.bootstrap import resample_counts
from ai_assets.lifecycle.evaluation.counted import LOG_LOSS_EPSILON, Floats
from ai_assets.lifecycle.evaluation.names import OF_COSTS
from ai_assets.lifecycle.schema.decision import CostMatrix, Decision

LIKELIEST = Decision("multiclass")
"""Answers where nothing else is said: the likeliest class."""


@dataclass(frozen=True)
class BelievedClasses:
    """Scored rows whose class is believed, not known.

    Attributes:
        p: Probabilities, [n, K].
        q: Belief that the row is of each class, [n, K].
        answers: Numbers of the answers, [n].
        costs: What answers cost, [K, K]; None where nothing is declared.
    """

    p: Floats
    q: Floats
    answers: NDArray[np.intp]
    costs: CostMatrix | None = None

    def if_of_class(self) -> dict[str, Floats]:
        """What each row would count to each metric were it of each class, [n, K]."""
        return {name: IF_OF_CLASS[name](self) for name in estimated_of_classes(self.costs)}

    def expected(self) -> dict[str, float | None]:
        """The value that each metric is expected to have once labels are known."""
        parts = self.if_of_class()
        return {name: float((self.q * part).sum(axis=1).mean()) for name, part in parts.items()}

    def drawn(self, seed: int, resamples: int, blocks: ArrayLike | None) -> dict[str, Floats]:
        """Values [resamples] of each metric for drawn rows and drawn classes."""
        generator = np.random.default_rng([seed, 1])
        parts, rows = self.if_of_class(), np.arange(len(self.q))
        until = np.cumsum(self.q, axis=1)
        found: dict[str, list[float]] = {name: [] for name in parts}
        for counts in resample_counts(len(self.q), resamples, seed, blocks):
            for count in counts:
                chance = generator.uniform(size=(len(rows), 1)) * until[:, -1:]
                drawn = (chance >= until).sum(axis=1)
                for name, part in parts.items():
                    found[name].append(float(count @ part[rows, drawn] / count.sum()))
        return {name: np.array(values) for name, values in found.items()}


def _log_loss(rows: BelievedClasses) -> Floats:
    found: Floats = -np.log(np.clip(rows.p, LOG_LOSS_EPSILON, None))
    return found


def _brier(rows: BelievedClasses) -> Floats:
    return ((rows.p**2).sum(axis=1, keepdims=True) - 2 * rows.p + 1) / 2


def _accuracy(rows: BelievedClasses) -> Floats:
    return (rows.answers[:, None] == np.arange(rows.p.shape[1])).astype(np.float64)


def _cost(rows: BelievedClasses) -> Floats:
    # Of an answer the costs by label: a column of the matrix.
    return np.array(rows.costs, np.float64)[:, rows.answers].T


IF_OF_CLASS: dict[str, Callable[[BelievedClasses], Floats]] = {
    "log_loss": _log_loss,
    "brier": _brier,
    "accuracy": _accuracy,
    "cost": _cost,
}
"""By metric, what each row would count to it were it of each class, [n, K]. ROC-AUC is no mean of
rows, and not estimated of several classes."""


def estimated_of_classes(costs: CostMatrix | None) -> tuple[str, ...]:
    """Names of the metrics that are estimated of several classes; costs are None if undeclared."""
    return tuple(name for name in IF_OF_CLASS if costs is not None or name not in OF_COSTS)


def believed_classes(
    p: ArrayLike,
    q: ArrayLike | None = None,
    decision: Decision = LIKELIEST,
    costs: CostMatrix | None = None,
) -> BelievedClasses:
    """Check probabilities and beliefs of several classes.

    Args:
        p: Probabilities [n, K].
        q: Beliefs [n, K]; the probabilities by default, as if they were calibrated.
        decision: How they become answers; the likeliest class by default.
        costs: What the answers are held to cost, by label and answer, [K, K]; None where nothing
            is declared.

    Raises:
        DataError: There are no rows, shapes differ, or a belief or score is not in [0, 1].
    """
    scores = np.asarray(p, dtype=np.float64)
    beliefs = scores if q is None else np.asarray(q, dtype=np.float64)
    if not len(scores):
        raise DataError("An estimate of performance needs at least one scored row, but got none.")
    if scores.shape != beliefs.shape:
        raise DataError(must_be("p and q", "of one shape", (scores.shape, beliefs.shape)))
    for name, values in (("a score", scores), ("a belief", beliefs)):
        if wrong := values[~((values >= 0) & (values <= 1))][:1].tolist():
            raise DataError(must_be(name, "a probability between 0 and 1", wrong[0]))
    return BelievedClasses(scores, beliefs, decision.codes(scores), costs)
