"""A real webserver over a small state of its own, and a headless Chromium to look at it.

Nothing here runs in the repository's folder: `.env` there would win over the environment.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ai_assets_tests.processes import stop

CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
PLANES = 'key:"flight_delay/raw/planes" or key:"flight_delay/cleaned/planes"'


@pytest.fixture(scope="session")
def small_state(
    chromium: str, repo_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of a state in which the planes, and nothing else, are materialized."""
    home = tmp_path_factory.mktemp("state")
    (home / "dagster").mkdir()
    # Without this file the UI covers its pages with a welcome dialog some seconds later.
    shutil.copy(repo_root / "dagster.yaml", home / "dagster" / "dagster.yaml")
    environment = {
        **os.environ,
        "AI_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    command = [sys.executable, "-m", "dagster", "asset", "materialize"]
    done = subprocess.run(
        [*command, "-m", "ai_assets.definitions", "--select", PLANES],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return environment


@pytest.fixture(scope="session")
def webserver(
    small_state: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a webserver that shows the code location; stopped at the end."""
    folder = tmp_path_factory.mktemp("webserver")
    log = folder / "webserver.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(
            [*command, "-m", "ai_assets.definitions"],
            cwd=folder,
            env=small_state,
            stdout=out,
            stderr=out,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for_answer(f"{address}/server_info", server, log)
        yield address
    finally:
        stop(server)


def wait_for_answer(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers; fail with its log where it ends or stays silent."""
    deadline = time.monotonic() + 90
    while True:
        assert server.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the machine's Chromium."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: install the package 'chromium'")
    return found


@pytest.fixture
def page(chromium: str) -> Iterator[Any]:
    """A page of a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        try:
            yield browser.new_page(viewport={"width": 1600, "height": 1000})
        finally:
            browser.close()
