"""What is left of a model's answers when something happens to the items that it reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.corruptions import SEVERITIES, corrupt, corruptions_of
from ai_assets.lifecycle.schema.tables import Column

Answers = Callable[[Sequence[Any]], np.ndarray]
"""From items to the numbers [n] of their answers."""
_SEVERITIES = {"image": SEVERITIES, "text": SEVERITIES[::2]}
"""A sentence encoder takes a hundred times as long for a text as a network for a small picture."""
MOST_ROWS = {"image": 400, "text": 150}
"""Rows to look at, by the kind of item."""


@dataclass(frozen=True)
class Robustness:
    """Accuracy under corruptions.

    Attributes:
        rows: how many items were looked at.
        clean: accuracy on them as they are.
        curve: `corruption`, `severity` from 1 to 5, `accuracy`.
        words: what each corruption does.
    """

    rows: int
    clean: float
    curve: pl.DataFrame
    words: Mapping[str, str]

    @property
    def mean(self) -> float:
        """Mean accuracy over all corruptions and severities."""
        return float(np.mean(self.curve["accuracy"].to_numpy()))

    @property
    def worst(self) -> str:
        """The corruption that the model withstands least, on average over its severities."""
        means = self.curve.group_by("corruption").agg(pl.mean("accuracy"))
        return str(means.sort("accuracy", "corruption")["corruption"][0])

    def table(self) -> pl.DataFrame:
        """A row a corruption: accuracy at each severity, and what it does."""
        wide = self.curve.with_columns(pl.col("severity").cast(pl.String)).pivot(
            "severity", index="corruption", values="accuracy"
        )
        return wide.with_columns(what=pl.col("corruption").replace_strict(self.words))


def measure_robustness(
    answers: Answers, items: Sequence[Any], y: np.ndarray, column: Column, seed: int
) -> Robustness:
    """Corrupt items in every way and see how many answers stay right.

    Args:
        answers: scores items as they are served.
        items: as they are cleaned, n of them.
        y: the right answers' numbers [n].
        column: the declared column of the items.
        seed: of what happens to them.
    """
    curve = [
        {"corruption": name, "severity": severity, "accuracy": _accuracy(answers, changed, y)}
        for name in corruptions_of(column)
        for severity in _SEVERITIES[column.type]
        for changed in [corrupt(items, column, name, severity, seed)]
    ]
    clean = _accuracy(answers, items, y)
    return Robustness(len(items), clean, pl.DataFrame(curve), corruptions_of(column))


def chosen(rows: int, most: int, seed: int) -> np.ndarray:
    """The places [<= most] of the rows that are looked at, in their order."""
    found: np.ndarray = np.sort(np.random.default_rng(seed).permutation(rows)[:most])
    return found


def _accuracy(answers: Answers, items: Sequence[Any], right: np.ndarray) -> float:
    return float(np.mean(answers(items) == right))
