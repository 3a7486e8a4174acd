"""One cause from all evidence, in the order in which a person would rule causes out.

Broken data explains whatever else is seen, so it comes first. Then a change of our own code, if
anything moved. Then drift of inputs, unless labels contradict the scores and the inputs that moved
hardly matter to the model: then the relation of label to inputs has changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from ai_assets.lifecycle.drift.numbers import JointDrift
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.verdict.broken import Observed, broken_evidence
from ai_assets.lifecycle.verdict.concept import Calibrated
from ai_assets.lifecycle.verdict.concept_values import AnyLabelled
from ai_assets.lifecycle.verdict.covariate import (
    feature_drift,
    important_share,
    joint_evidence,
    table_drift,
    weighted_severity,
)
from ai_assets.lifecycle.verdict.evidence import CAUSES, Cause, Evidence, Verdict
from ai_assets.lifecycle.verdict.spec import Causes

MOST_NAMED = 4


@dataclass(frozen=True)
class Signals:
    """All that is known of a partition when its cause is decided.

    Attributes:
        tables: Its tables, by name.
        request: The table whose rows are scored.
        features: `drift_numbers` of features, and of the score as `prediction`.
        joint: Whether the features still go together.
        code_then: Code versions that the bundle was made with, by stage.
        code_now: Those that made the partition.
        importances: How much each feature matters to the model; sums to 1.
        labelled: Rows with outcomes, once they have arrived.
        calibrated: How labels lay beside scores on the bundle's own held-out rows.
        timezone: The zone in which the partitions are cut.
    """

    tables: dict[str, Observed]
    request: str
    features: pl.DataFrame | None = None
    joint: JointDrift | None = None
    code_then: Mapping[str, str] = field(default_factory=dict)
    code_now: Mapping[str, str] = field(default_factory=dict)
    importances: Mapping[str, float] = field(default_factory=dict)
    labelled: AnyLabelled | None = None
    calibrated: Calibrated | None = None
    timezone: str = "UTC"


def decide_cause(
    product: str,
    partition: str | None,
    bundle: str,
    signals: Signals,
    *,
    spec: Causes | None = None,
    drift: Drift | None = None,
) -> Verdict:
    """The verdict on a partition.

    Args:
        product: name of the product.
        partition: the partition's key, if it has one.
        bundle: tag of the bundle whose reference the signals were measured against.
        signals: what was measured.
        spec: limits of the detectors.
        drift: limits of covariate drift.
    """
    spec, drift = spec or Causes(), drift or Drift()
    broken = broken_evidence(signals.tables, spec, timezone=signals.timezone)
    moved = table_drift(signals.tables, signals.request, drift, spec)
    if signals.features is not None:
        moved += feature_drift(signals.features, drift)
    if signals.joint is not None:
        moved += joint_evidence(signals.joint, drift)
    labels = signals.labelled
    concept = []
    if labels is not None:
        concept = without(labels, moved).evidence(spec, signals.calibrated)
    code = code_evidence(signals.code_then, signals.code_now)
    importances = dict(signals.importances)
    moved = by_importance(moved, importances)
    cause = _cause(broken, code, moved, concept, importances, spec)
    evidence = [*broken, *code, *moved, *concept]
    evidence.sort(key=lambda e: (e.cause != cause, CAUSES.index(e.cause)))
    return Verdict(
        product=product,
        partition=partition,
        bundle=bundle,
        cause=cause,
        severity=_severity(cause, evidence, importances),
        words=_words(cause, evidence, importances),
        evidence=evidence,
        labelled=labels is not None,
    )


def without(labels: AnyLabelled, moved: list[Evidence]) -> AnyLabelled:
    """The labelled rows, not to be searched by columns that drifted: there the model is asked about
    values it has not seen, which explains that it is wrong."""
    drifted = {e.subject.split(".")[-1] for e in moved if e.kind in ("feature", "column")}
    kept = [name for name in labels.segments.columns if name not in drifted]
    return replace(labels, segments=labels.segments.select(kept))


def code_evidence(then: Mapping[str, str], now: Mapping[str, str]) -> list[Evidence]:
    """The stages whose code or settings are others than the bundle was made with."""
    changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    return [
        Evidence("changed_code", "code_version", name, 1.0, 0.0, _code_words(name, then, now), 1.0)
        for name in changed
        if then and now
    ]


def _code_words(name: str, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    if name not in then or name not in now:
        return f"{name} is {'new' if name in now else 'gone'} since the bundle was made"
    old, new = then[name][:12], now[name][:12]
    return f"the code of {name} is version {new}, the bundle was made with {old}"


def by_importance(evidence: list[Evidence], importances: dict[str, float]) -> list[Evidence]:
    """Evidence of drift, what matters most to the model first; features before raw columns."""
    kinds = {"score": 0, "feature": 1, "joint": 2, "relation": 2, "column": 3}
    return sorted(
        evidence,
        key=lambda e: (
            -importances.get(e.subject, 0.0) * e.severity,
            kinds.get(e.kind, 4),
            -e.severity,
        ),
    )


def _cause(
    broken: list[Evidence],
    code: list[Evidence],
    moved: list[Evidence],
    concept: list[Evidence],
    importances: dict[str, float],
    spec: Causes,
) -> Cause:
    if broken:
        return "broken_data"
    if code and (moved or concept):
        return "changed_code"
    if concept and not _explains(moved, importances, spec):
        return "concept_drift"
    return "covariate_drift" if moved else "none"


def _explains(moved: list[Evidence], importances: dict[str, float], spec: Causes) -> bool:
    """Whether the inputs' drift is enough to be why labels contradict scores."""
    if any(e.kind == "score" for e in moved):
        return True
    if not importances:
        return bool(moved)
    return weighted_severity(moved, importances) >= spec.important


def _severity(cause: Cause, evidence: list[Evidence], importances: dict[str, float]) -> float:
    own = [e for e in evidence if e.cause == cause]
    if cause == "none":
        return 0.0
    if cause == "covariate_drift" and importances:
        return weighted_severity(own, importances)
    if cause == "changed_code":
        own = [e for e in evidence if e.cause in ("covariate_drift", "concept_drift")]
    return max(e.severity for e in own)


def _words(cause: Cause, evidence: list[Evidence], importances: dict[str, float]) -> str:
    if cause == "none":
        code = [e.words for e in evidence if e.cause == "changed_code"]
        rest = f", though {code[0]}" if code else ""
        return f"Nothing is other than what the bundle learned from{rest}."
    own = [e for e in evidence if e.cause == cause]
    said = "; ".join(e.words for e in own[:MOST_NAMED])
    more = f"; and {len(own) - MOST_NAMED} more" if len(own) > MOST_NAMED else ""
    start = {
        "broken_data": "The data is broken",
        "changed_code": "Code changed and data moved with it",
        "covariate_drift": "The inputs drifted",
        "concept_drift": "The outcome relates to the inputs otherwise than before",
    }[cause]
    if cause == "changed_code":
        moved = [e.subject for e in evidence if e.cause in ("covariate_drift", "concept_drift")]
        more += f"; what moved: {', '.join(moved[:MOST_NAMED])}"
    if cause == "covariate_drift" and importances:
        more += f"; drifted features carry {important_share(own, importances):.0%} of the model"
    return f"{start}: {said}{more}."
