"""performance: how well the release does, estimated before labels arrive and judged by them."""

import json
from typing import Any

import polars as pl

from ai_assets.lifecycle.estimation.confidence import estimated, realised
from ai_assets.lifecycle.estimation.plot import estimates
from ai_assets.lifecycle.estimation.quality import Told, history
from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.names import OF_COSTS
from ai_assets.lifecycle.schema.decision import CostMatrix
from ai_assets.lifecycle.schema.scores import SCORES, score_column, scores_in
from ai_assets.lifecycle.verdict.concept import concept_evidence, labelled
from ai_assets.serving.bundle import Bundle
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.watching import performance_guard
from ai_assets.stages.evaluation import answers_as_declared
from ai_assets.stages.learnable import not_learned
from ai_assets.stages.meanings import PERFORMANCE
from ai_assets.stages.opinions import Beliefs, beliefs
from ai_assets.stages.outcomes import Outcomes, days_of, judged_outcomes
from ai_assets.stages.performance_values import FEWEST, Judged, judged_values
from ai_assets.stages.predictions import release_at_start

DRAWN = {
    "binary": ("log_loss", "roc_auc"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("rmse", "coverage"),
}
"""What is drawn over time, by task, besides what answers cost where that is declared."""
SCHEMA = {
    "metric": pl.String,
    "bundle": pl.String,
    "rows": pl.Int64,
    "estimate": pl.Float64,
    "estimate_low": pl.Float64,
    "estimate_high": pl.Float64,
    "labelled": pl.Int64,
    "realised": pl.Float64,
    "realised_low": pl.Float64,
    "realised_high": pl.Float64,
    "valid": pl.Boolean,
}


def judge_release(run: StageRun) -> Outcome:
    """Estimate the partition's metrics from its scores; judge the labels that arrived in it."""
    entry = release_at_start(run)
    scores = run.lake.scan(run.name("predictions"), [run.partition] if run.partition else None)
    rows = scores.collect()
    rows = rows.drop_nulls(SCORES) if SCORES in rows.columns else rows
    rows = rows if entry is None else not_learned(run, entry.stable, rows)
    if entry is None or rows.height < FEWEST:
        return _nothing(run, rows.height)
    outcomes = judged_outcomes(run, entry.stable)
    judge = judged_values if run.product.declaration.label.task == "regression" else _scores
    judged = judge(run, rows, outcomes, entry.stable)
    told = _frame(judged, entry.stable, rows.height, outcomes.rows.height)
    frame = with_costs(told, run.product.declaration.costs)
    written = run.lake.replace(
        run.name("performance"), frame, run.partition, admit_new_columns=True
    )
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(frame, written.rows, meanings=PERFORMANCE),
            "numbers": shown.table(told),
            "bundle": entry.stable,
            "estimated_from": judged.estimated_from,
            "labels_arrived": outcomes.rows.height,
            **_pictures(run),
            **shown.numbers(_values(judged.estimated), prefix="estimated/"),
            **shown.numbers(_values(judged.realised), prefix="realised/"),
        },
        {performance_guard(run.product).name: judged.finding},
    )


def _scores(run: StageRun, rows: pl.DataFrame, outcomes: Outcomes, bundle: str) -> Judged:
    """What probabilities promise of themselves, and whether labels bear it out."""
    loaded = run.tools.bundles.load(bundle)
    believed = beliefs(run, rows, bundle)
    found, judged = _estimates(run, rows, believed, loaded), _judged(run, outcomes, loaded)
    valid = not _contradicted(run, outcomes)
    finding = as_estimated(found["log_loss"], judged.get("log_loss"), valid)
    return Judged(found, judged, valid, finding, believed.words)


def _nothing(run: StageRun, rows: int) -> Outcome:
    frame = pl.DataFrame(schema=SCHEMA)
    written = run.lake.replace(
        run.name("performance"), frame, run.partition, admit_new_columns=True
    )
    new = "" if run.product.partitions is not None else " that the bundle had not learned from"
    scored = f"Only {rows} rows were" if rows else "No row was"
    words = f"{scored} scored{new}; performance is judged from {FEWEST} on."
    guard = performance_guard(run.product)
    return Outcome(written.digest, {"numbers": words}, {guard.name: Finding(True, words)})


def present_costs(run: StageRun, bundle: Bundle) -> CostMatrix | None:
    """What a bundle's answers cost as it is declared today, as the gate judges them.

    None where nothing is declared, or the bundle gives other answers than those declared.
    """
    return run.product.declaration.costs if answers_as_declared(run.product, bundle) else None


