"""Which items are mistaken: those of the most frequent confusions, and those of most conviction."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ai_assets.lifecycle.evaluation.plots_of_items import Mistake

MOST = 12
_OF_A_KIND = 2


def frequent(
    items: Sequence[bytes | str],
    y: np.ndarray,
    probabilities: np.ndarray,
    answers: np.ndarray,
    classes: Sequence[str],
) -> list[Mistake]:
    """Of the most frequent confusions two examples each, those of which the model is surest.

    Args:
        items: n of them.
        y: numbers [n] of what they are.
        probabilities: [n, K].
        answers: numbers [n] of what is answered.
        classes: K names.
    """
    found = _all(items, y, probabilities, answers, classes)
    kinds = sorted(
        {(m.actual, m.answered) for m in found},
        key=lambda kind: (-next(m.of for m in found if (m.actual, m.answered) == kind), kind),
    )
    listed = [
        m
        for kind in kinds
        for m in [m for m in found if (m.actual, m.answered) == kind][:_OF_A_KIND]
    ]
    return listed[:MOST]


def surest(
    items: Sequence[bytes | str],
    y: np.ndarray,
    probabilities: np.ndarray,
    answers: np.ndarray,
    classes: Sequence[str],
) -> list[Mistake]:
    """The mistakes of which the model is surest; arguments as of `frequent`."""
    return _all(items, y, probabilities, answers, classes)[:MOST]


def _all(
    items: Sequence[bytes | str],
    y: np.ndarray,
    probabilities: np.ndarray,
    answers: np.ndarray,
    classes: Sequence[str],
) -> list[Mistake]:
    """All mistakes, the surest first."""
    wrong = np.flatnonzero(answers != y)
    kinds = Counter((int(y[place]), int(answers[place])) for place in wrong)
    sure = probabilities[wrong, answers[wrong]]
    return [
        Mistake(
            items[place],
            classes[int(y[place])],
            classes[int(answers[place])],
            float(probabilities[place, answers[place]]),
            kinds[int(y[place]), int(answers[place])],
        )
        for place in wrong[np.argsort(-sure, kind="stable")]
    ]
