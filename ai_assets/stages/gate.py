"""gate: whether a bundle may be released: within limits, better than the champion, compatible."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.gate.champion import Comparison, compare, no_comparison
from ai_assets.lifecycle.gate.compatible import incompatible
from ai_assets.lifecycle.gate.limits import GateResult, GroupDifferences, judge
from ai_assets.lifecycle.gate.page import versions_page
from ai_assets.lifecycle.gate.pair import Pair, Side
from ai_assets.resources.ledger import Entry
from ai_assets.serving.bundle import Bundle
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun, digest
from ai_assets.stages.declared.releasing import BETTER, COMPATIBLE, WITHIN_LIMITS
from ai_assets.stages.evaluation import (
    answers_as_declared,
    decision_of,
    scores_of,
    scores_of_test_rows,
    slice_columns,
)
from ai_assets.stages.fairness import FILE as FAIRNESS
from ai_assets.stages.learnable import learned_partitions
from ai_assets.stages.model_card import read_evaluation
from ai_assets.stages.outcomes import days_of
from ai_assets.stages.predictions import features_for
from ai_assets.stages.training_data import (
    artifact,
    load_training_data,
    read_json,
    save_folder,
    write_json,
)
from ai_assets.stages.versions import versions_beside

PAGE = "versions.html"


def judge_bundle(run: StageRun) -> Outcome:
    """Judge what the bundle serves."""
    spec = run.product.declaration.gate
    chosen = read_json(artifact(run, "compressed_model"), "chosen.json")
    limits = judge(read_evaluation(run), chosen, spec, group_differences(run))
    tag = read_json(artifact(run, "bundle"), "bundle.json")["tag"]
    entry = champion_of(run, tag)
    comparison = compared(run, entry, tag)
    broken = changes_for_callers(run, entry, tag)
    challenging = entry is not None and bool(run.decision)
    findings = [
        within_limits(limits, challenger=challenging), better(comparison), compatible(broken),
    ]  # fmt: skip
    passed = all(finding.passed for finding in findings)
    versions = versions_beside(run, entry.stable if entry else None, tag)
    words = " ".join(finding.words for finding in findings)
    content = {
        "passed": passed,
        "words": words,
        "against": " ".join(finding.words for finding in findings if not finding.passed),
        "bundle": tag,
        "champion": entry.stable if entry else None,
        "limits": limits.rows.to_dicts(),
        "comparison": comparison.rows.to_dicts(),
        "metrics": comparison.metrics.to_dicts(),
        "incompatible": broken,
    }
    title = f"{run.product.name}: {tag} beside {entry.stable if entry else 'nothing'}"
    page = versions_page(title, words, versions, comparison.metrics)

    def write(folder: Path) -> None:
        write_json(folder, "gate.json", content)
        write_json(folder, "versions.json", versions.to_dicts())
        (folder / PAGE).write_text(page, encoding="utf-8")

    save_folder(run, "gate", write)
    return Outcome(
        # How fast a row was when it was measured is shown, and makes no other gate of it.
        digest(json.dumps(content, sort_keys=True)),
        {
            "passed": passed,
            "words": words,
            "bundle": tag,
            "champion": entry.stable if entry else "none",
            "limits": shown.table(limits.rows),
            **_beside_champion(comparison),
            "page": shown.path(artifact(run, "gate") / PAGE),
            "changed": shown.table(versions.filter("changed").drop("changed")),
            **shown.numbers(_difference(comparison)),
        },
        dict(zip((WITHIN_LIMITS.name, BETTER.name, COMPATIBLE.name), findings, strict=True)),
    )


def group_differences(run: StageRun) -> GroupDifferences | None:
    """What the evaluation found between groups of people, where fairness is declared."""
    fairness = run.product.declaration.fairness
    if fairness is None:
        return None
    found = read_json(artifact(run, "evaluation"), FAIRNESS)
    return GroupDifferences(found["metric"], found["differences"], fairness.max_difference)


def champion_of(run: StageRun, tag: str) -> Entry | None:
    """What is in production at the end of the partition; None if that is the bundle itself."""
    moment = run.span.end if run.span else datetime.now(UTC)
    entry = run.tools.ledger.as_of(run.product.name, moment)
    return None if entry is None or entry.stable == tag else entry


def compared(run: StageRun, entry: Entry | None, tag: str) -> Comparison:
    """Challenger and champion on test rows that neither learned from.

    The challenger answers through the graph that never saw the test rows. The champion learned from
    rows up to the end of its own partition, so only what happened after that is compared.
    """
    spec = run.product.declaration.gate.champion
    if spec is None:
        return no_comparison("No comparison with a champion is declared.")
    if entry is None:
        return no_comparison("There is no other bundle in production to compare with.")
    bundle = run.tools.bundles.load(entry.stable)
    if not answers_as_declared(run.product, bundle):
        return no_comparison(f"{entry.stable} gives other answers, so there is nothing to compare.")
    data = load_training_data(run)
    test = data.frame("test")
    unseen = rows_unseen_by(run, bundle, test)
    y, challenger = scores_of_test_rows(run, data)
    if len(np.unique(y[unseen])) < 2:
        return no_comparison(
            f"{entry.stable} may have learned from these test rows, so it is not compared on them."
        )
    blocks, declared = days_of(test), run.product.declaration
    pair = Pair(
        y,
        Side(champion_scores(run, bundle, test), bundle.decision),
        Side(challenger, decision_of(run)),
        declared.costs,
    )
    return compare(
        pair.at(unseen),
        spec,
        slices=slice_columns(run, data).filter(unseen),
        blocks=None if blocks is None else blocks[unseen],
        seed=declared.training.seed,
    )


def rows_unseen_by(run: StageRun, champion: Bundle, test: pl.DataFrame) -> np.ndarray:
    """Which of the test rows [n] lie after all that the champion may have learned from."""
    partitions = run.product.partitions
    if partitions is None or champion.partition is None:
        return np.zeros(test.height, dtype=bool)
    learned = partitions.span(champion.partition).end
    return (test["event_time"] >= learned).to_numpy()


def champion_scores(run: StageRun, bundle: Bundle, test: pl.DataFrame) -> np.ndarray:
    """The champion's calibrated scores of the test rows, by its own features and code."""
    if bundle.features_sql == run.product.features_sql:
        return scores_of(bundle, test)
    run.say("The champion has another feature query; running it over the window.")
    features = [features_for(run.at(key), bundle) for key in learned_partitions(run) or []]
    rows = test.select("_row_id").join(
        pl.concat(features), on="_row_id", how="left", maintain_order="left"
    )
    return scores_of(bundle, rows)


