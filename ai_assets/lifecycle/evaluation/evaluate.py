"""Everything that an evaluation says, in one value that a report, the gate and the card read."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl
from numpy.typing import ArrayLike

from ai_assets.lifecycle.evaluation.bootstrap import Estimate, bootstrap
from ai_assets.lifecycle.evaluation.metrics import METRICS, scored
from ai_assets.lifecycle.evaluation.slices import evaluate_slices


@dataclass(frozen=True)
class Evaluation:
    """What was found about predictions of labelled rows.

    Attributes:
        metrics: Each metric with its interval.
        slices: The table of `evaluate_slices`.
        rows: Number of rows judged.
        positives: Number of them that are positive.
        threshold: Score at which a row is predicted positive.
    """

    metrics: dict[str, Estimate]
    slices: pl.DataFrame
    rows: int
    positives: int
    threshold: float

    def values(self) -> dict[str, float]:
        """The metrics that are defined, without their intervals: what a tracker logs."""
        return {name: e.value for name, e in self.metrics.items() if e.value is not None}

    def metrics_frame(self) -> pl.DataFrame:
        """`metric`, `value`, `low`, `high`, `words`: a row a metric."""
        rows = [[name, e.value, e.low, e.high, e.words] for name, e in self.metrics.items()]
        numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
        schema = {"metric": pl.String, **numbers, "words": pl.String}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def to_json(self) -> str:
        """Text that `from_json` reads back."""
        return json.dumps(
            {
                "metrics": {name: asdict(estimate) for name, estimate in self.metrics.items()},
                "slices": self.slices.to_dicts(),
                "slice_columns": {n: str(t) for n, t in self.slices.schema.items()},
                "rows": self.rows,
                "positives": self.positives,
                "threshold": self.threshold,
            }
        )

    @staticmethod
    def from_json(text: str) -> "Evaluation":
        """The evaluation that `to_json` wrote."""
        told = json.loads(text)
        types = {"String": pl.String, "Int64": pl.Int64, "Float64": pl.Float64}
        schema = {name: types[kind] for name, kind in told["slice_columns"].items()}
        return Evaluation(
            metrics={name: Estimate(**parts) for name, parts in told["metrics"].items()},
            slices=pl.DataFrame(told["slices"], schema=schema),
            rows=told["rows"],
            positives=told["positives"],
            threshold=told["threshold"],
        )


def evaluate_binary(
    y: ArrayLike,
    p: ArrayLike,
    threshold: float,
    *,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """All metrics of labels and scores, each [n], with bootstrap intervals.

    A metric that the rows cannot give (ROC-AUC of one class) has no value and says why in words.

    Raises:
        DataError: Labels or scores are not what they must be, or there are none.
    """
    rows = scored(y, p, threshold)
    return bootstrap(rows, tuple(METRICS), seed=seed, resamples=resamples, level=level)


def evaluate(
    frame: pl.DataFrame,
    y: ArrayLike,
    p: ArrayLike,
    threshold: float,
    slices: Sequence[str] = (),
    *,
    seed: int,
    resamples: int = 200,
    min_slice_rows: int = 100,
) -> Evaluation:
    """Judge scores `p` of rows with labels `y`, both [n]: the whole, and each slice of `frame`."""
    rows = scored(y, p, threshold)
    return Evaluation(
        metrics=bootstrap(rows, seed=seed, resamples=resamples),
        slices=evaluate_slices(frame, y, p, threshold, slices, min_slice_rows),
        rows=len(rows.y),
        positives=int(rows.y.sum()),
        threshold=threshold,
    )
