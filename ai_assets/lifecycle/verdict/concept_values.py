"""Outcomes of a regression against what was predicted: a changed concept in the target's own unit.

As in `concept`: where the relation of outcome to inputs stands, outcome minus prediction keeps its
mean, whatever the inputs' distribution; and it keeps its size, as far as inputs that are harder to
tell have not become more common, which drift of inputs would tell. Everything is measured beside
what the bundle's own test rows had.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.verdict.concept import (
    Calibrated,
    Labelled,
    block_error,
    blocks_of,
    evidence_of,
    flatter,
    labelled,
    worst_segments,
)
from ai_assets.lifecycle.verdict.evidence import Evidence
from ai_assets.lifecycle.verdict.spec import Causes

SCALE = 2.0
"""Limits of residuals are made for probabilities, whose standard deviation is at most a half of
their range. So those of a regression are shares of twice its usual error."""


@dataclass(frozen=True)
class LabelledValues:
    """Rows of a regression whose outcome is known.

    Attributes:
        labels: Outcomes, float64 [n].
        scores: Predictions, float64 [n], in the same unit.
        segments: Frame [n] of columns to look within: features, columns of the request.
        blocks: The block (day) of each row, [n]; None takes 20 blocks in order.
    """

    labels: np.ndarray
    scores: np.ndarray
    segments: pl.DataFrame
    blocks: np.ndarray | None = None

    def evidence(self, spec: Causes, reference: Calibrated | None = None) -> list[Evidence]:
        """The ways in which outcomes contradict the predictions, the severest first.

        Nothing where there is no reference: of numbers nobody knows beforehand how far they may
        lie apart.
        """
        known = _known(self)
        if reference is None or reference.error is None or known.sum() < spec.min_rows:
            return []
        y, p = self.labels[known], self.scores[known]
        blocks = blocks_of(self.blocks, known)
        segments = self.segments.filter(pl.Series(known)) if self.segments.width else self.segments
        found = [
            *_bias(y, p, blocks, reference, reference.error, spec),
            *_error(y, p, blocks, reference.error, spec),
            *_slope(y, p, blocks, reference, spec),
            *_segments(y, p, blocks, segments, reference.error, spec),
        ]
        return sorted(found, key=lambda e: -e.severity)

    def calibrated(self) -> Calibrated:
        """What a bundle keeps of its held-out rows; the default where there are too few."""
        known = _known(self)
        y, p = self.labels[known], self.scores[known]
        if not len(y):
            return Calibrated()
        residual = y - p
        slope = slope_of_values(y, p)[0] if p.std() > 0 else 1.0
        return Calibrated(float(residual.mean()), slope, float(np.sqrt((residual**2).mean())))


AnyLabelled = Labelled | LabelledValues
LABELLED: dict[
    str, Callable[[np.ndarray, np.ndarray, pl.DataFrame, np.ndarray | None], AnyLabelled]
] = {"binary": labelled, "multiclass": labelled, "regression": LabelledValues}
"""Rows with outcomes, by the product's task: labels, scores, segments and blocks."""


def slope_of_values(y: np.ndarray, p: np.ndarray) -> tuple[float, np.ndarray]:
    """Slope of outcomes on predictions by least squares, and each row's influence on it, [n]."""
    centred = p - p.mean()
    square = float((centred**2).sum())
    slope = float((centred * (y - y.mean())).sum()) / square
    left = y - y.mean() - slope * centred
    return slope, centred * left / square


def _known(rows: LabelledValues) -> np.ndarray:
    found: np.ndarray = np.isfinite(rows.labels) & np.isfinite(rows.scores)
    return found


def _bias(
    y: np.ndarray,
    p: np.ndarray,
    blocks: np.ndarray,
    usual: Calibrated,
    error: float,
    spec: Causes,
) -> list[Evidence]:
    mean = float((y - p).mean()) - usual.residual
    limit = max(SCALE * spec.residual * error, spec.z * block_error(y - p, blocks))
    if abs(mean) < limit or not limit:
        return []
    words = (
        f"outcomes are {y.mean():.4g} in the mean, expected were {p.mean() + usual.residual:.4g}"
    )
    return [evidence_of("bias", "label", abs(mean), limit, words)]


def _error(
    y: np.ndarray, p: np.ndarray, blocks: np.ndarray, error: float, spec: Causes
) -> list[Evidence]:
    """A larger error than the usual one; that of the mean is left to the bias."""
    square = (y - p - (y - p).mean()) ** 2
    grown = float(np.sqrt(square.mean()))
    surely = square.mean() - error**2 > spec.z * block_error(square, blocks)
    if not error or grown < spec.error * error or not surely:
        return []
    words = f"the error (root mean square) is {grown:.4g}, on the bundle's test rows {error:.4g}"
    limit = spec.error * error
    return [evidence_of("error", "label", grown, limit, words)]


def _slope(
    y: np.ndarray, p: np.ndarray, blocks: np.ndarray, usual: Calibrated, spec: Causes
) -> list[Evidence]:
    if not p.std():
        return []
    slope, influence = slope_of_values(y, p)
    told = "predictions tell the outcome less than before: the slope of outcomes on predictions"
    return flatter(slope, influence, blocks, usual, spec, told)


def _segments(
    y: np.ndarray,
    p: np.ndarray,
    blocks: np.ndarray,
    frame: pl.DataFrame,
    error: float,
    spec: Causes,
) -> list[Evidence]:
    def say(words: str, rows: np.ndarray) -> str:
        return (
            f"where {words}, outcomes are {y[rows].mean():.4g} in the mean, expected were "
            f"{p[rows].mean():.4g}"
        )

    return worst_segments(
        y - p,
        blocks,
        frame,
        spec,
        least=SCALE * spec.segment_residual * error,
        alone=lambda rows: error / float(np.sqrt(rows.sum())),
        say=say,
    )