def changes_for_callers(run: StageRun, entry: Entry | None, tag: str) -> list[str]:
    """What callers of the champion could no longer do; nothing under a new major version."""
    if entry is None:
        return []
    old, new = (run.tools.bundles.load(name) for name in (entry.stable, tag))
    if new.manifest.get("major", 1) > old.manifest.get("major", 1):
        return []
    return incompatible((old.request.table, old.decision), (new.request.table, new.decision))


def within_limits(result: GateResult, *, challenger: bool) -> Finding:
    """Whether every limit is met. A challenger that misses one stays out, which is no error."""
    return Finding(result.passed, result.words, warn=challenger)


def better(comparison: Comparison) -> Finding:
    """Whether the challenger beats the champion. A challenger that loses is no error of the run."""
    return Finding(comparison.passed, comparison.words, warn=True)


def compatible(broken: list[str]) -> Finding:
    """Whether callers notice nothing."""
    if not broken:
        return Finding(True, "Callers of the champion can call this bundle.")
    return Finding(
        False,
        f"Callers would break: {'; '.join(broken)}. Declare gate.major one higher if so intended.",
        warn=True,
    )


def _beside_champion(comparison: Comparison) -> dict[str, Any]:
    """Tables of what was compared; without a champion there is nothing to show."""
    tables = {
        "comparison": comparison.rows,
        "metrics": comparison.metrics.drop("difference", "low", "high"),
    }
    return {name: shown.table(rows) for name, rows in tables.items() if not rows.is_empty()}


def _difference(comparison: Comparison) -> dict[str, float]:
    if comparison.rows.is_empty():
        return {}
    found = comparison.rows["difference"][0]
    return {} if found is None else {"challenger_minus_champion": found}
