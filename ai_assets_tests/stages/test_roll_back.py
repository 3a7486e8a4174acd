"""Rolling back and forward: the one command of the README, as a process, on the small product."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small_product import NAME, World

from ai_assets.automation.why import Records, why_release
from ai_assets.automation.why.words import chain_text
from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import Entry, ReleaseLedger
from ai_assets.resources.signer import Signer
from ai_assets.serving import signature
from ai_assets.stages.release_config import ReleaseConfig

ROOT = Path(__file__).resolve().parent.parent.parent
MARCHS_END = datetime(2024, 4, 1, tzinfo=UTC)
LOCATION = """
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


@pytest.fixture
def records(shared_world: World, state: Path) -> Records:
    """The small product below a state root, where a second bundle has taken over from the first."""
    shutil.copytree(shared_world.home / "lake", state / "lake", symlinks=True)
    shutil.copytree(shared_world.home / "bundles", state / "bentoml", symlinks=True)
    location = LOCATION.format(folder=shared_world.product.folder)
    (state / "small_location.py").write_text(location, encoding="utf-8")
    lake, bundles = Lake(root=str(state / "lake")), BundleStore(home=str(state / "bentoml"))
    ledger = ReleaseLedger(lake=lake)
    newest = ledger.history(NAME).row(-1, named=True)
    second = another_bundle(bundles, newest["stable"], state)
    ledger.append(by_hand(second, newest["effective_from"]))
    return Records(shared_world.product, lake, bundles, ledger, DecisionLog(lake=lake))


def by_hand(bundle: str, effective: datetime) -> Entry:
    """A release that no gate was asked for."""
    return Entry(
        product=NAME,
        effective_from=effective,
        recorded_at=datetime.now(UTC),
        stable=bundle,
        decision_id=f"{bundle} by hand",
        cause="by hand",
        who="operator",
        why="a clearer model card",
    )


def another_bundle(bundles: BundleStore, tag: str, folder: Path) -> str:
    """A bundle like that one, but for its model card; its tag."""
    payload = folder / "another"
    shutil.copytree(bundles.payload(tag), payload)
    manifest = json.loads((payload / signature.MANIFEST).read_text(encoding="utf-8"))
    for name in (signature.MANIFEST, signature.SIGNATURE):
        (payload / name).unlink()
    with (payload / "model_card.md").open("a", encoding="utf-8") as card:
        card.write("\nA clearer word.\n")
    told = {k: v for k, v in manifest.items() if k not in ("format", "files")}
    Signer(key_path=str(folder / "another.pem")).sign(payload, told)
    return bundles.build(payload)


def readme_command() -> list[str]:
    """The command of the README's section, split as a shell does."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Roll back", 1)[1].split("\n## ", 1)[0]
    block = re.search(r"```\n(.*?dagster asset materialize.*?)```", section, re.S)
    assert block is not None
    return shlex.split(block.group(1).replace("\\\n", " "))


def release(state: Path, why: str, **named: str) -> subprocess.CompletedProcess[str]:
    """Run the README's command for the small product: other names, the same words."""
    config = {**named, "who": "Ada", "why": why}
    command = [
        option.replace("flight_delay", NAME).replace("ai_assets.definitions", "small_location")
        for option in readme_command()
    ]
    command[0] = str(Path(sys.executable).with_name("dagster"))
    command[command.index("--config-json") + 1] = json.dumps(
        {"ops": {f"{NAME}__release": {"config": config}}}
    )
    return subprocess.run(
        command,
        cwd=state,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{state}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_readmes_config_is_one_that_the_release_takes() -> None:
    command = readme_command()

    told: dict[str, Any] = json.loads(command[command.index("--config-json") + 1])
    config = ReleaseConfig.model_validate(told["ops"]["flight_delay__release"]["config"])
    assert (config.partition, config.bundle) == ("2013-03", None)
    assert config.why != "released by hand"
    assert command[command.index("--select") + 1] == 'key:"flight_delay/release"'


def test_one_command_rolls_back_by_bundle_and_the_same_one_forward_by_month(
    records: Records, state: Path
) -> None:
    first, second = (entry["stable"] for entry in records.releases()[-2:])
    moment = records.releases()[-1]["effective_from"]

    back = release(state, "the newer one answers too slowly", bundle=first)

    assert back.returncode == 0, back.stderr[-2000:]
    entry = records.ledger.as_of(NAME, MARCHS_END)
    # March was scored before by what was in production then: this stays so.
    march = records.ledger.as_of(NAME, moment)
    assert entry is not None and march is not None and march.stable == second
    assert (entry.effective_from, entry.stable) == (MARCHS_END, first)
    assert (entry.who, entry.cause) == ("Ada", "by hand")
    chain = why_release(records)
    assert (chain["release"]["stable"], chain["replaced"]) == (first, second)
    assert chain["gate"]["bundle"] == first
    assert chain["gate_asked_for"] == entry.release_id
    assert "why            the newer one answers too slowly" in chain_text(chain)

    forward = release(state, "it is quick now", partition="2024-02")

    assert forward.returncode == 0, forward.stderr[-2000:]
    assert [e["stable"] for e in records.releases()][-3:] == [second, first, second]


def test_a_bundle_released_again_keeps_the_gate_of_its_first_release(records: Records) -> None:
    first, second = records.releases()
    assert why_release(records)["gate"] is None, "nobody asked for the second bundle"
    records.ledger.append(by_hand(first["stable"], second["effective_from"]))

    chain = why_release(records)

    assert chain["gate"] == json.loads(first["gate"])
    assert chain["gate_asked_for"] == first["release_id"] != chain["release"]["release_id"]
    assert f"The gate was asked for release {first['release_id']} of it." in chain_text(chain)


def test_a_mistyped_bundle_ends_the_command_with_the_nearest(records: Records, state: Path) -> None:
    stable = records.releases()[0]["stable"]

    wrong = release(state, "a slip", bundle=stable[:-1])

    assert wrong.returncode != 0
    assert f"Did you mean '{stable}'?" in wrong.stderr
    assert len(records.releases()) == 2
