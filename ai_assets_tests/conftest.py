"""Fixtures that every test may use."""

import os
import socket
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder of this test's own; AI_ASSETS_HOME and DAGSTER_HOME point to it.

    A dagster command started as a subprocess must not run in the repository's folder: it would
    read the `.env` there, which wins over the environment, and write to the user's own state.
    """
    home = tmp_path / "state"
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True)
    monkeypatch.setenv("AI_ASSETS_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    return home


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def another_free_port(free_port: int) -> int:
    """A second one: both are held at once, so they differ."""
    with socket.socket() as held, socket.socket() as probe:
        held.bind(("127.0.0.1", free_port))
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Tests run side by side: numeric libraries get one thread each."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
