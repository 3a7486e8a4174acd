"""Everything that an evaluation says, in one value that a report, the gate and the card read."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from ai_assets.lifecycle.evaluation.binary import Scored
from ai_assets.lifecycle.evaluation.bootstrap import Estimate, bootstrap
from ai_assets.lifecycle.evaluation.classes import (
    CLASS_SCHEMA,
    ScoredClasses,
    table_of_classes,
)
from ai_assets.lifecycle.evaluation.costs import COST_SCHEMA, table_of_costs
from ai_assets.lifecycle.evaluation.metrics import AnyScored, metrics_of, scored
from ai_assets.lifecycle.evaluation.names import OF_COUNTS
from ai_assets.lifecycle.evaluation.slices import evaluate_slices
from ai_assets.lifecycle.evaluation.values import constant_errors
from ai_assets.lifecycle.schema.decision import CostMatrix
from ai_assets.lifecycle.schema.interval import Interval


@dataclass(frozen=True)
class Evaluation:
    """What was found about predictions of labelled rows.

    Attributes:
        metrics: Each metric with its interval.
        slices: The table of `evaluate_slices`.
        rows: Number of rows judged.
        positives: Number of them that are positive; None of what is not binary.
        threshold: Score at which a row is predicted positive; None of what is not binary.
        classes: The table of `table_of_classes`; no rows but of several classes.
        constant: Of a regression the errors of the best constant answer, by metric; else empty.
        costs: The table of `table_of_costs`; no rows where no costs are declared.
        judged: How rows were judged where none were set aside for it, in words; else empty.
    """

    metrics: dict[str, Estimate]
    slices: pl.DataFrame
    rows: int
    positives: int | None
    threshold: float | None
    classes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CLASS_SCHEMA))
    constant: dict[str, float] = field(default_factory=dict)
    costs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=COST_SCHEMA))
    judged: str = ""

    @property
    def base_rate_log_loss(self) -> float:
        """Log loss of always answering the shares of the classes: their entropy, in nats."""
        if self.positives is None:
            counts = self.classes["rows"].to_numpy()
        else:
            counts = np.array([self.positives, self.rows - self.positives])
        shares = counts[counts > 0] / self.rows
        return abs(float((shares * np.log(shares)).sum()))

    def values(self) -> dict[str, float]:
        """The metrics that are defined, without their intervals: what a tracker logs."""
        return {name: e.value for name, e in self.metrics.items() if e.value is not None}

    def metrics_frame(self) -> pl.DataFrame:
        """A row a metric: `metric`, `value`, `low`, `high`, and in `words` why it has no value."""
        rows = [[name, e.value, e.low, e.high, e.words or None] for name, e in self.metrics.items()]
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
                "classes": self.classes.to_dicts(),
                **({"constant": self.constant} if self.constant else {}),
                **({"costs": self.costs.to_dicts()} if self.costs.height else {}),
                **({"judged": self.judged} if self.judged else {}),
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
            classes=pl.DataFrame(told.get("classes", []), schema=CLASS_SCHEMA),
            constant=told.get("constant", {}),
            costs=pl.DataFrame(told.get("costs", []), schema=COST_SCHEMA),
            judged=told.get("judged", ""),
        )


def evaluate(
    frame: pl.DataFrame,
    y: ArrayLike,
    p: ArrayLike,
    threshold: float,
    slices: Sequence[str] = (),
    *,
    seed: int,
    classes: Sequence[str] = (),
    resamples: int = 200,
    min_slice_rows: int = 100,
    values: bool = False,
    interval: Interval | None = None,
    costs: CostMatrix | None = None,
    counts: bool = False,
) -> Evaluation:
    """Judge scores of labelled rows: the whole, and each slice of `frame`.

    A metric that the rows cannot give (ROC-AUC of one class) has no value and says why in words.

    Args:
        frame: The slice columns, a row for each label.
        y: Labels [n].
        p: P(positive) [n], of several classes [n, K], or predicted values [n].
        threshold: Score from which on a row is predicted positive; else nothing is read.
        slices: Names of the slice columns.
        seed: Of the bootstrap.
        classes: Names of several classes, K.
        resamples: How many times rows are drawn.
        min_slice_rows: Values with fewer rows are judged together.
        values: Whether labels and scores are the values of a regression.
        interval: Of a regression: the interval around each value.
        costs: Of classes: what answers cost.
        counts: Whether the values are counts.

    Raises:
        DataError: Labels or scores are not what they must be, or there are none.
    """
    rows = scored(y, p, threshold, values=values, interval=interval, costs=costs)
    binary = isinstance(rows, Scored)
    return Evaluation(
        metrics=bootstrap(rows, names_of(rows, counts), seed=seed, resamples=resamples),
        slices=evaluate_slices(
            frame,
            y,
            p,
            threshold,
            slices,
            min_slice_rows,
            values=values,
            interval=interval,
            costs=costs,
        ),
        rows=len(rows.y),
        positives=int(rows.y.sum()) if binary else None,
        threshold=threshold if binary else None,
        classes=table_of_classes(rows, classes)
        if isinstance(rows, ScoredClasses)
        else pl.DataFrame(schema=CLASS_SCHEMA),
        constant=constant_errors(rows.y, counts=counts) if values else {},
        costs=table_of_costs(rows, classes, seed=seed, resamples=resamples),
    )


def names_of(rows: AnyScored, counts: bool) -> tuple[str, ...]:
    """Names of the metrics to judge rows by; of counts their own first."""
    return (OF_COUNTS if counts else ()) + metrics_of(rows)
