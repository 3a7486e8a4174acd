"""From the encoded matrix to what linear and neural models can read: no holes, one scale."""

from dataclasses import dataclass, fields

import numpy as np

from ai_assets.lifecycle.learners.base import Dataset

RARE_ROWS = 10
"""A category with fewer training rows shares the weights of the unseen ones."""
_RARE_SHARE, _RARE_LEAST = 50, 2
"""Of few training rows rare is less than a fiftieth of them: of 64 rows of eight sorts no sort has
ten, and none would be told from another."""


@dataclass(frozen=True)
class Preparation:
    """Median imputation, a missing indicator, standardisation and category slots.

    A category's slot is its row in a table of weights (a one-hot product or an embedding). Each
    categorical column has its own slots; its first holds unseen, missing and rare categories.

    `numeric` [P] and `categorical` [C] are columns of the matrix; `holes` [M] are positions within
    `numeric` that had missing values in training; `sizes` [C] counts the categories; `starts` [C]
    is where a column begins in `slots`, which maps (code + 1) to a slot.
    """

    numeric: np.ndarray
    categorical: np.ndarray
    holes: np.ndarray
    median: np.ndarray
    mean: np.ndarray
    inverse_scale: np.ndarray
    limit: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray
    slots: np.ndarray

    @property
    def width(self) -> int:
        """Number of slots of all categorical columns together."""
        return int(self.slots.max()) + 1 if len(self.slots) else 0

    @property
    def dense_columns(self) -> np.ndarray:
        """The matrix's column behind each dense output column."""
        return np.concatenate([self.numeric, self.numeric[self.holes]])

    def transform(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Dense float32 [n, P + M] (scaled numbers, then indicators) and slots int64 [n, C].

        The arithmetic is float32 in the same order as in the ONNX graph, so both round alike.
        """
        numbers = x[:, self.numeric]
        missing = np.isnan(numbers)
        scaled = (np.where(missing, self.median, numbers) - self.mean) * self.inverse_scale
        scaled = np.clip(scaled, -self.limit, self.limit)
        dense = np.concatenate([scaled, missing[:, self.holes].astype(np.float32)], axis=1)
        return dense, self.slots[self._positions(x)]

    def _positions(self, x: np.ndarray) -> np.ndarray:
        codes = x[:, self.categorical]
        known = (codes >= 0) & (codes < self.sizes)  # false for NaN too
        return np.where(known, codes, -1).astype(np.int64) + 1 + self.starts

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The parts, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "Preparation":
        """Read the parts out of a larger set of arrays."""
        return cls(**{f.name: arrays[f.name] for f in fields(cls)})


def fit_preparation(train: Dataset, *, limit: float = 8.0) -> Preparation:
    """Learn the preparation.

    Args:
        train: rows to learn from; weights are ignored, for scale is no matter of cost.
        limit: scaled numbers are clipped here, in standard deviations: one absurd value must not
            decide a prediction.
    """
    columns = train.encoding.slots
    numeric = np.array(
        [i for i, c in enumerate(columns) if c.kind != "categorical"], dtype=np.int64
    )
    other = np.array(train.encoding.categorical, dtype=np.int64)
    numbers = train.x[:, numeric].astype(np.float64)
    missing = ~np.isfinite(numbers)
    median = np.array([_median(numbers[~missing[:, j], j]) for j in range(len(numeric))])
    filled = np.where(missing, median, numbers)
    scale = filled.std(axis=0)
    # A column that never varies carries nothing: its scaled value is 0, whatever comes later.
    inverse = np.where(scale > 1e-12, 1.0 / np.where(scale > 1e-12, scale, 1.0), 0.0)
    sizes = np.array([len(columns[i].categories) for i in other], dtype=np.int64)
    return Preparation(
        numeric=numeric,
        categorical=other,
        holes=np.flatnonzero(missing.any(axis=0)).astype(np.int64),
        median=median.astype(np.float32),
        mean=filled.mean(axis=0).astype(np.float32),
        inverse_scale=inverse.astype(np.float32),
        limit=np.array(limit, dtype=np.float32),
        sizes=sizes.astype(np.float32),
        starts=np.concatenate([[0], np.cumsum(sizes + 1)[:-1]]).astype(np.int64)[: len(other)],
        slots=_slots(train.x[:, other], sizes),
    )


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _slots(codes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    parts, start = [], 0
    least = min(RARE_ROWS, max(_RARE_LEAST, len(codes) // _RARE_SHARE))
    for column, size in enumerate(sizes):
        seen = codes[:, column]
        known = seen[(seen >= 0) & (seen < size)].astype(np.int64)
        kept = np.bincount(known, minlength=size) >= least
        own = np.where(kept, start + np.cumsum(kept), start)
        parts.append(np.concatenate([[start], own]))
        start += int(kept.sum()) + 1
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)
