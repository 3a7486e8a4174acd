"""Judge an evaluation and the served model's cost against the declared limits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.evaluation.evaluate import Evaluation
from ai_assets.lifecycle.gate.spec import Gate, MetricLimits

_SCHEMA = {
    "limit": pl.String,
    "value": pl.Float64,
    "allowed": pl.String,
    "passed": pl.Boolean,
}
_BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class GateResult:
    """The gate's answer.

    Attributes:
        passed: Whether every limit is met.
        rows: `limit`, `value` (null if undefined), `allowed`, `passed`: a row a limit.
        words: The answer in a sentence; names every limit that is not met.
    """

    passed: bool
    rows: pl.DataFrame
    words: str


@dataclass(frozen=True)
class _Limit:
    """One limit and what was found; no value never passes."""

    name: str
    value: float | None
    bound: float
    is_floor: bool
    unit: str = ""

    @property
    def allowed(self) -> str:
        return f"{'at least' if self.is_floor else 'at most'} {self.bound:g}{self.unit}"

    @property
    def passed(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.bound if self.is_floor else self.value <= self.bound

    @property
    def words(self) -> str:
        found = "undefined" if self.value is None else f"{self.value:.4g}{self.unit}"
        return f"{self.name} must be {self.allowed}, but is {found}"


@dataclass(frozen=True)
class GroupDifferences:
    """The largest difference between groups of each protected column, and what it may be.

    Attributes:
        criterion: What was compared, such as equal_opportunity.
        values: By column; None where it could not be judged.
        most: Largest allowed difference.
    """

    criterion: str
    values: Mapping[str, float | None]
    most: float


def judge(
    evaluation: Evaluation,
    compression: Mapping[str, Any] | None,
    spec: Gate,
    groups: GroupDifferences | None = None,
) -> GateResult:
    """Judge what will be served.

    Args:
        evaluation: Metrics and slices of what will be served.
        compression: What was measured of it: `size` in bytes, `p99` in ms a row. Needed only when
            the gate limits them.
        spec: The declared limits.
        groups: Differences between groups of people, where fairness is declared.

    Raises:
        DataError: A limited size or latency was not measured, or a limited metric not evaluated.
    """
    limits = list(_limits(evaluation, compression or {}, spec))
    if groups is not None:
        limits += [
            _Limit(f"{groups.criterion} difference of {column}", value, groups.most, False)
            for column, value in groups.values.items()
        ]
    rows = [[limit.name, limit.value, limit.allowed, limit.passed] for limit in limits]
    broken = [limit.words for limit in limits if not limit.passed]
    return GateResult(
        passed=not broken,
        rows=pl.DataFrame(rows, schema=_SCHEMA, orient="row"),
        words=_words(len(limits), broken),
    )


def _words(count: int, broken: list[str]) -> str:
    if broken:
        return f"{len(broken)} of {count} limits not met: {'; '.join(broken)}."
    if not count:
        return "Passed: no limit is declared."
    return f"Passed: all {count} limits are met." if count > 1 else "Passed: the one limit is met."


def _limits(evaluation: Evaluation, compression: Mapping[str, Any], spec: Gate) -> Iterator[_Limit]:
    for name, bound, is_floor in _bounds(spec):
        if name not in evaluation.metrics:
            raise DataError(must_be("a metric of the gate", evaluation.metrics, name))
        yield _Limit(name, evaluation.metrics[name].value, bound, is_floor)
    if spec.max_size is not None:
        size = _measured(compression, "size") / _BYTES_PER_MB
        yield _Limit("size", size, spec.max_size, False, " MB")
    if spec.max_p99 is not None:
        yield _Limit("p99", _measured(compression, "p99"), spec.max_p99, False, " ms")
    if spec.slices is not None:
        yield from _slice_limits(evaluation.slices, spec.slices)


def _bounds(limits: MetricLimits) -> Iterator[tuple[str, float, bool]]:
    yield from ((name, bound, True) for name, bound in limits.min.items())
    yield from ((name, bound, False) for name, bound in limits.max.items())


def _measured(compression: Mapping[str, Any], name: str) -> float:
    if compression.get(name) is None:
        raise DataError(f"The gate limits {name}, but compression did not measure it.")
    return float(compression[name])


def _slice_limits(slices: pl.DataFrame, spec: MetricLimits) -> Iterator[_Limit]:
    """A limit a slice. A slice without the metric (too few rows, one class) is not judged."""
    for name, bound, is_floor in _bounds(spec):
        if name not in slices.columns:
            raise DataError(must_be("a metric of slices", slices.columns[4::2], name))
        for column, value, found in slices.select("slice", "value", name).iter_rows():
            if found is not None:
                yield _Limit(f"{name} of {column}={value}", found, bound, is_floor)
