"""A canary goes by itself: server, daemon and sensor as processes, over real bundles.

The test asks the server, as callers would, and looks on.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from challengers import UNDER, release, tag
from serving_processes import running
from small_product import FEATURES, FEBRUARY, LEARNING, MARCH, World

from ai_assets.automation.daemon import end_of, running_daemon
from ai_assets.resources.notify import Alert
from ai_assets.serving.record.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 400
ROLLOUT: dict[str, Any] = {
    "mode": "canary", "steps": [0.2, 0.6], "bake": "2 seconds", "min_answers": 30,
    "limits": {"error_rate": 0.02},
}  # fmt: skip
# The contract allows lighter orders than there ever were: nothing before the traffic shows these.
LIGHT = 0.001
FAILING = "CAST(floor(100 / r.weight) AS SMALLINT) AS share"
SLOW = f"""len(list_filter(
    range(CASE WHEN r.weight <= {LIGHT} THEN 1000000 ELSE CAST(r.weight AS BIGINT) END),
    lambda x: x * x >= 0)) AS share"""
LOCATION = """
import sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
import dagster as dg
from small_product import World
from ai_assets.automation.sensors import canary_sensor
world = World.of(Path({folder!r}), Path({home!r}))
defs = dg.Definitions(
    world.assets, sensors=[canary_sensor(world.product)], resources=vars(world.tools),
    executor=dg.in_process_executor,
)
"""


@dataclass
class Caller:
    """Asks of orders, a third of them very light, and keeps who answered."""

    client: httpx.Client
    numbers: Iterator[int] = field(default_factory=lambda: count())
    by: dict[int, list[str]] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)

    def ask(self, requests: int = 10) -> None:
        for number in (next(self.numbers) for _ in range(requests)):
            order = {
                "number": number % 100, "placed": "2024-04-02T00:00:00Z", "shop": "east",
                "weight": LIGHT if number % 3 == 0 else 5.0,
            }  # fmt: skip
            answer = self.client.post("/predict", json=order)
            self.statuses.add(answer.status_code)
            self.by.setdefault(number % 100, []).append(answer.json()["bundle"])

    def until(self, true: Callable[[], bool], log: Path) -> None:
        """Ask again and again until it is true."""
        end = time.monotonic() + WITHIN_S
        while not true():
            assert time.monotonic() < end, f"{runs(log.parent)}\n{end_of(log)}"
            self.ask()
            time.sleep(0.2)

    def last_by(self, requests: int = 100) -> set[str]:
        """The bundles that answer now."""
        before = {number: len(tags) for number, tags in self.by.items()}
        self.ask(requests)
        return {t for number, tags in self.by.items() for t in tags[before.get(number, 0) :]}


def learned_anew(world: World, feature: str) -> None:
    """Build March's challenger with a feature more."""
    sql = FEATURES.replace("v.load\n", f"v.load, {feature}\n")
    (world.product.folder / "features.sql").write_text(sql, encoding="utf-8")
    world.run("features", partition=FEBRUARY, last=MARCH)
    world.run(*LEARNING, partition=MARCH)


@contextmanager
def alive(world: World, tmp_path: Path, port: int) -> Iterator[tuple[Caller, Path]]:
    """Server and daemon at work; who asks, and the daemon's log."""
    helpers = str(Path(__file__).parent)
    told = {"helpers": helpers, "folder": str(world.product.folder), "home": str(world.home)}
    (tmp_path / "location.py").write_text(LOCATION.format(**told), encoding="utf-8")
    (tmp_path / "workspace.yaml").write_text("load_from: [{python_file: location.py}]\n")
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    log = {"AI_ASSETS_LOG": str(tmp_path / "log.sqlite"), "PYTHONPATH": str(ROOT)}
    server = log | {
        "AI_ASSETS_LAKE": str(world.home / "lake"),
        "AI_ASSETS_BUNDLES": str(world.home / "bundles"),
        "AI_ASSETS_CHECK_SECONDS": "0.2",
        "AI_ASSETS_ACCESS": "open",
    }
    daemon = log | {"DAGSTER_HOME": str(tmp_path / "dagster"), "AI_ASSETS_TICK_SECONDS": "1"}
    command = ["ai_assets.serving", "--product", "late_orders", "--port", str(port)]
    with (
        running(command, f"http://127.0.0.1:{port}", tmp_path, server) as client,
        running_daemon(tmp_path / "workspace.yaml", daemon, tmp_path / "daemon.log"),
    ):
        yield Caller(client), tmp_path / "daemon.log"


