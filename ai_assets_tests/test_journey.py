"""The whole journey on real data, as `make run` makes it, in processes and a state of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ai_assets.journey import STEPS

ROOT = Path(__file__).resolve().parent.parent


def journey(home: Path) -> subprocess.CompletedProcess[str]:
    """Run the journey with all its state below `home`."""
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    (dagster_home / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    environment = {
        **os.environ,
        "AI_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(dagster_home),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", "ai_assets.journey"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )


def test_the_readme_shows_the_steps_that_the_journey_prints() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\[\d/\d\] .*$", readme, re.M)

    assert shown == [f"[{n}/{len(STEPS)}] {step.words}" for n, step in enumerate(STEPS, start=1)]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    home = tmp_path_factory.mktemp("journey")
    first, second = journey(home), journey(home)
    assert first.returncode == 0, first.stdout + first.stderr
    assert second.returncode == 0, second.stdout + second.stderr
    return first.stdout, second.stdout, home


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestJourney:
    def test_a_real_flight_gets_the_same_answer_online_as_in_the_batch(self, two_runs) -> None:
        first, _, _ = two_runs

        answered = re.search(r"answer: +(late|not late), probability (0\.\d{4})", first)
        batch = re.search(r"gave the same flight (0\.\d{4})", first)

        assert answered and batch
        assert abs(float(answered[2]) - float(batch[1])) <= 1e-4
        assert re.search(r"outcome: +it arrived \d+ minutes (late|early)", first)

    def test_the_report_and_the_card_are_where_it_says(self, two_runs) -> None:
        first, _, _ = two_runs
        report = Path(re.search(r"Drift report of April +(\S+)", first)[1])
        card = Path(re.search(r"Model card +(\S+)", first)[1])

        page = report.read_text(encoding="utf-8")
        assert "Drifted Columns" in page and "origin_delay_24h" in page
        assert card.read_text(encoding="utf-8").startswith("# Model card: flight_delay, 2013-03-01")

    def test_a_second_run_makes_nothing_anew(self, two_runs) -> None:
        _, second, _ = two_runs

        assert second.count("nothing to do: all of it is fresh") == 6
        assert "✓" not in second

    def test_it_says_how_far_it_is(self, two_runs) -> None:
        first, _, _ = two_runs

        assert "[1/6]" in first and "[6/6]" in first
        assert re.search(r"✓ flight_delay/features +\d+\.\d s", first)


@pytest.mark.slow
def test_without_a_home_the_journey_says_what_to_run(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
    done = subprocess.run(
        [sys.executable, "-m", "ai_assets.journey"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 2
    assert "Run `make run`" in done.stderr
