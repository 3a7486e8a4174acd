"""The commands that CI runs, as processes, in a folder that is not the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from small_product import FEBRUARY, JANUARY, NAME, World

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
DAGSTER = str(Path(sys.executable).with_name("dagster"))


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command there, with no state but what is given."""
    kept = {k: v for k, v in os.environ.items() if k not in ("AI_ASSETS_HOME", "DAGSTER_HOME")}
    return subprocess.run(
        command,
        cwd=folder,
        env=kept | environment | {"DAGSTER_DISABLE_TELEMETRY": "yes"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def materialize(
    state: Path, *options: str, location: str = "ai_assets.definitions"
) -> subprocess.CompletedProcess[str]:
    homes = {"AI_ASSETS_HOME": str(state), "DAGSTER_HOME": str(state / "dagster")}
    command = [DAGSTER, "asset", "materialize", "-m", location, *options]
    return run(command, state, **homes, PYTHONPATH=f"{ROOT}:{state}")


def rows(state: Path, asset: str, partition: str) -> int:
    lake = Lake(root=str(state / "lake"))
    frame = lake.scan(AssetName("flight_delay", asset), [partition])
    return int(frame.select(pl.len()).collect().item())


def test_one_asset_of_one_partition_is_materialized_and_remembered(state: Path) -> None:
    done = materialize(
        state, "--select", 'key:"flight_delay/raw/weather"', "--partition", "2013-02-01"
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert rows(state, "raw/weather", "2013-02-01") > 2000
    assert "is not set" not in done.stderr and "are not set" not in done.stderr
    with dg.DagsterInstance.from_config(str(state / "dagster")) as instance:
        key = dg.AssetKey(["flight_delay", "raw", "weather"])
        assert instance.get_materialized_partitions(key) == {"2013-02-01"}


def test_a_failure_exits_with_an_error_and_says_which_partitions_to_fill(state: Path) -> None:
    done = materialize(
        state, "--select", 'key:"flight_delay/training_set"', "--partition", "2013-03-01"
    )

    assert done.returncode != 0
    assert "are missing: 2013-01-01, 2013-02-01, 2013-03-01." in done.stderr
    assert "--partition-range 2013-01-01...2013-03-01" in done.stderr


@pytest.mark.slow
def test_features_end_without_a_word_of_leaks(state: Path) -> None:
    stages = " or ".join(f"tag:stage={stage}" for stage in ("raw", "cleaned", "features"))

    done = materialize(
        state, "--select", f"group:flight_delay and ({stages})", "--partition", "2013-01-01"
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert rows(state, "features", "2013-01-01") > 20_000
    assert "leaked" not in done.stderr + done.stdout


@pytest.mark.slow
def test_a_stage_is_selected_by_its_tag_for_a_range_of_partitions(state: Path) -> None:
    done = materialize(
        state, "--select", "tag:stage=raw", "--partition-range", "2013-01-01...2013-02-01"
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert (rows(state, "raw/flights", "2013-01-01"), rows(state, "raw/flights", "2013-02-01")) == (
        27004,
        24951,
    )
    assert Lake(root=str(state / "lake")).exists(AssetName("flight_delay", "raw/planes"), None)


@pytest.mark.slow
def test_the_command_that_an_error_prints_fills_what_was_missing(state: Path) -> None:
    select = ["--select", '+key:"flight_delay/labels"']

    filled = materialize(state, *select, "--partition", "2013-01-01")

    assert filled.returncode == 0, filled.stderr[-2000:]
    assert rows(state, "labels", "2013-01-01") == 27004


SMALL_LOCATION = """
from pathlib import Path
import dagster as dg
from ai_assets.lifecycle.product import read_product
from ai_assets.resources import default_resources
from ai_assets.stages import stages_of
from ai_assets.stages.binding import bind

product = read_product(Path("{folder}"))
defs = dg.Definitions(
    [bind(product, stage) for stage in stages_of(product)],
    resources=default_resources(), executor=dg.in_process_executor,
)
"""


@pytest.mark.slow
def test_a_whole_group_is_made_where_nothing_was_released_yet(
    state: Path, shared_folder: Path
) -> None:
    """The README's command: a backtest with nothing to compare is no failure."""
    location = SMALL_LOCATION.format(folder=shared_folder)
    (state / "small_location.py").write_text(location, encoding="utf-8")
    earlier = World.of(shared_folder, state)
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "labels", "features")
    earlier.run("raw/shops", "cleaned/shops")
    earlier.run(*data, partition=JANUARY)

    select = ["--select", f"group:{NAME}", "--partition", FEBRUARY]
    done = materialize(state, *select, location="small_location")

    assert done.returncode == 0, done.stderr[-2000:]
    assert f"Nothing was in production at the start of {FEBRUARY}: no policy" in done.stderr
    page = earlier.tools.lake.artifact(earlier.product.asset("operations")) / "operations.html"
    assert page.is_file()
    columns = ["_row_id", "event_time", "label", "never", "rolling", "expanding"]
    backtest = earlier.rows("backtest", FEBRUARY)
    assert (backtest.height, backtest.columns) == (0, columns)


def test_loading_warns_where_the_state_would_be_forgotten(tmp_path: Path) -> None:
    code = "import ai_assets.definitions as location; location.defs()"

    unset = run([sys.executable, "-c", code], tmp_path)
    given = run(
        [sys.executable, "-c", code], tmp_path, DAGSTER_HOME=str(tmp_path), AI_ASSETS_HOME="state"
    )

    assert unset.returncode == given.returncode == 0
    assert "DAGSTER_HOME and AI_ASSETS_HOME are not set" in unset.stderr
    assert "make setup" in unset.stderr
    assert "not set" not in given.stderr
