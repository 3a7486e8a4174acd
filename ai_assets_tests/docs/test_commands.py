"""The commands of the documentation, run as they stand in a checkout of their own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from blocks import Block, blocks_of, not_said, save
from postgres import Server, server

from ai_assets_tests.object_store import ObjectStore, object_store

ORDER = (
    "tutorial.md",
    "how-to/add-a-source.md",
    "how-to/add-a-feature.md",
    "how-to/add-a-metric.md",
    "how-to/add-a-family.md",
    "how-to/add-a-kind.md",
    "how-to/postgres.md",
    "how-to/s3.md",
    "how-to/ci.md",
    "how-to/backup.md",
    "how-to/upgrade.md",
)
"""A page may use what those before it made."""
COPIED = (
    "ai_assets", "ai_assets_tests", "deploy", "docs", "LICENSE", "Makefile", "README.md",
    "bentofile.yaml", "dagster.yaml", "pyproject.toml", "requirements.lock", "workspace.yaml",
)  # fmt: skip
MOST_SECONDS = 1500
POSTGRES = "postgresql://ada:secret@127.0.0.1:5432/"
WRITTEN_KEYS = re.compile(r"^AWS_\w+='.*'\n", re.MULTILINE)
"""Where a store of the tests is asked, its own keys and region are in the environment."""
MARK = "=== block "

pytestmark = [pytest.mark.slow, pytest.mark.timeout(MOST_SECONDS + 120)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Path:
    """A copy of the code, with this environment in place of the one that `make setup` makes."""
    folder = tmp_path_factory.mktemp("docs") / "checkout"
    folder.mkdir()
    skip = shutil.ignore_patterns("__pycache__", ".env")
    for name in COPIED:
        source = repo_root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=skip)
        else:
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    # Older than what was installed, so that `make setup` finds nothing to install.
    for name in ("pyproject.toml", "requirements.lock"):
        os.utime(folder / name, (0, 0))
    return folder


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def script_of(blocks: list[Block], file: Path) -> str:
    """One script of all commands and edits, that tells where each block begins."""
    save(blocks, file)
    steps = ["set -eu"]
    editor = Path(__file__).with_name("blocks.py")
    for number, block in enumerate(blocks):
        steps.append(f"echo; echo '{MARK}{number}'")
        if block.is_edit:
            steps.append(f"'{sys.executable}' '{editor}' '{file}' {number}")
        elif block.language == "bash":
            steps.append(block.text)
    return "\n".join(steps) + "\n"


def run(script: str, folder: Path, log: Path, given: dict[str, str]) -> int:
    """Run it as a person's shell would; what it started ends with it."""
    keep = {n: v for n, v in os.environ.items() if n in ("PATH", "HOME", "LANG", "TMPDIR")}
    environment = {
        **keep, **given, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "200",
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }  # fmt: skip
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(MOST_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("page", ORDER)
def test_the_commands_of_the_page_do_what_it_says(
    page: str, checkout: Path, repo_root: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    text = (repo_root / "docs" / page).read_text(encoding="utf-8")
    # A person's shell still has what the page on sources exports: the product reads that table.
    given = {"CRM_URL": f"sqlite:///{checkout}/crm.db"}
    if POSTGRES in text:
        running = request.getfixturevalue("database")
        text = text.replace(f"{POSTGRES}answers", running.url)
        text = text.replace(POSTGRES, running.url.removesuffix("postgres"))
        text = text.replace("DAGSTER_DB_PORT=5432", f"DAGSTER_DB_PORT={running.port}")
    if "s3://" in text:
        given |= request.getfixturevalue("store").environment
        text = WRITTEN_KEYS.sub("", text)
    (port,) = free_ports(1)
    blocks = blocks_of(text.replace("127.0.0.1:3001", f"127.0.0.1:{port}").replace(
        "--port 3001", f"--port {port}"
    ))  # fmt: skip
    log = tmp_path / "said"

    code = run(script_of(blocks, tmp_path / "blocks.json"), checkout, log, given)

    said = log.read_text(encoding="utf-8")
    assert code == 0, said[-6000:]
    parts = {int(p.split("\n", 1)[0]): p.split("\n", 1)[1] for p in said.split(MARK)[1:]}
    for number, block in enumerate(blocks):
        if block.language == "text":
            before = max(n for n in range(number) if blocks[n].language == "bash")
            assert not_said(block.text, parts[before]) == [], parts[before][-6000:]
