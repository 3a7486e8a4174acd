"""Labels against calibrated scores: a changed concept is what the covariates do not explain.

Where a score is calibrated, label minus score has mean 0 whatever the covariates' distribution, as
long as the relation of label to features stands (Widmann et al. 2019, "Calibration tests in
multi-class classification"). So drift of covariates alone leaves these residuals, and a changed
relation moves them: over all rows, within a segment, or along the score. Days differ, and rows of a
day are alike, so standard errors are over blocks of days.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from ai_assets.lifecycle.schema.calibration import logit
from ai_assets.lifecycle.tally import tally
from ai_assets.lifecycle.verdict.evidence import Evidence, below, beyond
from ai_assets.lifecycle.verdict.spec import Causes

FEWEST_SEGMENT = 100
MOST_VALUES = 50
QUARTERS = 4
FEWEST_BLOCKS = 5
# A slope differs from its reference if it is at least so many standard errors away.
SLOPE_ERRORS = 3


@dataclass(frozen=True)
class Labelled:
    """Rows whose outcome is known.

    Attributes:
        labels: 0 or 1, float64 [n]; of several classes whether the answer was right.
        scores: Calibrated probabilities of label 1, float64 [n].
        segments: Frame [n] of columns to look within: features, columns of the request.
        blocks: The block (day) of each row, [n]; None takes 20 blocks in order.
        event: What a label of 1 means, in words.
    """

    labels: np.ndarray
    scores: np.ndarray
    segments: pl.DataFrame
    blocks: np.ndarray | None = None
    event: str = "the outcome came"

    def evidence(self, spec: Causes, reference: "Calibrated | None" = None) -> list[Evidence]:
        """As `concept_evidence`."""
        return concept_evidence(self, spec, reference)

    def calibrated(self) -> "Calibrated":
        """As `calibrated`."""
        return calibrated(self)


def labelled(
    labels: np.ndarray,
    scores: np.ndarray,
    segments: pl.DataFrame,
    blocks: np.ndarray | None = None,
) -> Labelled:
    """Rows of a binary task, or of several classes.

    Of those it is judged whether the answer is right as often as its probability promises: the
    calibration of confidence (Guo et al. 2017), which a changed relation breaks as well.

    Args:
        labels: 0 or 1, or the number of the class, [n].
        scores: P(positive) [n], or probabilities of the classes [n, K].
        segments: As in `Labelled`.
        blocks: As in `Labelled`.
    """
    if scores.ndim == 1:
        return Labelled(labels, scores, segments, blocks)
    right = np.where(np.isnan(labels), np.nan, labels == scores.argmax(axis=1))
    return Labelled(right, scores.max(axis=1), segments, blocks, "the answer was right")


@dataclass(frozen=True)
class Calibrated:
    """How labels lay beside scores on the reference's held-out rows. The default is ideal.

    Attributes:
        residual: Mean of label minus score.
        slope: Slope of the labels' log odds on the score's; of a regression of labels on scores.
        error: Of a regression the root mean square of label minus score; else None.
    """

    residual: float = 0.0
    slope: float = 1.0
    error: float | None = None


def concept_evidence(
    rows: Labelled, spec: Causes, reference: Calibrated | None = None
) -> list[Evidence]:
    """The ways in which labels contradict their scores, the severest first."""
    known = np.isfinite(rows.labels) & np.isfinite(rows.scores)
    if known.sum() < spec.min_rows:
        return []
    usual = reference or Calibrated()
    y, p = rows.labels[known], np.clip(rows.scores[known], 1e-6, 1 - 1e-6)
    blocks = blocks_of(rows.blocks, known)
    # A frame without columns has no rows to filter.
    segments = rows.segments.filter(pl.Series(known)) if rows.segments.width else rows.segments
    found = [
        *_overall(y, p, blocks, usual, spec, rows.event),
        *_slope(y, p, blocks, usual, spec),
        *_segments(y, p, blocks, segments, spec, rows.event),
    ]
    return sorted(found, key=lambda e: -e.severity)


def calibrated(rows: Labelled) -> Calibrated:
    """What a bundle keeps of its held-out rows, so that a usual miscalibration is no evidence."""
    known = np.isfinite(rows.labels) & np.isfinite(rows.scores)
    y, p = rows.labels[known], np.clip(rows.scores[known], 1e-6, 1 - 1e-6)
    if not len(y) or y.min() == y.max():
        return Calibrated()
    return Calibrated(float((y - p).mean()), slope_of(y, p)[0])


def blocks_of(given: np.ndarray | None, known: np.ndarray) -> np.ndarray:
    """Block numbers from 0 of the known rows (a mask [n]); None given takes 20 in order."""
    if given is not None:
        blocks = np.unique(given[known], return_inverse=True)[1]
        if blocks.max(initial=0) + 1 >= FEWEST_BLOCKS:
            return blocks
    count = int(known.sum())
    return np.arange(count) * 20 // max(count, 1)


def block_error(residual: np.ndarray, blocks: np.ndarray) -> float:
    """Standard error of the mean residual, with blocks as the units that vary."""
    present, place = np.unique(blocks, return_inverse=True)
    if len(present) < 2:
        return np.inf
    centred = residual - residual.mean()
    sums = np.bincount(place, weights=centred)
    count = len(present)
    return float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(residual))


def expected_loss(scores: np.ndarray) -> np.ndarray:
    """Log loss [n] that calibrated scores expect of themselves: their entropy, in nats."""
    p = np.clip(scores, 1e-6, 1 - 1e-6)
    return -(p * np.log(p) + (1 - p) * np.log1p(-p))


def realised_loss(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Log loss [n] of the labels, in nats."""
    p = np.clip(scores, 1e-6, 1 - 1e-6)
    return -(labels * np.log(p) + (1 - labels) * np.log1p(-p))


