"""performance of a regression: its errors and its intervals, by the labels that have arrived."""

from dataclasses import dataclass

import polars as pl

from ai_assets.lifecycle.estimation.values import (
    NOT_ESTIMATED,
    as_promised,
    estimated_values,
    realised_values,
)
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.verdict.concept_values import LabelledValues
from ai_assets.stages.binding import Finding, StageRun
from ai_assets.stages.monitoring import read_watched
from ai_assets.stages.outcomes import Outcomes

FEWEST = 30


@dataclass(frozen=True)
class Judged:
    """What is known of a partition's performance.

    Attributes:
        estimated: Before labels, by metric.
        realised: By the labels that arrived; none where there are too few.
        valid: Whether labels do not contradict what was answered.
        finding: Of the check.
        estimated_from: What the estimates are made of.
    """

    estimated: dict[str, Estimate]
    realised: dict[str, Estimate]
    valid: bool
    finding: Finding
    estimated_from: str


def judged_values(run: StageRun, rows: pl.DataFrame, outcomes: Outcomes, bundle: str) -> Judged:
    """Errors once labels have arrived, beside those of the bundle's own test rows."""
    interval = run.tools.bundles.load(bundle).decision.interval
    before = estimated_values(rows.height, interval)
    source = "what the bundle's intervals promise" if interval else NOT_ESTIMATED.words
    if outcomes.rows.height < FEWEST:
        words = f"RMSE is {before['rmse']}; {outcomes.rows.height} labels have arrived yet."
        return Judged(before, {}, True, Finding(True, words), source)
    y, p = outcomes.y, outcomes.p
    seed = run.product.declaration.training.seed
    found = realised_values(y, p, interval, seed=seed, blocks=outcomes.days)
    known = read_watched(run.tools.bundles.payload(bundle))
    usual = known.calibrated if known else None
    labelled = LabelledValues(y, p, pl.DataFrame(), outcomes.days)
    valid = not labelled.evidence(run.product.declaration.causes, usual)
    passed, words = as_promised(y, p, interval, found["rmse"], usual.error if usual else None)
    if not valid:
        passed, words = False, f"{words} Outcomes contradict the predictions."
    return Judged(before, found, valid, Finding(passed, words, warn=not passed), source)
