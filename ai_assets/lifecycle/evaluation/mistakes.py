"""Which items are mistaken: those of the most frequent confusions, and those of most conviction."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ai_assets.lifecycle.evaluation.plots_of_items import Mistake

MOST = 12
_OF_A_KIND = 2


def mistaken(
    items: Sequence[bytes | str | None],
    y: np.ndarray,
    probabilities: np.ndarray,
    answers: np.ndarray,
    classes: Sequence[str],
) -> list[Mistake]:
    """All mistakes of items that are there, those of which the model is surest first.

    Args:
        items: n of them; None is missing.
        y: numbers [n] of what they are.
        probabilities: [n, K].
        answers: numbers [n] of what is answered.
        classes: K names.
    """
    there = np.array([item is not None for item in items], dtype=bool)
    wrong = np.flatnonzero((answers != y) & there)
    kinds = Counter((int(y[place]), int(answers[place])) for place in wrong)
    sure = probabilities[wrong, answers[wrong]]
    return [
        Mistake(
            item,
            classes[int(y[place])],
            classes[int(answers[place])],
            float(probabilities[place, answers[place]]),
            kinds[int(y[place]), int(answers[place])],
        )
        for place in wrong[np.argsort(-sure, kind="stable")]
        if (item := items[place]) is not None
    ]


def frequent(found: Sequence[Mistake]) -> list[Mistake]:
    """Of the most frequent confusions two examples each, of all mistakes, the surest first."""
    kinds: defaultdict[tuple[str, str], list[Mistake]] = defaultdict(list)
    for mistake in found:
        kinds[mistake.actual, mistake.answered].append(mistake)
    ordered = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    return [mistake for _, own in ordered for mistake in own[:_OF_A_KIND]][:MOST]


def surest(found: Sequence[Mistake]) -> list[Mistake]:
    """The mistakes of which the model is surest, of all, the surest first."""
    return list(found[:MOST])
