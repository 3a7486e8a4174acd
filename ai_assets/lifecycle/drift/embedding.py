"""Drift of embeddings: what a model makes of items, held to a sketch that a bundle can carry.

A sketch holds no row. Of standardised embeddings z it has

- moments: mean and standard deviation of each direction;
- principal components, and how far the reference's rows lie from them (reconstruction error);
- the mean of random Fourier features, phi(z) = sqrt(2 / m) cos(W z + b): the distance of two such
  means is the maximum mean discrepancy of a Gaussian kernel, which is zero only where the whole
  distributions agree (Gretton et al. 2012, "A kernel two-sample test"; Rahimi and Recht 2007,
  "Random features for large-scale kernel machines"). W and b are drawn again from the seed.

What chance does to the squared distance of n and m rows is a sum of chi-squares whose mean and
variance follow from the features' covariance (Gretton et al. 2012, theorem 8, with moments
matched). Blocks of consecutive rows of the reference tell by how much rows that come together vary
more than that.
"""

import json
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from ai_assets.lifecycle.drift.columns import Floats
from ai_assets.lifecycle.errors import DataError, must_be

FORMAT = 1
FEWEST_ROWS = 200
"""Fewer rows say too little of where items lie in so many directions."""
MOST_WIDE = 128
FREQUENCIES = 256
BLOCKS = 20
KEPT_SHARE = 0.9
MOST_KEPT = 32
CHANCE = 0.001
# Directions that hardly vary in the reference may begin to; beyond this they tell no more.
_CLIP = 8.0
_LEAST_SCALE = 0.1
_LEAST_TRACE = 1e-6
_PAIRS = 2_000
_DIGITS = 5


