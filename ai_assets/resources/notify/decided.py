"""What people are told of a decision on a verdict."""

from collections.abc import Iterator

from ai_assets.lifecycle.retraining.decide import Decision
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.resources.notify.alert import Alert


def alerts_on(verdict: Verdict, decision: Decision) -> Iterator[Alert]:
    """Broken data is an error for people to mend; a retraining is news."""
    if decision.action == "wait":
        return
    broken = decision.action == "alert"
    yield Alert(
        product=verdict.product,
        partition=verdict.partition,
        kind="broken_data" if broken else "retraining",
        severity="error" if broken else "info",
        title=f"{verdict.product}: {'data is broken' if broken else 'retraining starts'}",
        words=decision.why,
        evidence={"decision": decision.decision_id, "cause": decision.cause},
        key=f"decision/{decision.decision_id}",
    )
