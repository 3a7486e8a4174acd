"""operations: the page that tells what happened, partition by partition, and how it compares."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.estimation.plot import estimates
from ai_assets.lifecycle.estimation.quality import Told, estimate_quality, history
from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.names import MAIN_METRIC
from ai_assets.lifecycle.operations.challenger import Became, became
from ai_assets.lifecycle.operations.page import Chapter, operations_page
from ai_assets.lifecycle.operations.plot import drift_map, loss_name, losses
from ai_assets.lifecycle.operations.policies import LOOP, compare_policies, monthly_losses
from ai_assets.lifecycle.schema.scores import score_column
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.stages import shown
from ai_assets.stages.backtest import LINES
from ai_assets.stages.binding import Outcome, StageRun
from ai_assets.stages.performance import comparable, shown_metrics
from ai_assets.stages.training_data import read_json, save_folder


def draw_page(run: StageRun) -> Outcome:
    """Gather what happened from the lake and the ledgers, and write the page."""
    told = chapters(run)
    rows = scored_by_all(run)
    seed = run.product.declaration.training.seed
    policies = None
    if rows is not None:
        policies = compare_policies(rows, LINES, seed=seed, metric=loss_of(run))
    pictures = drawn(run, rows)
    releases = run.tools.ledger.history(run.product.name).select(
        "effective_from", "stable", "cause", "who", "why", "decision_id"
    )
    uris = {name: _uri(png) for name, png in pictures.items()}
    page = operations_page(run.product.name, told, policies, uris, releases)
    whole = run.at(None)
    version = save_folder(whole, "operations", partial(_write, page, policies))
    path = run.lake.artifact(run.name("operations"), None) / "operations.html"
    return Outcome(
        version,
        {
            "page": shown.path(path),
            "partitions": len(told),
            **({"policies": shown.table(policies)} if policies is not None else {}),
            **{
                name.replace(" ", "_"): shown.markdown(plots.as_markdown_image(png, name))
                for name, png in pictures.items()
            },
            "estimates": shown.markdown("\n\n".join(said_of_estimates(run))),
        },
    )


def loss_of(run: StageRun) -> str:
    """What policies are compared by."""
    return MAIN_METRIC[run.product.declaration.label.task]


def watched_partitions(run: StageRun) -> list[str]:
    """Partitions with a verdict on a release, oldest first."""
    keys = sorted(run.lake.artifacts(run.name("verdict")))
    return [key for key in keys if key is not None and verdict_of(run, key).bundle]


def measured_partitions(run: StageRun, asset: str) -> list[str]:
    """The watched partitions that the asset has; not those whose source could not be read."""
    name = run.name(asset)
    there = set(run.lake.partitions(name)) if run.lake.exists(name) else set()
    return [key for key in watched_partitions(run) if key in there]


def verdict_of(run: StageRun, key: str) -> Verdict:
    """The verdict on a partition."""
    path = run.lake.artifact(run.name("verdict"), key) / "verdict.json"
    return Verdict.from_json(path.read_text(encoding="utf-8"))


def chapters(run: StageRun) -> list[Chapter]:
    """What happened in each watched partition."""
    decisions = run.tools.decisions.history(run.product.name)
    return [chapter(run, key, decisions) for key in watched_partitions(run)]


def chapter(run: StageRun, key: str, decisions: pl.DataFrame) -> Chapter:
    """What happened in one partition; of several decisions on it the last."""
    verdict = verdict_of(run, key)
    found = decisions.filter(pl.col("partition") == key)
    decision: dict[str, Any] = found.row(-1, named=True) if found.height else {}
    gate = gate_of(run, key) if decision.get("action") == "retrain" else {}
    return Chapter(
        partition=key,
        bundle=verdict.bundle,
        performance=performance_of(run, key),
        cause=verdict.cause,
        severity=verdict.severity,
        words=verdict.words,
        decision=decision.get("action", ""),
        why=decision.get("why", ""),
        gate=gate.get("words", ""),
        became=became_of(run, decision, gate) if gate else None,
    )


def became_of(run: StageRun, decision: dict[str, Any], gate: dict[str, Any]) -> Became:
    """What became of the challenger that a decision asked for.

    Args:
        run: of the product.
        decision: as recorded.
        gate: what the gate said of the newest bundle of the decision's partition. Where the
            decision released or tried an earlier bundle of it, it is that one that is told of.
    """
    releases = run.tools.ledger.history(run.product.name)
    done = releases.filter(pl.col("decision_id") == decision["decision_id"])
    made = done.row(-1, named=True) if done.height else None
    bundle = (made["candidate"] or made["stable"]) if made else gate["bundle"]
    manual = run.product.declaration.retrain.approval == "manual"
    since = decision["recorded_at"]
    return became(bundle, gate["passed"], releases, approved_by_hand=manual, since=since)


def performance_of(run: StageRun, key: str) -> dict[str, str]:
    """Realised metrics of a partition as text; none where its source could not be read."""
    if not run.lake.exists(run.name("performance"), key):
        return {}
    rows = comparable(run, key)
    return {
        row["metric"]: str(Estimate(row["realised"], row["realised_low"], row["realised_high"]))
        for row in rows.iter_rows(named=True)
        if row["metric"] in shown_metrics(run) and row["realised"] is not None
    }


def gate_of(run: StageRun, key: str) -> dict[str, Any]:
    """What the gate said of the partition's challenger; empty if there is none."""
    if key not in run.lake.artifacts(run.name("gate")):
        return {}
    found: dict[str, Any] = read_json(run.lake.artifact(run.name("gate"), key), "gate.json")
    return found