@dataclass(frozen=True)
class EmbeddingSketch:
    """Where the reference's items lie.

    Attributes:
        rows: Items of the reference.
        width: Numbers of an embedding, before wide ones are projected at random.
        seed: Of all that is drawn at random.
        mean: Of each direction [d].
        scale: Of each direction [d], its standard deviation, or a tenth of all directions' mean.
        bandwidth: Of the kernel: the median distance of two items.
        features: Mean of the random Fourier features [m].
        trace: Trace of the features' covariance: what is left of 1 beside their mean.
        trace_of_square: Trace of its square.
        clumping: Mean squared distance of blocks of consecutive rows, by what independent rows
            would have; at least 1.
        components: Principal directions that are kept [d, k].
        error: Mean reconstruction error of a row.
        error_std: Its standard deviation over rows.
    """

    rows: int
    width: int
    seed: int
    mean: list[float]
    scale: list[float]
    bandwidth: float
    features: list[float]
    trace: float
    trace_of_square: float
    clumping: float
    components: list[list[float]]
    error: float
    error_std: float

    def to_json(self) -> str:
        """Text that `from_json` reads back; the same sketch gives the same text."""
        return json.dumps({"format": FORMAT} | asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "EmbeddingSketch":
        """What `to_json` wrote.

        Raises:
            DataError: it was written by another version of this code.
        """
        told: dict[str, Any] = json.loads(text)
        if (found := told.pop("format", None)) != FORMAT:
            raise DataError(must_be("the format of the embedding's sketch", str(FORMAT), found))
        return EmbeddingSketch(**told)


@dataclass(frozen=True)
class EmbeddingDrift:
    """How far items lie from the reference's.

    Attributes:
        rows: Items compared.
        effect: Maximum mean discrepancy beyond chance's mean, in standard deviations of an item
            among the reference's; 0 where there is none.
        chance: What chance alone reaches once in a thousand comparisons.
        ratio: Mean reconstruction error by the reference's.
        ratio_z: Their difference by what chance explains.
        shift: Root mean square of how far the directions' means moved, in standard deviations.
    """

    rows: int
    effect: float
    chance: float
    ratio: float
    ratio_z: float
    shift: float


def sketch_of(embeddings: np.ndarray, *, seed: int = 0) -> EmbeddingSketch | None:
    """The sketch of a reference; None of too few items, or of items that are all alike.

    Args:
        embeddings: [n, D], consecutive rows in the order in which items came.
        seed: of the random features.
    """
    rows, width = embeddings.shape
    if rows < FEWEST_ROWS:
        return None
    seen = _narrow(embeddings, seed)
    mean, std = seen.mean(axis=0), seen.std(axis=0)
    scale = np.maximum(std, max(_LEAST_SCALE * float(std.mean()), 1e-9))
    # What is stored is what is used, here as by whoever reads it.
    mean, scale = mean.round(_DIGITS), np.maximum(scale.round(_DIGITS), 10.0**-_DIGITS)
    standard = _standardised(seen, mean, scale)
    bandwidth = _median_distance(standard, seed)
    told = _fourier(standard, bandwidth, seed)
    centre = told.mean(axis=0)
    covariance = np.cov(told, rowvar=False, ddof=0)
    trace, square = float(np.trace(covariance)), float((covariance**2).sum())
    if trace < _LEAST_TRACE:
        return None
    components = _components(standard)
    errors = _errors(standard, components)
    return EmbeddingSketch(
        rows=rows,
        width=width,
        seed=seed,
        mean=mean.tolist(),
        scale=scale.tolist(),
        bandwidth=bandwidth,
        features=centre.round(_DIGITS + 1).tolist(),
        trace=trace,
        trace_of_square=square,
        clumping=_clumping(told, centre, trace),
        components=components.tolist(),
        error=float(errors.mean()),
        error_std=float(errors.std()),
    )


def embedding_drift(sketch: EmbeddingSketch, embeddings: np.ndarray) -> EmbeddingDrift:
    """Measure items [n, D] against the reference.

    Raises:
        DataError: there are none, or they are of another width: another model made them.
    """
    rows, width = embeddings.shape
    if not rows or width != sketch.width:
        words = f"at least one row of {sketch.width} numbers"
        raise DataError(must_be("embeddings", words, f"{rows} of {width}"))
    mean, scale = np.array(sketch.mean), np.array(sketch.scale)
    standard = _standardised(_narrow(embeddings, sketch.seed), mean, scale)
    told = _fourier(standard, sketch.bandwidth, sketch.seed)
    squared = float(((told.mean(axis=0) - np.array(sketch.features)) ** 2).sum())
    share = (1 / rows + 1 / sketch.rows) * sketch.clumping
    errors = _errors(standard, np.array(sketch.components))
    spread = sketch.error_std * sqrt(share)
    return EmbeddingDrift(
        rows=rows,
        effect=sqrt(max(0.0, squared - share * sketch.trace) / sketch.trace),
        chance=sqrt(max(0.0, _quantile(sketch) * share - share * sketch.trace) / sketch.trace),
        ratio=float(errors.mean()) / max(sketch.error, 1e-9),
        ratio_z=(float(errors.mean()) - sketch.error) / max(spread, 1e-9),
        shift=float(np.sqrt((standard.mean(axis=0) ** 2).mean())),
    )


def _quantile(sketch: EmbeddingSketch) -> float:
    """What a squared distance exceeds by chance once in a thousand, for a share of one."""
    from scipy.special import chdtri

    weight = sketch.trace_of_square / sketch.trace
    return float(weight * chdtri(sketch.trace / weight, CHANCE))


def _narrow(embeddings: np.ndarray, seed: int) -> Floats:
    """The embeddings [n, d]; wide ones projected at random, which keeps distances nearly."""
    found = np.nan_to_num(np.asarray(embeddings, dtype=np.float64))
    width = found.shape[1]
    if width <= MOST_WIDE:
        return found
    drawn = np.random.default_rng([seed, 1]).normal(size=(width, MOST_WIDE))
    return np.asarray(found @ (drawn / sqrt(MOST_WIDE)))


def _standardised(values: Floats, mean: Floats, scale: Floats) -> Floats:
    return np.clip((values - mean) / scale, -_CLIP, _CLIP)


def _median_distance(values: Floats, seed: int) -> float:
    drawn = np.random.default_rng([seed, 2]).integers(0, len(values), size=(2, _PAIRS))
    far = np.sqrt(((values[drawn[0]] - values[drawn[1]]) ** 2).sum(axis=1))
    apart = far[far > 0]
    return float(np.median(apart).round(_DIGITS)) if len(apart) else 1.0


def _fourier(values: Floats, bandwidth: float, seed: int) -> Floats:
    """Random Fourier features [n, m] of a Gaussian kernel."""
    drawn = np.random.default_rng([seed, 3])
    weights = drawn.normal(size=(values.shape[1], FREQUENCIES)) / bandwidth
    phases = drawn.uniform(0, 2 * np.pi, FREQUENCIES)
    return np.asarray(sqrt(2 / FREQUENCIES) * np.cos(values @ weights + phases))


def _clumping(told: Floats, centre: Floats, trace: float) -> float:
    rows = len(told)
    size = rows // BLOCKS
    means = told[: size * BLOCKS].reshape(BLOCKS, size, -1).mean(axis=1)
    squared = ((means - centre) ** 2).sum(axis=1).mean()
    # A block is part of what it is compared with.
    return max(1.0, float(squared / (trace * (1 / size - 1 / rows))))


def _components(standard: Floats) -> Floats:
    """Directions [d, k] that tell most of how the reference's items differ."""
    centred = standard - standard.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    shares = np.cumsum(variances[::-1]) / max(float(variances.sum()), 1e-12)
    width = standard.shape[1]
    kept = min(MOST_KEPT, max(1, width - 1), int(np.searchsorted(shares, KEPT_SHARE)) + 1)
    return np.asarray(directions[:, ::-1][:, :kept].round(_DIGITS))


def _errors(standard: Floats, components: Floats) -> Floats:
    """How far each row lies from what the components tell of it [n]."""
    left = standard - (standard @ components) @ components.T
    return np.asarray(np.sqrt((left**2).sum(axis=1)))
