"""A new version beside the one in production, in the graph: what the page of the gate shows."""

import json
from pathlib import Path
from typing import Any

from challengers import tag
from small_product import FEBRUARY, MARCH, World


def gate_of(world: World, partition: str = MARCH) -> dict[str, Any]:
    folder = world.tools.lake.artifact(world.product.asset("gate"), partition)
    return dict(json.loads((folder / "gate.json").read_text(encoding="utf-8")))


def versions_of(world: World, partition: str = MARCH) -> list[dict[str, Any]]:
    folder = world.tools.lake.artifact(world.product.asset("gate"), partition)
    return list(json.loads((folder / "versions.json").read_text(encoding="utf-8")))


def test_the_gate_shows_both_versions_side_by_side(challenged_world: World) -> None:
    gate = gate_of(challenged_world)
    versions = {row["what"]: row for row in versions_of(challenged_world)}
    metrics = {row["metric"]: row for row in gate["metrics"]}

    assert versions["bundle"]["this"] == tag(challenged_world, MARCH)
    assert versions["bundle"]["in_production"] == tag(challenged_world, FEBRUARY)
    assert (versions["as of"]["in_production"], versions["as of"]["this"]) == (FEBRUARY, MARCH)
    assert versions["learned from"]["this"] == f"{FEBRUARY} to {MARCH} (2)"
    assert versions["family"]["this"] == "linear" and not versions["family"]["changed"]
    assert versions["parameters"]["this"].startswith("c 0.")
    assert versions["one row"]["this"].endswith(" ms (99 %)")
    assert versions["version of training_set"]["changed"]
    assert list(metrics) == ["log_loss", "brier", "roc_auc", "pr_auc", "calibration_error"]
    (row,) = gate["comparison"]
    assert metrics["log_loss"]["difference"] == row["difference"]
    assert (metrics["log_loss"]["low"], metrics["log_loss"]["high"]) == (row["low"], row["high"])
    shown = challenged_world.metadata("gate", MARCH)
    march, february = tag(challenged_world, MARCH), tag(challenged_world, FEBRUARY)
    assert f"| bundle | {february} | {march} |" in shown["changed"]
    assert "| family |" not in shown["changed"]
    assert "| log_loss |" in shown["metrics"]
    page = Path(str(shown["page"])).read_text(encoding="utf-8")
    assert f"<h1>late_orders: {march} beside {february}</h1>" in page
    assert "<tr class=same><td>family</td><td>linear</td><td>linear</td></tr>" in page
    assert f"<td>{metrics['log_loss']['difference']:+.4f}</td>" in page


def test_a_first_bundle_stands_beside_nothing(shared_world: World) -> None:
    gate = gate_of(shared_world, FEBRUARY)

    page = Path(str(shared_world.metadata("gate", FEBRUARY)["page"])).read_text(encoding="utf-8")
    assert "There was nobody to compare its answers with." in page
    assert gate["metrics"] == []
    shown = shared_world.metadata("gate", FEBRUARY)
    assert "limits" in shown and not {"comparison", "metrics"} & shown.keys()
    versions = versions_of(shared_world, FEBRUARY)
    assert {row["in_production"] for row in versions} == {""}
    assert versions[0] == {
        "what": "bundle", "in_production": "", "this": gate["bundle"], "changed": True,
    }  # fmt: skip