def scored_by_all(run: StageRun) -> pl.DataFrame | None:
    """Rows that the loop and all other policies scored; None where there are none.

    A backtest that had nothing to compare has no rows.
    """
    parts = []
    for key in measured_partitions(run, "backtest"):
        scored = run.lake.scan(run.name("predictions"), [key])
        score = score_column(scored.collect_schema().names())
        loop = scored.select("_row_id", pl.col(score).alias(LOOP))
        others = run.lake.scan(run.name("backtest"), [key])
        joined = others.join(loop, on="_row_id", how="inner").sort("event_time", "_row_id")
        parts.append(joined.with_columns(pl.lit(key).alias("partition")).collect())
    found = pl.concat(parts) if parts else pl.DataFrame()
    return None if found.is_empty() else found


def drawn(run: StageRun, rows: pl.DataFrame | None) -> dict[str, bytes]:
    """The pictures by their captions."""
    found: dict[str, bytes] = {}
    if rows is not None:
        seed = run.product.declaration.training.seed
        metric = loss_of(run)
        monthly = monthly_losses(rows, LINES, seed=seed, metric=metric)
        found[f"realised {loss_name(metric)}"] = losses(monthly)
    for metric, told in told_by_metric(run).items():
        if told:
            found[f"{metric} before and after labels"] = estimates(history(told), metric)
    numbers = [
        run.lake.scan(run.name("drift"), [key])
        .select(pl.lit(key).alias("partition"), "column", "psi")
        .collect()
        for key in measured_partitions(run, "drift")
    ]
    if numbers:
        found["drift by column"] = drift_map(pl.concat(numbers), run.product.declaration.drift.psi)
    return found


def told_by_metric(run: StageRun) -> dict[str, list[Told]]:
    """Estimates and realised values; an estimate cannot hold where the verdict is concept drift."""
    told: dict[str, list[Told]] = {metric: [] for metric in shown_metrics(run)}
    for key in measured_partitions(run, "performance"):
        concept = verdict_of(run, key).cause == "concept_drift"
        rows = comparable(run, key)
        for row in rows.filter(pl.col("metric").is_in(list(told))).iter_rows(named=True):
            told[row["metric"]].append(
                Told(
                    key,
                    Estimate(row["estimate"], row["estimate_low"], row["estimate_high"]),
                    Estimate(row["realised"], row["realised_low"], row["realised_high"]),
                    row["valid"] and not concept,
                )
            )
    return told


def said_of_estimates(run: StageRun) -> list[str]:
    """How far estimates were off, in sentences."""
    return [str(estimate_quality(metric, told)) for metric, told in told_by_metric(run).items()]


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _write(page: str, policies: pl.DataFrame | None, folder: Path) -> None:
    (folder / "operations.html").write_text(page, encoding="utf-8")
    if policies is not None:
        policies.write_csv(folder / "policies.csv")
