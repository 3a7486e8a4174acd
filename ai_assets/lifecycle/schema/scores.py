"""Scores in tables: a number a row, or of several classes a list of probabilities a row."""

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import numpy as np

# What each scored row has, and what it has besides of several classes.
SCORE = "probability"
SCORES = "probabilities"
# What drift calls the score, and of several classes the answer, beside the features.
SCORED = ("prediction", "answer")


def score_column(names: "list[str] | pl.Schema") -> str:
    """Name of the column with all that was scored, of a table with these columns."""
    return SCORES if SCORES in names else SCORE


def series_of(name: str, scores: "np.ndarray") -> pl.Series:
    """Scores [n] or [n, K] as a column: numbers, or lists of K numbers."""
    if scores.ndim == 1:
        return pl.Series(name, scores, dtype=pl.Float64)
    rows = pl.Series(name, scores, dtype=pl.Array(pl.Float64, scores.shape[1]))
    return rows.cast(pl.List(pl.Float64))


def scores_in(column: pl.Series) -> "np.ndarray":
    """Scores float64 [n] or [n, K] of a column that `series_of` made; no rows give [0]."""
    import numpy as np

    if not isinstance(column.dtype, pl.List | pl.Array) or not len(column):
        return column.to_numpy().astype(np.float64) if len(column) else np.empty(0)
    width = len(column[0])
    return column.cast(pl.Array(pl.Float64, width)).to_numpy().reshape(len(column), width)


def squeezed(predicted: "np.ndarray") -> "np.ndarray":
    """Predictions [n, K] as metrics take them: [n] where there is one column."""
    return predicted[:, 0] if predicted.shape[1] == 1 else predicted
