"""One month of the replay on real data: the daemon carries it from raw rows to a decision."""

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import ReleaseLedger


def replayed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ai_assets.replay", "--last", "2013-04-01", "--no-backtest"]
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "AI_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
    }
    return subprocess.run(
        [*command, *arguments],
        cwd=home, env=environment, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_month_is_carried_to_a_decision_and_its_challenger_through_the_gate(
    tmp_path: Path,
) -> None:
    done = replayed(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2013-04-01: retrain." in done.stdout
    assert re.search(r"[3-9] runs by the daemon; \d+ s went into starting them", done.stdout)
    lake = Lake(root=str(tmp_path / "replay" / "as_it_was" / "lake"))
    decisions = DecisionLog(lake=lake).history("flight_delay")
    assert decisions.select("partition", "action", "cause").rows() == [
        ("2013-04-01", "retrain", "schedule")
    ]
    releases = ReleaseLedger(lake=lake).history("flight_delay")
    # April's challenger is not clearly worse than March's, which is what the product asks of it.
    assert releases.select(pl.col("stable").str.slice(13, 10)).rows() == [
        ("2013-03-01",),
        ("2013-04-01",),
    ]

    again = replayed(tmp_path)

    assert again.returncode == 0, again.stdout + again.stderr
    assert DecisionLog(lake=lake).history("flight_delay").equals(decisions)
    assert ReleaseLedger(lake=lake).history("flight_delay").equals(releases)
