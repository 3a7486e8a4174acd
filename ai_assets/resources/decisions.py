"""The decisions of a product, on verdicts and on trials, and why. Recorded once each."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl

    from ai_assets.resources.append_only import AppendOnly

COLUMNS = {
    "decision_id": "string",
    "product": "string",
    "partition": "string",
    "recorded_at": "timestamp",
    "action": "string",
    "cause": "string",
    "severity": "double",
    "who": "string",
    "why": "string",
    "evidence": "string",
}


class Decided(Protocol):
    """What was decided: about a verdict on a partition, or about a step of a trial."""

    @property
    def decision_id(self) -> str: ...
    @property
    def product(self) -> str: ...
    @property
    def partition(self) -> str | None: ...
    @property
    def action(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def severity(self) -> float: ...
    @property
    def why(self) -> str: ...
    @property
    def reasons(self) -> Sequence[Mapping[str, Any]]: ...


class DecisionLog(dg.ConfigurableResource):
    """The decisions of all products, in the given lake."""

    lake: Lake

    def record(
        self,
        decision: Decided,
        evidence: Mapping[str, Any],
        *,
        who: str,
        recorded_at: datetime,
    ) -> dict[str, Any]:
        """Write a decision down and return it; or return what was recorded of it before.

        Args:
            decision: what was decided.
            evidence: the verdict, the bundle, versions of data, costs: all it was decided on.
            who: who or what decided.
            recorded_at: now.
        """
        told = {"reasons": list(decision.reasons), **evidence}
        record = {
            "decision_id": decision.decision_id,
            "product": decision.product,
            "partition": decision.partition,
            "recorded_at": recorded_at,
            "action": decision.action,
            "cause": decision.cause,
            "severity": decision.severity,
            "who": who,
            "why": decision.why,
            "evidence": json.dumps(told, sort_keys=True, ensure_ascii=False),
        }
        return self._records(decision.product).append(record)

    def history(self, product: str) -> "pl.DataFrame":
        """All decisions in the order in which they were recorded."""
        return self._records(product).read().sort("recorded_at", "decision_id")

    def decided(self, product: str) -> dict[str, dict[str, Any]]:
        """What was decided, without the evidence, by id in the order of recording."""
        rows = self._records(product).read().drop("evidence").sort("recorded_at", "decision_id")
        return {row["decision_id"]: row for row in rows.iter_rows(named=True)}

    def find(self, product: str, decision_id: str) -> dict[str, Any] | None:
        """The decision with that id, its evidence as data; None if there is none."""
        import polars as pl

        found = self.history(product).filter(pl.col("decision_id") == decision_id)
        if found.is_empty():
            return None
        record = found.row(0, named=True)
        return record | {"evidence": json.loads(record["evidence"])}

    def _records(self, product: str) -> "AppendOnly":
        from ai_assets.resources.append_only import AppendOnly

        return AppendOnly(self.lake, AssetName(product, "decisions"), COLUMNS, "decision_id")
