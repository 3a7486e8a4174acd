"""How far estimates were off, once labels told, and whether they beat the nearest simple guess.

That guess is the last realised value carried forward: what one would say of a partition without
labels if nothing was estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.metrics import get_metric

SCHEMA = {
    "partition": pl.String,
    "estimate": pl.Float64,
    "estimate_low": pl.Float64,
    "estimate_high": pl.Float64,
    "realised": pl.Float64,
    "realised_low": pl.Float64,
    "realised_high": pl.Float64,
    "carried": pl.Float64,
    "valid": pl.Boolean,
}


@dataclass(frozen=True)
class Told:
    """What one partition's performance was estimated to be, and what it was.

    Attributes:
        partition: The partition's key.
        estimate: From its scores alone.
        realised: From its labels; None as long as they are not known.
        valid: Whether the estimate can be right. It cannot where concept drift is confirmed: the
            scores promise what the labels no longer keep.
    """

    partition: str
    estimate: Estimate
    realised: Estimate | None = None
    valid: bool = True


@dataclass(frozen=True)
class EstimateQuality:
    """Mean absolute errors over the partitions that have an estimate, a guess and a realised value.

    Attributes:
        metric: What was estimated.
        partitions: How many partitions were compared.
        error: Of the estimates; None without a partition.
        carried_error: Of the last realised value carried forward.
        worst: Largest absolute error of an estimate.
        within: Share of realised values inside the estimate's interval.
    """

    metric: str
    partitions: int
    error: float | None = None
    carried_error: float | None = None
    worst: float | None = None
    within: float | None = None

    @property
    def better(self) -> bool:
        """Whether estimates were nearer than the value carried forward."""
        return (
            self.error is not None
            and self.carried_error is not None
            and self.error < self.carried_error
        )

    def __str__(self) -> str:
        if self.error is None:
            return f"No partition has an estimate of {self.metric}, a guess and a realised value."
        return (
            f"Over {self.partitions} partitions the estimate of {self.metric} was off by "
            f"{self.error:.4f}, the last realised value by {self.carried_error:.4f}."
        )


def history(told: Sequence[Told], delay: int = 1) -> pl.DataFrame:
    """A row a partition, in the order given: estimate, realised value, and the one carried forward.

    Args:
        told: Partitions, oldest first.
        delay: Partitions until labels are known: 1 if those of a partition are when the next one
            ends.

    Raises:
        DeclarationError: `delay` is not positive.
    """
    if delay < 1:
        raise DeclarationError(must_be("delay", "1 or more", delay))
    rows, known = [], [_value(one.realised) for one in told]
    for place, one in enumerate(told):
        past = [value for value in known[: max(0, place - delay + 1)] if value is not None]
        found = one.realised or Estimate(None)
        rows.append(
            [
                one.partition,
                one.estimate.value,
                one.estimate.low,
                one.estimate.high,
                found.value,
                found.low,
                found.high,
                past[-1] if past else None,
                one.valid,
            ]
        )
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def estimate_quality(metric: str, told: Sequence[Told], delay: int = 1) -> EstimateQuality:
    """Compare estimates with what labels told, and with the value carried forward.

    Partitions of confirmed concept drift count too: leaving them out would flatter the estimates.
    """
    rows = history(told, delay).drop_nulls(["estimate", "realised", "carried"])
    if not rows.height:
        return EstimateQuality(metric, 0)
    known = rows["realised"].to_numpy()
    errors = np.abs(rows["estimate"].to_numpy() - known)
    judged = rows.drop_nulls(["estimate_low", "estimate_high"])
    inside = judged["realised"].is_between(judged["estimate_low"], judged["estimate_high"])
    return EstimateQuality(
        metric=metric,
        partitions=rows.height,
        error=float(errors.mean()),
        carried_error=float(np.abs(rows["carried"].to_numpy() - known).mean()),
        worst=float(errors.max()),
        within=int(inside.sum()) / judged.height if judged.height else None,
    )


def widened(metric: str, estimate: Estimate, past: Sequence[Told]) -> Estimate:
    """The estimate with an interval that also holds what earlier estimates were off by.

    Chance alone makes `estimated`'s interval; that beliefs fade between two labelled partitions is
    known from the partitions before. Both are added as independent normal errors are, the second as
    1.96 times the root mean square of past errors. Unchanged with fewer than two of those.

    Args:
        metric: What was estimated.
        estimate: Of the partition, with the 95 % interval of chance.
        past: Earlier partitions, those with a realised value count.
    """
    errors = [
        one.estimate.value - one.realised.value
        for one in past
        if one.realised and one.realised.value is not None and one.estimate.value is not None
    ]
    if len(errors) < 2 or estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    drift = 1.96 * float(np.sqrt(np.mean(np.square(errors))))
    low = estimate.value - float(np.hypot(estimate.value - estimate.low, drift))
    high = estimate.value + float(np.hypot(estimate.high - estimate.value, drift))
    known = get_metric(metric)
    return replace(estimate, low=max(known.floor, low), high=min(known.ceiling, high))


def _value(estimate: Estimate | None) -> float | None:
    return estimate.value if estimate else None
