"""What people are told of a decision on a verdict."""

from collections.abc import Iterator, Mapping
from typing import Any

from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.resources.notify.alert import Alert


def alerts_on(verdict: Verdict, decided: Mapping[str, Any]) -> Iterator[Alert]:
    """Broken data is an error for people to mend; a retraining is news.

    Args:
        verdict: what was decided about.
        decided: `decision_id`, `action`, `cause` and `why` of the decision.
    """
    if decided["action"] == "wait":
        return
    broken = decided["action"] == "alert"
    yield Alert(
        product=verdict.product,
        partition=verdict.partition,
        kind="broken_data" if broken else "retraining",
        severity="error" if broken else "info",
        title=f"{verdict.product}: {'data is broken' if broken else 'retraining starts'}",
        words=decided["why"],
        evidence={"decision": decided["decision_id"], "cause": decided["cause"]},
        key=f"decision/{decided['decision_id']}",
    )
