"""Drift of inputs as evidence: of tables' columns, features, the score, and all together."""

import math

import polars as pl

from ai_assets.lifecycle.drift.numbers import EMBEDDING, JointDrift, drift_numbers
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.schema.scores import SCORED
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.verdict.broken import Observed
from ai_assets.lifecycle.verdict.evidence import Evidence, beyond
from ai_assets.lifecycle.verdict.relations import BROKEN, residuals
from ai_assets.lifecycle.verdict.sketch import TableSketch
from ai_assets.lifecycle.verdict.spec import Causes

TOGETHER = "the inputs together"


def table_drift(
    tables: dict[str, Observed], request: str, drift: Drift, spec: Causes
) -> list[Evidence]:
    """Drift of the tables' columns and of the relations between them.

    Numbers of a key tell rows apart and always move; columns of the request that are known later
    are its outcome, not an input. Both are left out.
    """
    found = []
    for name, seen in tables.items():
        if seen.frame is None or seen.reference is None:
            continue
        left_out = _not_inputs(seen.table, seen.frame, name == request)
        numbers = drift_numbers(seen.reference.profile, seen.frame, drift)
        kept = numbers.filter(~pl.col("column").is_in(left_out))
        found += [_drifted(row, f"{name}.{row['column']}", drift) for row in _rows(kept)]
        if seen.frame.height >= spec.min_rows:
            found += relation_drift(name, seen.frame, seen.reference, left_out, spec)
    return found


def feature_drift(numbers: pl.DataFrame, drift: Drift) -> list[Evidence]:
    """Drift of features, and of the score where it is measured as `prediction`."""
    return [_drifted(row, row["column"], drift) for row in _rows(numbers)]


def joint_evidence(joint: JointDrift, drift: Drift) -> list[Evidence]:
    """Columns that no longer go together, though each alone may look as ever."""
    if not joint.drifted:
        return []
    found = [
        Evidence(
            "covariate_drift",
            "joint",
            name,
            rise,
            drift.joint,
            f"{name} no longer goes with the other inputs as before",
            max(0.5, beyond(rise, drift.joint)),
        )
        for name, rise in joint.columns.items()
    ]
    if found:
        return found
    change = abs((joint.ratio or 1.0) - 1)
    words = f"rows lie {joint.ratio or 1.0:.2f} times as far from what inputs allow together"
    severity = max(0.5, beyond(change, drift.joint))
    return [Evidence("covariate_drift", "joint", TOGETHER, change, drift.joint, words, severity)]


def relation_drift(
    table: str, frame: pl.DataFrame, reference: TableSketch, left_out: list[str], spec: Causes
) -> list[Evidence]:
    """Columns that the table's other columns no longer tell."""
    found = []
    for name, relation in reference.relations.items():
        if name in left_out:
            continue
        rows = residuals(frame, name, relation)
        if rows.height < spec.min_rows:
            continue
        off = (rows["value"] - rows["expected"]).abs() > BROKEN * relation.scale
        excess = float(off.sum() / rows.height) - relation.broken
        # Rows further off than any tail are rare; a wider residual tells a weaker dependence.
        spread = float((rows["value"] - rows["expected"]).abs().quantile(0.9) or 0.0) / 1.645
        wider = spread / relation.scale if relation.scale > 0 else 1.0
        if excess < spec.relation_share and wider < spec.relation_wider:
            continue
        others = [*relation.weights, *([relation.category] if relation.category else [])]
        words = f"{table}.{name} no longer goes with {', '.join(others[:3])} as it did"
        severity = max(
            beyond(max(excess, 0.0), spec.relation_share), beyond(wider, spec.relation_wider)
        )
        found.append(
            Evidence(
                "covariate_drift",
                "relation",
                f"{table}.{name}",
                wider,
                spec.relation_wider,
                words,
                severity,
            )
        )
    return found


def weighted_severity(evidence: list[Evidence], importances: dict[str, float]) -> float:
    """Severity of covariate drift: each feature's by its importance, or the score's if greater.

    Inputs that drift together, none by name, count as half of all features.
    """
    features = feature_severities(evidence)
    together = features.pop(TOGETHER, 0.0) / 2
    shared = sum(importances.get(name, 0.0) * severity for name, severity in features.items())
    score = [e.severity for e in evidence if e.kind == "score"]
    return float(min(1.0, max([shared, together, *score])))


def important_share(evidence: list[Evidence], importances: dict[str, float]) -> float:
    """Share of the model's importance that drifted features carry."""
    return float(sum(importances.get(name, 0.0) for name in feature_severities(evidence)))


def feature_severities(evidence: list[Evidence]) -> dict[str, float]:
    """How severely each feature drifted: alone, or else from the others.

    A column that moved alone takes those with it that it used to tell, so where any moved alone
    the others are not counted.
    """
    alone = {e.subject: e.severity for e in evidence if e.kind == "feature"}
    return alone or {e.subject: e.severity for e in evidence if e.kind == "joint"}


def _not_inputs(table: Table, frame: pl.DataFrame, is_request: bool) -> list[str]:
    ids = [k for k in table.key if k in frame.columns and frame[k].dtype.is_numeric()]
    return [*ids, *(table.late_columns if is_request else [])]


def _rows(numbers: pl.DataFrame) -> list[dict]:
    return numbers.filter(pl.col("drifted")).to_dicts()


def _drifted(row: dict, subject: str, drift: Drift) -> Evidence:
    """A drifted column in words; a column without numbers is one that is gone."""
    kind = "column" if "." in subject else ("score" if subject in SCORED else "feature")
    if row["kind"] == EMBEDDING:
        return _far(row, subject)
    psi = row["psi"]
    limit = float(row.get("limit") or drift.limit(row["column"]))
    if psi is None or not math.isfinite(psi):
        words = f"{subject}: {row['words'] or 'it drifted'}"
        return Evidence("covariate_drift", kind, subject, 1.0, limit, words, 1.0)
    words = f"{subject} drifted (PSI {psi:.2f}, at most {limit:.2f})"
    if psi < limit and row["words"]:
        words = f"{subject} drifted: {row['words']}"
    severity = max(0.5, beyond(psi, limit))
    return Evidence("covariate_drift", kind, subject, psi, limit, words, severity)


def _far(row: dict, subject: str) -> Evidence:
    """What the model makes of items lies elsewhere."""
    effect, limit = float(row["effect"]), float(row["limit"])
    severity = max(0.5, beyond(effect, limit))
    return Evidence("covariate_drift", "feature", subject, effect, limit, row["words"], severity)
