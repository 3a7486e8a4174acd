"""verdict: why the partition is, or is not, as what the release learned from. Sensors read this."""

import json
from collections import Counter
from functools import partial

import polars as pl

from ai_assets.lifecycle.cleaning import CleaningCounts
from ai_assets.lifecycle.cleaning.near import general, only_repeats
from ai_assets.lifecycle.drift.numbers import joint_drift
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.lifecycle.features.items import described, described_table
from ai_assets.lifecycle.retraining.decide import verdict_id
from ai_assets.lifecycle.schema.scores import SCORED
from ai_assets.lifecycle.verdict.broken import Observed
from ai_assets.lifecycle.verdict.concept_values import LABELLED, AnyLabelled
from ai_assets.lifecycle.verdict.decide import Signals, decide_cause
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.resources.ledger import Entry
from ai_assets.resources.notify import Alert
from ai_assets.stages import shown
from ai_assets.stages.anomalies import versions_after
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.watching import AS_LEARNED, SOUND
from ai_assets.stages.drift import scored_features
from ai_assets.stages.embedding import importances_of
from ai_assets.stages.learnable import content_of, learned_by, not_learned, write_verdict
from ai_assets.stages.monitoring import FILE, Watched, code_versions, read_watched, timezone
from ai_assets.stages.outcomes import Outcomes, judged_outcomes
from ai_assets.stages.predictions import release_at_start
from ai_assets.stages.training_data import save_folder


def conclude(run: StageRun) -> Outcome:
    """Gather all signals about the partition and name one cause."""
    entry = release_at_start(run)
    verdict = judged(run, entry) if entry else _unwatched(run, "", "Nothing was in production.")
    told = json.loads(verdict.to_json())
    version = save_folder(run, "verdict", partial(write_verdict, verdict, content_of(run)))
    learned = learned_by(run) if verdict.cause == "broken_data" else []
    tell_who_learned(run, verdict, learned)
    return Outcome(
        version,
        {
            "cause": verdict.cause,
            "words": verdict.words,
            "bundle": verdict.bundle or "none",
            "verdict_id": verdict_id(verdict),
            "verdict": shown.json(told),
            "evidence": shown.table(evidence_frame(verdict)),
            "labelled": verdict.labelled,
            **({"learned_by": ", ".join(learned)} if learned else {}),
            **shown.numbers({"severity": verdict.severity}),
        },
        {SOUND.name: sound(verdict), AS_LEARNED.name: as_learned(verdict)},
    )


def tell_who_learned(run: StageRun, verdict: Verdict, learned: list[str]) -> None:
    """Tell people where what answers now learned from data that has turned out broken.

    Nothing else would: a training set reads verdicts without an edge, since one would close a
    circle by way of predictions and release, so no asset grows stale by it.
    """
    history = run.tools.ledger.history(run.product.name)
    newest = history.row(-1, named=True) if history.height else {"stable": "", "candidate": None}
    for tag in {newest["stable"], newest["candidate"]} & set(learned):
        run.tools.notifier.notify(
            Alert(
                product=run.product.name,
                partition=run.partition,
                kind="broken_data",
                severity="error",
                title=f"{run.product.name}: what answers learned from broken data",
                words=f"{tag} learned from {run.partition}, of which is now said: {verdict.words} "
                "Train it anew without, or release an earlier one.",
                evidence={"bundle": tag, "verdict": verdict_id(verdict)},
                key=f"learned/{run.partition}/{tag}",
            )
        )


def judged(run: StageRun, entry: Entry) -> Verdict:
    """The verdict against the bundle that was in production."""
    known = read_watched(run.tools.bundles.payload(entry.stable))
    if known is None:
        return _unwatched(run, entry.stable, f"{entry.stable} carries no {FILE}.")
    declared = run.product.declaration
    return decide_cause(
        run.product.name,
        run.partition,
        entry.stable,
        signals(run, entry, known),
        spec=declared.causes,
        drift=declared.drift,
    )


