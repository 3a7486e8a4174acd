"""Decisions: recorded once each, found by their id, never changed, whoever writes at once."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ai_assets.lifecycle.retraining.decide import Decision
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake

PRODUCT = "late_orders"


def decision(number: int, action: str = "wait", why: str = "Nothing has changed.") -> Decision:
    return Decision(
        decision_id=f"d{number}",
        product=PRODUCT,
        partition=f"2024-{number:02}-01",
        action=action,  # type: ignore[arg-type]
        cause="none",
        severity=0.25,
        why=why,
        reasons=[{"rule": "cause", "allows": False, "words": why}],
    )


def moment(day: int) -> datetime:
    return datetime(2024, 6, day, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    return DecisionLog(lake=Lake(root=str(tmp_path / "lake")))


def test_before_the_first_decision_there_is_none(log: DecisionLog) -> None:
    assert log.history(PRODUCT).schema == {
        "decision_id": pl.String,
        "product": pl.String,
        "partition": pl.String,
        "recorded_at": pl.Datetime("us", "UTC"),
        "action": pl.String,
        "cause": pl.String,
        "severity": pl.Float64,
        "who": pl.String,
        "why": pl.String,
        "evidence": pl.String,
    }
    assert log.history(PRODUCT).height == 0
    assert log.find(PRODUCT, "d1") is None


def test_a_decision_comes_back_with_all_that_it_was_decided_on(log: DecisionLog) -> None:
    log.record(decision(1), {"run_id": "r"}, who="sensor", recorded_at=moment(1))

    assert log.find(PRODUCT, "d1") == {
        "decision_id": "d1",
        "product": PRODUCT,
        "partition": "2024-01-01",
        "recorded_at": moment(1),
        "action": "wait",
        "cause": "none",
        "severity": 0.25,
        "who": "sensor",
        "why": "Nothing has changed.",
        "evidence": {
            "reasons": [{"rule": "cause", "allows": False, "words": "Nothing has changed."}],
            "run_id": "r",
        },
    }
    assert log.find(PRODUCT, "d2") is None
    assert log.find("another", "d1") is None


def test_a_decision_without_a_partition_is_recorded_too(log: DecisionLog) -> None:
    given = Decision("d1", PRODUCT, None, "wait", "none", 0.0, "")

    row = log.record(given, {}, who="sensor", recorded_at=moment(1))

    assert row["partition"] is None
    assert log.history(PRODUCT)["partition"].to_list() == [None]


def test_deciding_again_records_nothing_and_returns_what_was_decided(log: DecisionLog) -> None:
    first = log.record(decision(1), {"run_id": "r"}, who="ada", recorded_at=moment(1))
    other = decision(1, action="retrain", why="Changed its mind.")

    again = log.record(other, {}, who="bob", recorded_at=moment(2))

    assert again == first
    assert log.history(PRODUCT).select("action", "who").rows() == [("wait", "ada")]
    assert json.loads(again["evidence"])["run_id"] == "r"


def test_history_is_in_the_order_of_recording(log: DecisionLog) -> None:
    for number, day in ((3, 1), (1, 2), (2, 3)):
        log.record(decision(number), {}, who="sensor", recorded_at=moment(day))

    assert log.history(PRODUCT)["decision_id"].to_list() == ["d3", "d1", "d2"]


def test_delta_refuses_to_change_or_remove_decisions(log: DecisionLog, tmp_path: Path) -> None:
    log.record(decision(1), {}, who="sensor", recorded_at=moment(1))
    table = DeltaTable(str(tmp_path / "lake" / PRODUCT / "decisions"))

    with pytest.raises(DeltaError, match="append-only"):
        table.delete()
    with pytest.raises(DeltaError, match="append-only"):
        pl.DataFrame({"decision_id": ["x"]}).write_delta(table, mode="overwrite")


WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from ai_assets.lifecycle.retraining.decide import Decision
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake
root, who, folder = sys.argv[1:]
log = DecisionLog(lake=Lake(root=root))
log.history("late_orders")
Path(folder, who).touch()
while not Path(folder, "go").exists():
    time.sleep(0.001)
for number in range(6):
    decision = Decision(f"d{number}", "late_orders", None, "retrain", "none", 0.5, who)
    kept = log.record(decision, {}, who=who, recorded_at=datetime(2024, 6, 1, tzinfo=UTC))
    print(kept["decision_id"], kept["who"])
"""


def test_processes_that_decide_at_once_record_one_decision_each(tmp_path: Path) -> None:
    root, names = str(tmp_path / "lake"), ["ada", "bob"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, root, name, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    deadline = time.monotonic() + 120
    while not all((tmp_path / name).exists() for name in names) and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "go").touch()

    told = [writer.communicate(timeout=120)[0].splitlines() for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0]
    assert told[0] == told[1]
    found = DecisionLog(lake=Lake(root=root)).history(PRODUCT)
    assert sorted(found["decision_id"]) == [f"d{number}" for number in range(6)]
