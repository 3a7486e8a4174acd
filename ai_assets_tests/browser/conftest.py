"""A real webserver on loopback and a headless Chromium to look at it."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def webserver(state: Path, tmp_path: Path, free_port: int) -> Iterator[str]:
    """The address of a webserver that shows the code location; stopped at the end."""
    log = tmp_path / "webserver.log"
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(free_port)]
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(
            [*command, "-m", "ai_assets.definitions"], cwd=tmp_path, stdout=out, stderr=out
        )
    address = f"http://127.0.0.1:{free_port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            assert server.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            try:
                httpx.get(f"{address}/server_info", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def page() -> Iterator:
    """A page of a headless Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine: install the package 'chromium'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        try:
            yield browser.new_page(viewport={"width": 1600, "height": 1000})
        finally:
            browser.close()
