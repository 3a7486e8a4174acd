"""A real nginx with the shipped configuration, on a free loopback port."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ai_assets_tests.processes import stop


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def process(command: list[str], folder: Path, port: int, **environment: str) -> Iterator[None]:
    """Run a server until the end of the block; it must listen within a minute and a half."""
    log = folder / f"{Path(command[0]).name}_{port}.log"
    with log.open("w", encoding="utf-8") as out:
        running = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **environment}
        )
    try:
        end = time.monotonic() + 90
        while True:
            assert running.poll() is None, log.read_text(encoding="utf-8")[-3000:]
            assert time.monotonic() < end, log.read_text(encoding="utf-8")[-3000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        stop(running)


@dataclass(frozen=True)
class Secrets:
    """What `init_stack.sh` made."""

    folder: Path
    user: str
    password: str


@contextmanager
def proxy(
    repo_root: Path, folder: Path, secrets: Secrets, upstreams: dict[str, int]
) -> Iterator[str]:
    """The shipped proxy before servers of this machine; gives its address."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        pytest.skip("no nginx on this machine: install the package 'nginx-light'")
    place = folder / "proxy"
    shutil.copytree(repo_root / "deploy" / "proxy", place)
    shutil.copytree(secrets.folder / "secrets", place / "secrets")
    (port,) = free_ports(1)
    config = place / "nginx.conf"
    text, listens = re.subn(r"listen 8443", f"listen 127.0.0.1:{port}", config.read_text("utf-8"))
    assert listens == 1
    # The master may be root, its workers then need not read what this test has made.
    if os.geteuid() == 0:
        text = f"user root;\n{text}"
    config.write_text(text.replace("/tmp/", f"{place}/"), encoding="utf-8")
    lines = [f"upstream {n} {{ server 127.0.0.1:{p}; }}" for n, p in upstreams.items()]
    (place / "upstreams.conf").write_text("\n".join(lines), encoding="utf-8")
    command = [nginx, "-p", f"{place}/", "-c", str(config)]
    with process([*command, "-g", f"daemon off; pid {place}/pid;"], place, port):
        yield f"https://127.0.0.1:{port}"