def slope_of(y: np.ndarray, p: np.ndarray) -> tuple[float, np.ndarray]:
    """Slope of the logistic regression of labels on log odds, and each row's influence [n, 2].

    Cox (1958). By Newton's steps; influence is over intercept and slope.
    """
    x = np.column_stack([np.ones(len(y)), logit(p)])
    at = np.array([0.0, 1.0])
    hessian = np.eye(2)
    for _ in range(50):
        q = 1 / (1 + np.exp(-np.clip(x @ at, -30, 30)))
        hessian = (x * (q * (1 - q))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (y - q))
        at = at + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    q = 1 / (1 + np.exp(-np.clip(x @ at, -30, 30)))
    influence = np.linalg.solve(hessian, (x * (y - q)[:, None]).T).T
    return float(at[1]), influence


def _overall(
    y: np.ndarray, p: np.ndarray, blocks: np.ndarray, usual: Calibrated, spec: Causes, event: str
) -> list[Evidence]:
    mean = float((y - p).mean()) - usual.residual
    limit = max(spec.residual, spec.z * block_error(y - p, blocks))
    if abs(mean) < limit:
        return []
    realised, expected = realised_loss(y, p).mean(), expected_loss(p).mean()
    words = (
        f"{event} in {y.mean():.1%} of the rows, expected were {p.mean():.1%} "
        f"(log loss {realised:.3f}, expected {expected:.3f})"
    )
    return [evidence_of("base_rate", "label", abs(mean), limit, words)]


def _slope(
    y: np.ndarray, p: np.ndarray, blocks: np.ndarray, usual: Calibrated, spec: Causes
) -> list[Evidence]:
    if y.min() == y.max() or logit(p).std() < 1e-3:
        return []
    slope, influence = slope_of(y, p)
    told = "scores tell the outcome less than before: the slope of labels on scores"
    return flatter(slope, influence[:, 1], blocks, usual, spec, told)


def flatter(
    slope: float,
    influence: np.ndarray,
    blocks: np.ndarray,
    usual: Calibrated,
    spec: Causes,
    told: str,
) -> list[Evidence]:
    """Evidence of a slope that is less steep than the reference's, by more than chance explains.

    Args:
        slope: Of outcomes on what was predicted.
        influence: Of each row on the slope, [n].
        blocks: Block numbers, [n].
        usual: The reference.
        spec: The limits.
        told: What is said of it, up to the slope itself.
    """
    error = float(np.sqrt((np.bincount(blocks, weights=influence) ** 2).sum()))
    relative = slope / usual.slope if usual.slope > 0 else slope
    if relative > spec.slope or (1 - relative) < SLOPE_ERRORS * error:
        return []
    words = f"{told} is {slope:.2f}, before {usual.slope:.2f}"
    severity = below(relative, spec.slope)
    return [Evidence("concept_drift", "relation", "label", slope, spec.slope, words, severity)]


