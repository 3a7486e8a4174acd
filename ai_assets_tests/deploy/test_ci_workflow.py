"""The workflow that users copy: its commands, run as they stand in a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

WORKFLOW = "deploy/ci/github-actions.yaml"
COPIED = [
    "ai_assets", "deploy", "Makefile", "README.md", "bentofile.yaml", "dagster.yaml",
    "pyproject.toml", "requirements.lock", "workspace.yaml",
]  # fmt: skip


@pytest.fixture(scope="module")
def workflow(repo_root: Path) -> dict:
    """The workflow file."""
    return yaml.safe_load((repo_root / WORKFLOW).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def commands(workflow: dict) -> dict[str, str]:
    """The command of each step, by the step's name."""
    return {s["name"]: s["run"] for s in workflow["jobs"]["product"]["steps"] if "run" in s}


@pytest.fixture(scope="module")
def checkout(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with a state of its own and this interpreter's packages."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        if (repo_root / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(repo_root / name, copy / name, ignore=ignore)
        else:
            shutil.copy2(repo_root / name, copy / name)
    (copy / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (copy / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    # `make setup` then finds nothing to install, and writes the environment file alone.
    (copy / ".venv" / ".installed").touch()
    return copy


def run(command: str, checkout: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step's command as GitHub does: bash, in the checkout, with the workflow's `env`."""
    left_out = {"AI_ASSETS_HOME", "DAGSTER_HOME", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: v for name, v in os.environ.items() if name not in left_out}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command],
        cwd=checkout,
        env={**environment, **settings, "DAGSTER_DISABLE_TELEMETRY": "yes"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_workflow_sets_up_checks_materializes_and_asks_the_gate(commands):
    assert list(commands) == [
        "Set up",
        "Check the YAML",
        "Materialize the window, from raw data to features and labels",
        "Train, judge, bundle, and ask the gate",
    ]
    assert all("\n" not in command for command in commands.values())


def test_the_commands_work_in_a_fresh_checkout_for_one_partition(workflow, commands, checkout):
    settings = workflow["env"] | {"PARTITION": workflow["env"]["FIRST"]}
    *cheap, train = commands.values()

    for command in cheap:
        done = run(command, checkout, settings)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    lake = checkout / ".state" / "lake" / settings["PRODUCT"]
    assert {"raw", "cleaned", "labels", "features"} <= {folder.name for folder in lake.iterdir()}

    # The window of three months holds one: the gate's step must fail, and say what is missing.
    refused = run(train, checkout, settings | {"PARTITION": workflow["env"]["PARTITION"]})
    assert refused.returncode != 0
    assert "2013-02-01" in refused.stdout + refused.stderr


def test_a_mistake_in_the_yaml_ends_the_job(workflow, commands, checkout):
    declaration = checkout / "ai_assets" / "products" / "flight_delay" / "defs.yaml"
    good = declaration.read_text(encoding="utf-8")
    declaration.write_text(good.replace("  horizon: ", "  horizont: "), encoding="utf-8")
    try:
        done = run(commands["Check the YAML"], checkout, workflow["env"])
    finally:
        declaration.write_text(good, encoding="utf-8")

    assert done.returncode != 0
    assert "horizont" in done.stdout + done.stderr


def test_the_gates_step_materializes_what_the_gate_needs_and_no_data(workflow, commands, checkout):
    command = commands["Train, judge, bundle, and ask the gate"]
    listing = command.replace("asset materialize", "asset list").split(" --partition")[0]

    done = run(listing, checkout, workflow["env"])

    keys = set(done.stdout.split())
    assert {"flight_delay/training_set", "flight_delay/bundle", "flight_delay/gate"} <= keys
    assert not {key for key in keys if key.split("/")[1] in {"raw", "cleaned", "features"}}