def signals(run: StageRun, entry: Entry, known: Watched) -> Signals:
    """All that is known of the partition."""
    product, declared = run.product, run.product.declaration
    bundle = run.tools.bundles.load(entry.stable)
    payload = run.tools.bundles.payload(entry.stable)
    reference = Profile.from_json((payload / "reference.json").read_text(encoding="utf-8"))
    rows = not_learned(run, entry.stable, scored_features(run, bundle))
    own = [run.partition] if run.partition else None
    numbers = run.lake.scan(run.name("drift"), own).collect()
    columns = product.request_table.columns
    return Signals(
        tables={name: observed(run, name, known) for name in declared.tables},
        request=declared.request,
        features=numbers,
        joint=joint_drift(reference, rows, declared.drift),
        code_then=known.code,
        code_now=versions_after(code_versions(product), run.partition),
        importances=importances_of(known.importances, columns, numbers),
        labelled=labelled_rows(run, entry, rows),
        calibrated=known.calibrated,
        timezone=timezone(product),
    )


def observed(run: StageRun, name: str, known: Watched) -> Observed:
    """One table of the partition, with the account of its cleaning."""
    cut = run.product.is_partitioned(name)
    keys = [run.partition] if cut and run.partition else None
    table = run.product.declaration.tables[name]
    cleaned = run.lake.scan(run.name(f"cleaned/{name}"), keys).collect()
    frame = described(cleaned, table.columns)
    rejected = run.lake.scan(run.name(f"rejected/{name}"), keys).select("_rule").collect()
    # An item that comes again breaks nothing.
    broken = rejected.filter(~only_repeats(pl.col("_rule")))
    raw = run.lake.scan(run.name(f"raw/{name}"), keys).select(pl.len()).collect().item()
    counts = CleaningCounts(
        raw=raw,
        cleaned=frame.height,
        rejected=broken.height,
        duplicates=raw - frame.height - rejected.height,
        by_rule=dict(Counter(map(general, broken["_rule"].sort()))),
    )
    span = (run.span.start, run.span.end) if cut and run.span else None
    return Observed(described_table(table), known.sketches.get(name), frame, counts, span=span)


def labelled_rows(run: StageRun, entry: Entry, features: pl.DataFrame) -> AnyLabelled | None:
    """Rows of this release whose labels arrived during the partition; None before there are any.

    Features are at hand for rows of this partition; the others have no segments to look within.
    """
    outcomes = judged_outcomes(run, entry.stable)
    rows = outcomes.rows.join(features.drop(*SCORED, strict=False), on="_row_id", how="inner")
    labelled = LABELLED[run.product.declaration.label.task]
    if rows.height < run.product.declaration.causes.min_rows:
        if not outcomes.rows.height:
            return None
        return labelled(outcomes.y, outcomes.p, pl.DataFrame(), outcomes.days)
    found = Outcomes(rows)
    segments = rows.select(features.drop("_row_id", *SCORED, strict=False).columns)
    return labelled(found.y, found.p, segments, found.days)


def _unwatched(run: StageRun, bundle: str, words: str) -> Verdict:
    return Verdict(run.product.name, run.partition, bundle, "none", 0.0, words, [], False)


def sound(verdict: Verdict) -> Finding:
    """Whether the data is whole."""
    if verdict.cause == "broken_data":
        return Finding(False, verdict.words)
    return Finding(True, "Nothing about the data looks broken.")


def as_learned(verdict: Verdict) -> Finding:
    """Whether nothing has changed; the cause in words where something has."""
    told = {"cause": verdict.cause, "severity": verdict.severity}
    return Finding(verdict.cause == "none", verdict.words, told, warn=True)


def evidence_frame(verdict: Verdict) -> pl.DataFrame:
    """A row a finding: `cause`, `what`, `subject`, `value`, `limit`, `severity`, `words`."""
    rows = [
        [e.cause, e.kind, e.subject, e.value, e.limit, e.severity, e.words]
        for e in verdict.evidence
    ]
    names = ["cause", "what", "subject", "value", "limit", "severity", "words"]
    return pl.DataFrame(rows, schema=names, orient="row")
