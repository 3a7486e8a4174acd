"""What is said of fairness: the check's words, the gate's figures and the card's section."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from ai_assets.lifecycle.fairness.judge import RATES, Difference, Judged
from ai_assets.lifecycle.fairness.spec import CRITERIA, Fairness


def is_fair(judged: Judged, spec: Fairness) -> tuple[bool, str]:
    """Whether every column's difference is within the limit and all its groups are judged; why."""
    passed = all(_holds(found, spec) for found in judged.differences)
    words = "; ".join(_of_column(found, spec) for found in judged.differences)
    return passed, f"{_criterion(spec)}: {words}. At most {spec.max_difference:g} is allowed."


def _holds(found: Difference, spec: Fairness) -> bool:
    value = found.value.value
    return value is not None and value <= spec.max_difference and not found.unjudged


def _of_column(found: Difference, spec: Fairness) -> str:
    said = f"{found.column} {found.value}"
    if found.value.value is not None:
        said += f", {found.rate.replace('_', ' ')} of '{found.high}' above that of '{found.low}'"
    if found.unjudged:
        few = ", ".join(f"'{group}' has {rows}" for group, rows in found.unjudged.items())
        said += f"; not judged for fewer than {spec.min_rows} test rows: {few}"
    return said


def _criterion(spec: Fairness) -> str:
    rates = " and ".join(rate.replace("_", " ") for rate in CRITERIA[spec.metric])
    return f"Largest difference between groups, {spec.metric.replace('_', ' ')} ({rates})"


def figures(judged: Judged) -> dict[str, float | None]:
    """The difference of each column, for the gate and for a plot over time."""
    return {found.column: found.value.value for found in judged.differences}


def shown_groups(judged: Judged) -> pl.DataFrame:
    """The table of groups for people: each rate with its interval in one cell."""
    rows = [
        {
            "column": row["column"],
            "group": row["group"],
            "rows": row["rows"],
            "share": f"{row['share']:.1%}",
            "positives": row["positives"],
            **{rate.replace("_", " "): _cell(row, rate) for rate in RATES},
        }
        for row in judged.groups.iter_rows(named=True)
    ]
    return pl.DataFrame(rows)


def _cell(row: dict[str, Any], rate: str) -> str:
    value, low, high = (row[name] for name in (rate, f"{rate}_low", f"{rate}_high"))
    if value is None:
        return "too few rows"
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def section(title: str, words: str, frame: pl.DataFrame) -> dict[str, Any]:
    """A section of the model card."""
    return {title: {"words": words, "columns": frame.columns, "rows": list(frame.iter_rows())}}


def of_mitigation(spec: Fairness, changes: pl.DataFrame, left: Mapping[str, str]) -> str:
    """What the mitigation changed, in a sentence, and where it did nothing, in another.

    Args:
        spec: The declaration.
        changes: `measure`, `with`, `without`, `change`, `low`, `high`: a row a measure.
        left: What it could not compare for too few rows, by the fits that lacked them.
    """
    said = [
        f"{row['measure']} {row['without']:.4f} without, {row['with']:.4f} with it "
        f"(change {row['change']:+.4f}{_span(row)})"
        for row in changes.iter_rows(named=True)
        if row["change"] is not None
    ]
    what = "; ".join(said) or "nothing could be compared"
    alone = "".join(
        f" Too few rows to compare in {fits}: {lacking}; there that difference is left as it is."
        for fits, lacking in left.items()
    )
    return (
        f"The same families with the same parameters, learned from the same rows without "
        f"{spec.mitigation} and judged on the same rows, both before compression: {what}.{alone}"
    )


def _span(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f", 95 % interval {row['low']:+.4f} to {row['high']:+.4f}"
