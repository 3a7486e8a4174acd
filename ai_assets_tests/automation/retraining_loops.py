"""The retraining sensor with verdicts that a test concludes, and what it decided on them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
from small_product import MARCH, World

from ai_assets.automation import retraining
from ai_assets.automation.sensors import learning_keys
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.notify import Alert, Notifier

BUNDLE = "late_orders:2024-02-01-0123456789ab"
DRIFT = Verdict("late_orders", MARCH, BUNDLE, "covariate_drift", 0.7, "weight has moved.", [], True)
CALM = replace(DRIFT, cause="none", severity=0.0, words="Nothing has changed.")
BROKEN = replace(DRIFT, cause="broken_data", severity=1.0, words="weight is missing.")


class Loop:
    """The sensor with its world: an instance, a decision log, and alerts in a file."""

    def __init__(self, world: World, home: Path) -> None:
        self.world, self.home = world, home
        self.file = home / "alerts.jsonl"
        self.keys = learning_keys(world.assets)
        self.decisions: DecisionLog = world.tools.decisions
        self.cursor: str | None = None

    def notifier(self) -> Notifier:
        return Notifier(
            console=False, file=str(self.file), outbox_path=str(self.home / "outbox.db")
        )

    def conclude(self, verdict: Verdict | None, **metadata: Any) -> None:
        """Let the verdict asset be materialized with this verdict."""
        told = {"verdict": dg.JsonMetadataValue(json.loads(verdict.to_json()))} if verdict else {}
        self.materialize("verdict", verdict.partition if verdict else MARCH, **told, **metadata)

    def materialize(self, asset: str, partition: str | None, **metadata: Any) -> None:
        self.world.instance.report_runless_asset_event(
            dg.AssetMaterialization(self.world.key(asset), partition=partition, metadata=metadata)
        )

    def tick(self, keep_cursor: bool = True) -> dg.SensorResult:
        with dg.build_sensor_context(
            instance=self.world.instance,
            cursor=self.cursor,
            resources={"decisions": self.decisions, "notifier": self.notifier()},
        ) as context:
            result = retraining.tick(context, self.world.product, self.keys)
        if keep_cursor and result.cursor:
            self.cursor = result.cursor
        return result

    def decided(self) -> list[tuple[str, str, str]]:
        rows = self.decisions.history("late_orders").select("partition", "action", "cause")
        return rows.rows()

    def alerts(self) -> list[Alert]:
        if not self.file.exists():
            return []
        return [Alert.from_json(line) for line in self.file.read_text("utf-8").splitlines()]


def skipped(result: dg.SensorResult) -> str | None:
    """Why a tick started nothing."""
    assert not isinstance(result.skip_reason, str)
    return result.skip_reason.skip_message if result.skip_reason else None


def keys(result: dg.SensorResult) -> list[str | None]:
    return [request.run_key for request in result.run_requests or []]
