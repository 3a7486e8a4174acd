"""A server in a process of its own, stopped by its own id."""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ai_assets.resources.bundles import BundleStore
from ai_assets_tests.processes import stop

READY_WITHIN_S = 90
# A machine that does much else may stand still for a while; no test is about that.
ANSWERS_WITHIN_S = 60


@contextmanager
def running(
    command: list[str],
    url: str,
    folder: Path,
    environment: dict[str, str],
    verify: ssl.SSLContext | bool = True,
) -> Iterator[httpx.Client]:
    """Start `python -m <command>` and give a client once it is ready; always stop it."""
    with started(command, url, folder, environment, verify) as (client, _):
        yield client


@contextmanager
def started(
    command: list[str],
    url: str,
    folder: Path,
    environment: dict[str, str],
    verify: ssl.SSLContext | bool = True,
) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    """As `running`, with the process."""
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            with httpx.Client(base_url=url, timeout=ANSWERS_WITHIN_S, verify=verify) as client:
                _wait(client, process, folder / "server.log")
                yield client, process
        finally:
            stop(process)


@contextmanager
def under_bentoml(
    payload: Path, folder: Path, port: int, environment: dict[str, str]
) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    """Build a Bento of a bundle and run `bentoml serve` with it; a client and the process."""
    store = BundleStore(home=str(folder / "home"))
    bento = store.path(store.build(payload))
    command = ["bentoml", "serve", str(bento), "--host", "127.0.0.1", "--port", str(port)]
    own = {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    with started(command, f"http://127.0.0.1:{port}", folder, {**own, **environment}) as found:
        yield found


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready in time:\n{log.read_text()[-3000:]}")