def steps(world: World) -> list[tuple[str, float]]:
    return list(world.tools.ledger.history("late_orders").select("mode", "split").iter_rows())


def is_over(world: World) -> bool:
    return world.tools.ledger.history("late_orders")["candidate"][-1] is None


def decisions(world: World) -> list[tuple[str, str]]:
    found = world.tools.decisions.history("late_orders")
    return list(found.select("action", "cause").iter_rows())


def alerts(world: World) -> list[tuple[str, str]]:
    lines = (world.home / "alerts.jsonl").read_text("utf-8").splitlines()
    told = [Alert.from_json(line) for line in lines]
    return [(alert.kind, alert.title) for alert in told if alert.kind in ("rollout", "rollback")]


def pages(tmp_path: Path, world: World) -> list[dict[str, Any]]:
    """What each materialization of `release` by the daemon shows, oldest first."""
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        found = instance.fetch_materializations(world.key("release"), limit=10).records
        shown = [record.asset_materialization.metadata for record in reversed(found)]
    return [{name: value.value for name, value in page.items()} for page in shown]


def runs(tmp_path: Path) -> list[str]:
    """How the runs of the daemon stand."""
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:
        return [run.status.value for run in instance.get_runs()]


def test_a_good_candidate_is_widened_and_promoted(
    challenged: World, tmp_path: Path, free_port: int
) -> None:
    world = challenged.declared(rollout=ROLLOUT)
    old, new = tag(world, FEBRUARY), tag(world, MARCH)
    assert release(world, **UNDER)["split"] == 0.2

    with alive(world, tmp_path, free_port) as (caller, log):
        caller.until(lambda: is_over(world), log)
        caller.until(lambda: caller.client.get("/release").json()["stable"] == new, log)
        caller.until(lambda: runs(tmp_path) == 2 * ["SUCCESS"], log)
        assert caller.last_by() == {new}

    assert steps(world) == [("", 0.0), ("canary", 0.2), ("canary", 0.6), ("", 0.0)]
    assert decisions(world) == [("widen", "limits kept"), ("promote", "limits kept")]
    assert alerts(world) == [("rollout", f"late_orders: {new} is to be promoted")]
    assert caller.statuses == {200}
    # Who met the candidate kept it when its share grew, and when it took over.
    for number, tags in caller.by.items():
        assert tags == sorted(tags, key=[old, new].index), number
    widened, promoted = pages(tmp_path, world)
    assert (widened["split"], widened["mode"], promoted["stable"]) == (0.6, "canary", new)
    assert widened["error_rate"] == promoted["error_rate"] == 0.0
    for page in (widened, promoted):
        assert page["observed"]["candidate"]["requests"] >= 30


@pytest.mark.parametrize(
    ("feature", "limits", "cause"),
    [
        (FAILING, {"error_rate": 0.02}, "error_rate"),
        (SLOW, {"latency_p99_ms": 20}, "latency_p99_ms"),
    ],
    ids=["failing", "slow"],
)
def test_a_bad_candidate_is_taken_back_and_no_caller_notices(
    challenged: World, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch,
    feature: str, limits: dict[str, float], cause: str,
) -> None:  # fmt: skip
    world = challenged.declared(rollout=ROLLOUT | {"limits": limits})
    monkeypatch.setenv("AI_ASSETS_ADMIT_NEW_COLUMNS", "1")
    learned_anew(world, feature)
    old, bad = tag(world, FEBRUARY), tag(world, MARCH)
    assert release(world, **UNDER)["candidate"] == bad

    with alive(world, tmp_path, free_port) as (caller, log):
        caller.until(lambda: is_over(world), log)
        caller.until(lambda: caller.client.get("/release").json()["candidate"] is None, log)
        caller.until(lambda: runs(tmp_path) == ["SUCCESS"], log)
        assert caller.last_by() == {old}

    assert steps(world) == [("", 0.0), ("canary", 0.2), ("", 0.0)]
    assert decisions(world) == [("roll_back", cause)]
    assert alerts(world) == [("rollback", f"late_orders: {bad} is to be taken back")]
    assert caller.statuses == {200}
    (page,) = pages(tmp_path, world)
    assert (page["stable"], page["candidate"]) == (old, "none")
    assert page[cause] > limits[cause]
    store = open_store(str(tmp_path / "log.sqlite"))
    fell_back = {entry.split.fell_back for entry in store.answers((None, None)) if entry.split}
    store.close()
    assert (True in fell_back) == (cause == "error_rate")
