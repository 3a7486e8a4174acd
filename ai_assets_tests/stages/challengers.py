"""What tests of releases share: a challenger's tag, and releasing it."""

import json
from datetime import UTC, datetime
from typing import Any

from small_product import LEARNING, MARCH, World

APRILS_START = datetime(2024, 4, 1, tzinfo=UTC)
DECISION = "0123456789abcdef"
UNDER = {"who": "retraining sensor", "why": "weight has moved", "decision": DECISION}
STEEP = {"margin": 0.5}
OF_A_MODEL = LEARNING[1:]
"""From tuning to the gate."""


def tag(world: World, partition: str) -> str:
    folder = world.tools.lake.artifact(world.product.asset("bundle"), partition)
    return str(json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["tag"])


def gate_of(world: World, partition: str = MARCH) -> dict[str, Any]:
    """What the gate found, as it keeps it."""
    folder = world.tools.lake.artifact(world.product.asset("gate"), partition)
    return dict(json.loads((folder / "gate.json").read_text(encoding="utf-8")))


def of_release(config: dict[str, Any]) -> dict[str, Any]:
    return {"late_orders__release": {"config": config}}


def release(world: World, partition: str | None = MARCH, /, **config: Any) -> dict[str, Any]:
    """Release by a run of the partition, or of the ledger alone, which succeeds."""
    assets = ("gate", "release") if partition else ("release",)
    assert world.run(*assets, partition=partition, config=of_release(config)).success
    return world.metadata("release")
