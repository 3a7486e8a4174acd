"""What a run that carries out a decision tells of it: who decided, why, and by what evidence."""

from typing import Any

import dagster as dg

from ai_assets.lifecycle.product import Product
from ai_assets.resources.decisions import DecisionLog


def asked_by(decisions: DecisionLog, product: Product, decision_id: str) -> dict[str, Any]:
    """Metadata for all that a run under a decision makes; nothing without one on record.

    The verdict, and the run that came to it, are links in the UI.
    """
    decided = decisions.find(product.name, decision_id) if decision_id else None
    if decided is None:
        return {}
    evidence = decided["evidence"]
    told: dict[str, Any] = {
        "decision": decision_id,
        "decided": f"{decided['action']}, by {decided['who']}: {decided['why']}",
    }
    if "verdict" in evidence:
        told["evidence"] = dg.MetadataValue.asset(dg.AssetKey(product.asset("verdict").key))
        told["evidence_partition"] = decided["partition"] or "all"
    if evidence.get("run_id"):
        told["evidence_run"] = dg.MetadataValue.dagster_run(evidence["run_id"])
    return told