def _estimates(
    run: StageRun, rows: pl.DataFrame, believed: Beliefs, bundle: Bundle
) -> dict[str, Estimate]:
    """Expected metrics, with intervals by days."""
    times = run.lake.scan(run.name("labels"), [run.partition] if run.partition else None)
    if "event_time" in times.collect_schema():
        rows = rows.join(times.select("_row_id", "event_time").collect(), on="_row_id", how="left")
    return estimated(
        scores_in(rows[score_column(rows.columns)]),
        believed.q,
        seed=run.product.declaration.training.seed,
        decision=bundle.decision,
        costs=present_costs(run, bundle),
        blocks=days_of(rows),
    )


def _judged(run: StageRun, outcomes: Outcomes, bundle: Bundle) -> dict[str, Estimate]:
    if outcomes.rows.height < FEWEST or outcomes.rows["label"].n_unique() < 2:
        return {}
    return realised(
        outcomes.y,
        outcomes.p,
        seed=run.product.declaration.training.seed,
        decision=bundle.decision,
        costs=present_costs(run, bundle),
        blocks=outcomes.days,
    )


def _contradicted(run: StageRun, outcomes: Outcomes) -> bool:
    """Whether labels contradict the scores, so that no estimate from scores can be right."""
    rows = labelled(outcomes.y, outcomes.p, pl.DataFrame(), outcomes.days)
    return bool(concept_evidence(rows, run.product.declaration.causes))


def _frame(judged: Judged, bundle: str, rows: int, labelled: int) -> pl.DataFrame:
    missing, valid = Estimate(None), judged.valid
    return pl.DataFrame(
        [
            [name, bundle, rows, e.value, e.low, e.high, labelled, r.value, r.low, r.high, valid]
            for name, e in judged.estimated.items()
            for r in [judged.realised.get(name, missing)]
        ],
        schema=SCHEMA,
        orient="row",
    )


def with_costs(rows: pl.DataFrame, costs: CostMatrix | None) -> pl.DataFrame:
    """The rows, with the column `costs` where some are declared: by which each `cost` was told."""
    if costs is None:
        return rows
    of_costs = pl.when(pl.col("metric").is_in(OF_COSTS)).then(pl.lit(json.dumps(costs)))
    return rows.with_columns(of_costs.alias("costs"))


def comparable(run: StageRun, partition: str) -> pl.DataFrame:
    """What is told of a partition's performance, without costs by others than are declared today.

    They have another unit: beside the present ones they would look like better or worse answers.
    """
    rows = run.lake.scan(run.name("performance"), [partition]).collect()
    costs = json.dumps(run.product.declaration.costs)
    by = pl.col("costs") if "costs" in rows.columns else pl.lit(None, pl.String)
    return rows.filter(pl.col("metric").is_in(OF_COSTS).not_() | by.eq_missing(pl.lit(costs)))


def _values(found: dict[str, Estimate]) -> dict[str, float]:
    return {name: e.value for name, e in found.items() if e.value is not None}


def shown_metrics(run: StageRun) -> tuple[str, ...]:
    """What is drawn of performance over time."""
    declared = run.product.declaration
    costs = () if declared.training.costs is None else OF_COSTS
    return (*costs, *DRAWN[declared.label.task])


def _pictures(run: StageRun) -> dict[str, Any]:
    """Estimate, realised value and the one carried forward over the partitions so far."""
    past = told_so_far(run) if run.partition else {}
    pictures = {}
    for metric in shown_metrics(run):
        told = past.get(metric, [])
        if told:
            png = estimates(history(told), metric)
            pictures[metric] = shown.markdown(plots.as_markdown_image(png, metric))
    return pictures


def told_so_far(run: StageRun) -> dict[str, list[Told]]:
    """What each partition up to the run's own was estimated to be, and was, by metric."""
    name = run.name("performance")
    keys = [key for key in run.lake.partitions(name) if key <= str(run.partition)]
    told: dict[str, list[Told]] = {}
    for key in keys:
        for row in comparable(run, key).iter_rows(named=True):
            told.setdefault(row["metric"], []).append(
                Told(
                    key,
                    Estimate(row["estimate"], row["estimate_low"], row["estimate_high"]),
                    Estimate(row["realised"], row["realised_low"], row["realised_high"]),
                    row["valid"],
                )
            )
    return told


def as_estimated(estimate: Estimate, found: Estimate | None, valid: bool = True) -> Finding:
    """Whether labels bear out what the scores promised; a red one is no error of the run."""
    if found is None or found.value is None:
        return Finding(True, f"Log loss is estimated to be {estimate}; no labels have arrived yet.")
    words = f"Log loss was estimated to be {estimate} and is {found}"
    if not valid:
        return Finding(False, f"{words}: labels contradict the scores.", warn=True)
    if estimate.low is None or estimate.high is None or found.low is None or found.high is None:
        return Finding(True, f"{words}.")
    apart = found.low > estimate.high or found.high < estimate.low
    return Finding(not apart, f"{words}{': the intervals lie apart' if apart else ''}.", warn=apart)
