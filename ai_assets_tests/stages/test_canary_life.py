"""A canary goes by itself: server, daemon and sensor as processes, over real bundles.

The test asks the server, as callers would, and looks on.
"""

import time
from collections import Counter
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

    def until(self, true: Callable[[], bool], daemon: "Daemon") -> None:
        """Ask again and again until it is true."""
        end = time.monotonic() + WITHIN_S
        while not true():
            assert time.monotonic() < end, daemon.said()
            self.ask()
            time.sleep(0.2)

    def last_by(self, requests: int = 100) -> set[str]:
        """The bundles that answer now."""
        before = {number: len(tags) for number, tags in self.by.items()}
        self.ask(requests)
        return {t for number, tags in self.by.items() for t in tags[before.get(number, 0) :]}


@dataclass
class Daemon:
    """What the daemon has done, by the history it writes."""

    instance: dg.DagsterInstance
    log: Path

    def has_done(self, runs: int) -> bool:
        """Whether so many of its runs succeeded, and none is at work.

        A run that could not be started, as while its code server is replaced, is asked for again.
        """
        statuses = Counter(run.status for run in self.instance.get_runs())
        ended = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
        return statuses[dg.DagsterRunStatus.SUCCESS] == runs and set(statuses) <= ended

    def pages(self, release: dg.AssetKey) -> list[dict[str, Any]]:
        """What each materialization of `release` shows, oldest first."""
        found = self.instance.fetch_materializations(release, limit=10).records
        shown = [record.asset_materialization.metadata for record in reversed(found)]
        return [{name: value.value for name, value in page.items()} for page in shown]

    def said(self) -> str:
        """How its runs stand and what they said last, and the end of its log."""
        runs = {
            run.status.value: [entry.message for entry in self.instance.all_logs(run.run_id)][-6:]
            for run in self.instance.get_runs()
        }
        return f"{runs}\n{end_of(self.log)}"


def learned_anew(world: World, feature: str) -> None:
    """Build March's challenger with a feature more."""
    sql = FEATURES.replace("v.load\n", f"v.load, {feature}\n")
    (world.product.folder / "features.sql").write_text(sql, encoding="utf-8")
    world.run("features", partition=FEBRUARY, last=MARCH)
    world.run(*LEARNING, partition=MARCH)


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for Dagster's history, kept as users' is."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@contextmanager
def alive(
    world: World, tmp_path: Path, dagster_home: Path, port: int
) -> Iterator[tuple[Caller, Daemon]]:
    """Server and daemon at work; who asks, and what the daemon does."""
    helpers = str(Path(__file__).parent)
    told = {"helpers": helpers, "folder": str(world.product.folder), "home": str(world.home)}
    (tmp_path / "location.py").write_text(LOCATION.format(**told), encoding="utf-8")
    (tmp_path / "workspace.yaml").write_text("load_from: [{python_file: location.py}]\n")
    log = {"AI_ASSETS_LOG": str(tmp_path / "log.sqlite"), "PYTHONPATH": str(ROOT)}
    server = log | {
        "AI_ASSETS_LAKE": str(world.home / "lake"),
        "AI_ASSETS_BUNDLES": str(world.home / "bundles"),
        "AI_ASSETS_CHECK_SECONDS": "0.2",
        "AI_ASSETS_ACCESS": "open",
    }
    daemon = log | {"DAGSTER_HOME": str(dagster_home), "AI_ASSETS_TICK_SECONDS": "1"}
    command = ["ai_assets.serving", "--product", "late_orders", "--port", str(port)]
    with (
        dg.DagsterInstance.get() as instance,
        running(command, f"http://127.0.0.1:{port}", tmp_path, server) as client,
        running_daemon(tmp_path / "workspace.yaml", daemon, tmp_path / "daemon.log"),
    ):
        yield Caller(client), Daemon(instance, tmp_path / "daemon.log")


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


def test_a_good_candidate_is_widened_and_promoted(
    challenged: World, tmp_path: Path, dagster_home: Path, free_port: int
) -> None:
    world = challenged.declared(rollout=ROLLOUT)
    old, new = tag(world, FEBRUARY), tag(world, MARCH)
    assert release(world, **UNDER)["split"] == 0.2

    with alive(world, tmp_path, dagster_home, free_port) as (caller, daemon):
        caller.until(lambda: is_over(world), daemon)
        caller.until(lambda: caller.client.get("/release").json()["stable"] == new, daemon)
        caller.until(lambda: daemon.has_done(2), daemon)
        assert caller.last_by() == {new}
        widened, promoted = daemon.pages(world.key("release"))

    assert steps(world) == [("", 0.0), ("canary", 0.2), ("canary", 0.6), ("", 0.0)]
    assert decisions(world) == [("widen", "limits kept"), ("promote", "limits kept")]
    assert alerts(world) == [("rollout", f"late_orders: {new} is to be promoted")]
    assert caller.statuses == {200}
    # Who met the candidate kept it when its share grew, and when it took over.
    for number, tags in caller.by.items():
        assert tags == sorted(tags, key=[old, new].index), number
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
    challenged: World, tmp_path: Path, dagster_home: Path, free_port: int,
    monkeypatch: pytest.MonkeyPatch, feature: str, limits: dict[str, float], cause: str,
) -> None:  # fmt: skip
    world = challenged.declared(rollout=ROLLOUT | {"limits": limits})
    monkeypatch.setenv("AI_ASSETS_ADMIT_NEW_COLUMNS", "1")
    learned_anew(world, feature)
    old, bad = tag(world, FEBRUARY), tag(world, MARCH)
    assert release(world, **UNDER)["candidate"] == bad

    with alive(world, tmp_path, dagster_home, free_port) as (caller, daemon):
        caller.until(lambda: is_over(world), daemon)
        caller.until(lambda: caller.client.get("/release").json()["candidate"] is None, daemon)
        caller.until(lambda: daemon.has_done(1), daemon)
        assert caller.last_by() == {old}
        (page,) = daemon.pages(world.key("release"))

    assert steps(world) == [("", 0.0), ("canary", 0.2), ("", 0.0)]
    assert decisions(world) == [("roll_back", cause)]
    assert alerts(world) == [("rollback", f"late_orders: {bad} is to be taken back")]
    assert caller.statuses == {200}
    assert (page["stable"], page["candidate"]) == (old, "none")
    assert page[cause] > limits[cause]
    store = open_store(str(tmp_path / "log.sqlite"))
    fell_back = {entry.split.fell_back for entry in store.answers((None, None)) if entry.split}
    store.close()
    assert (True in fell_back) == (cause == "error_rate")
