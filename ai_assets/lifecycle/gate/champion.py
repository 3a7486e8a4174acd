"""Challenger against champion: paired, on the same rows, which neither learned from."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.metrics import get_metric
from ai_assets.lifecycle.gate.beside import metrics_beside, nothing_beside
from ai_assets.lifecycle.gate.pair import Pair
from ai_assets.lifecycle.gate.spec import Champion, Rule

_SCHEMA = {
    "rows": pl.String,
    "count": pl.Int64,
    "champion": pl.Float64,
    "challenger": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "allowed": pl.String,
    "passed": pl.Boolean,
}


_JUDGED: dict[Rule, str] = {
    "better": "the difference",
    "clearly_better": "the interval",
    "not_clearly_worse": "some of the interval",
}


@dataclass(frozen=True)
class Comparison:
    """The outcome of the comparison.

    Attributes:
        passed: Whether the challenger may take the champion's place.
        rows: A row for all test rows and one for each slice: `rows`, `count`, `champion`,
            `challenger`, `difference` (challenger minus champion), its interval `low` to `high`,
            `allowed`, `passed`.
        words: The outcome in a sentence.
        metrics: Every metric of both on all test rows, as `metrics_beside` gives them.
    """

    passed: bool
    rows: pl.DataFrame
    words: str
    metrics: pl.DataFrame = field(default_factory=nothing_beside)


def no_comparison(words: str) -> Comparison:
    """There is nobody to compare with."""
    return Comparison(True, pl.DataFrame(schema=_SCHEMA), words)


def compare(
    pair: Pair,
    spec: Champion,
    *,
    slices: pl.DataFrame,
    blocks: np.ndarray | None,
    seed: int,
) -> Comparison:
    """Compare two versions on the same rows by the declared metric.

    The challenger passes if it is better by the margin: the difference lies beyond it, or the end
    of its interval that the rule names. In no slice may it be clearly worse by more than
    `slice_margin`: the better end of the slice's interval still is.

    Args:
        pair: labels, what is in production, and what would replace it.
        spec: the declaration.
        slices: columns [n] to look within.
        blocks: the block (day) of each row [n]; rows of a day are alike.
        seed: of the bootstrap.
    """
    rows = [_row("all", pair, spec, blocks, seed, whole=True)]
    for name in slices.columns:
        for value in slices[name].unique().drop_nulls().sort():
            inside = (slices[name] == value).fill_null(False).to_numpy()
            if inside.sum() < spec.slice_rows or len(np.unique(pair.y[inside])) < 2:
                continue
            block = None if blocks is None else blocks[inside]
            within = pair.at(inside)
            rows.append(_row(f"{name} = {value}", within, spec, block, seed, whole=False))
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    failed = table.filter(~pl.col("passed"))["rows"].to_list()
    beside = metrics_beside(pair, blocks=blocks, seed=seed)
    return Comparison(not failed, table, _words(table, failed, spec), beside)


def _row(
    name: str,
    pair: Pair,
    spec: Champion,
    blocks: np.ndarray | None,
    seed: int,
    *,
    whole: bool,
) -> list[object]:
    champion, challenger, found = pair.compared(spec.metric, blocks=blocks, seed=seed)
    metric = get_metric(spec.metric)
    sign = -1.0 if metric.higher_is_better else 1.0
    margin = metric.margin(spec.margin if whole else spec.slice_margin, champion)
    passed, allowed = (
        _whole(found, sign, margin, spec.rule) if whole else _slice(found, sign, margin)
    )
    values = [champion, challenger, found.value, found.low, found.high]
    return [name, len(pair.y), *values, allowed, passed]


def _whole(found: Estimate, sign: float, margin: float, rule: Rule) -> tuple[bool, str]:
    if found.value is None:
        return False, "a value"
    ends = [sign * end for end in (found.low, found.high) if end is not None]
    worse = sign * found.value
    if ends and rule != "better":
        worse = max(ends) if rule == "clearly_better" else min(ends)
    side = "below" if sign > 0 else "above"
    return worse < -margin, f"{_JUDGED[rule]} {side} {0.0 - sign * margin:g}"


def _slice(found: Estimate, sign: float, margin: float) -> tuple[bool, str]:
    allowed = f"not clearly worse by {margin:g}"
    if found.low is None or found.high is None:
        return True, allowed
    best = min(sign * found.low, sign * found.high)
    return best <= margin, allowed


def _words(table: pl.DataFrame, failed: list[str], spec: Champion) -> str:
    whole = table.row(0, named=True)
    numbers = (
        f"{spec.metric} {_short(whole['challenger'])} against the champion's "
        f"{_short(whole['champion'])} on {whole['count']:,} rows (difference "
        f"{_short(whole['difference'])}, 95 % interval {_short(whole['low'])} to "
        f"{_short(whole['high'])})"
    )
    lenient = spec.rule == "not_clearly_worse"
    if failed and failed[0] == "all":
        found = "clearly worse" if lenient else "not better enough"
        return f"The challenger is {found}: {numbers}."
    found = "not clearly worse" if lenient else "better"
    if not failed:
        return f"The challenger is {found}: {numbers}."
    return (
        f"The challenger is {found} over all, {numbers}, but clearly worse for {', '.join(failed)}."
    )


def _short(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