def _segments(
    y: np.ndarray,
    p: np.ndarray,
    blocks: np.ndarray,
    frame: pl.DataFrame,
    spec: Causes,
    event: str,
) -> list[Evidence]:
    def alone(rows: np.ndarray) -> float:
        return float(np.sqrt((p[rows] * (1 - p[rows])).sum())) / int(rows.sum())

    def say(words: str, rows: np.ndarray) -> str:
        return (
            f"where {words}, {event} in {y[rows].mean():.1%} of the rows, "
            f"expected were {p[rows].mean():.1%}"
        )

    return worst_segments(
        y - p, blocks, frame, spec, least=spec.segment_residual, alone=alone, say=say
    )


def worst_segments(
    residual: np.ndarray,
    blocks: np.ndarray,
    frame: pl.DataFrame,
    spec: Causes,
    *,
    least: float,
    alone: Callable[[np.ndarray], float],
    say: Callable[[str, np.ndarray], str],
) -> list[Evidence]:
    """The segment of each column that contradicts its scores most, if beyond the limits.

    Judged beside the other rows, so that a miscalibration of all rows is not told twice.

    Args:
        residual: Label minus score, [n].
        blocks: Block numbers, [n].
        frame: The columns to look within, [n].
        spec: The limits.
        least: The least gap between the mean residuals of a segment and of the others.
        alone: The standard error of the mean of a segment's rows (a mask [n]), were they
            independent.
        say: What is said of a segment, from its words and its mask.
    """
    found = []
    for name in frame.columns:
        worst: tuple[float, Evidence] | None = None
        for words, rows in segments_of(frame[name]):
            count = int(rows.sum())
            if (
                count < max(FEWEST_SEGMENT, spec.segment_share * len(residual))
                or count > len(residual) - FEWEST_SEGMENT
            ):
                continue
            inside, others = residual[rows], residual[~rows]
            gap = float(inside.mean() - others.mean())
            # Few blocks may agree by chance, so the error is never less than independent rows'.
            error = max(alone(rows), block_error(inside, blocks[rows]))
            limit = max(least, spec.z * error)
            if abs(gap) < limit or (worst is not None and abs(gap) <= worst[0]):
                continue
            worst = abs(gap), evidence_of("segment", name, abs(gap), limit, say(words, rows))
        if worst is not None:
            found.append(worst[1])
    return found


def segments_of(column: pl.Series) -> list[tuple[str, np.ndarray]]:
    """Segments of a column in words, with a mask [n]: the commonest texts, a number's quarters."""
    if column.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum):
        texts = column.cast(pl.String)
        common = tally(texts.drop_nulls(), sort=True)["value"].head(MOST_VALUES)
        return [
            (f"{column.name} is {value}", (texts == value).fill_null(False).to_numpy())
            for value in common
        ]
    if not column.dtype.is_numeric():
        return []
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = values[np.isfinite(values)]
    if len(known) < QUARTERS * FEWEST_SEGMENT:
        return []
    edges = np.unique(np.quantile(known, np.arange(1, QUARTERS) / QUARTERS))
    with np.errstate(invalid="ignore"):
        low = (f"{column.name} is at most {edges[0]:g}", values <= edges[0])
        inner = [
            (f"{column.name} is above {a:g} and at most {b:g}", (values > a) & (values <= b))
            for a, b in pairwise(edges.tolist())
        ]
        return [low, *inner, (f"{column.name} is above {edges[-1]:g}", values > edges[-1])]


def evidence_of(kind: str, subject: str, value: float, limit: float, words: str) -> Evidence:
    """Evidence of a changed concept."""
    return Evidence("concept_drift", kind, subject, value, limit, words, beyond(value, limit))
