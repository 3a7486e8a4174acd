"""Waiting for a daemon: what is awaited comes, the daemon ends, or it takes too long."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

from ai_assets.automation.daemon import code_server, stop, wait_for


def process(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "daemon.log").write_text("first\nno code server\n", encoding="utf-8")
    return tmp_path / "daemon.log"


def test_what_is_awaited_ends_the_wait(log: Path) -> None:
    asked: list[int] = []

    def found() -> bool:
        asked.append(1)
        return len(asked) == 2

    daemon = process("import time; time.sleep(60)")
    try:
        wait_for("it", found, daemon, log, 30)
    finally:
        stop(daemon)
    assert len(asked) == 2
    assert daemon.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(daemon.pid, 0)


def test_a_daemon_that_ended_is_told_with_the_end_of_its_log(log: Path) -> None:
    daemon = process("")
    daemon.wait()
    with pytest.raises(RuntimeError, match=r"ended while waiting for it\.\nfirst\nno code server"):
        wait_for("it", lambda: False, daemon, log, 30)


def test_a_wait_that_is_too_long_says_for_what(log: Path) -> None:
    daemon = process("import time; time.sleep(60)")
    try:
        with pytest.raises(RuntimeError, match="the verdict did not come within 0 s"):
            wait_for("the verdict", lambda: False, daemon, log, 0)
    finally:
        stop(daemon)


def test_a_daemon_that_does_not_listen_is_killed(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_assets.automation.daemon._SECONDS_TO_STOP", 1)
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True)"
    daemon = subprocess.Popen(
        [sys.executable, "-c", f"{deaf}; time.sleep(60)"],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout is not None
    daemon.stdout.readline()
    stop(daemon)
    assert daemon.returncode == -9


def test_a_code_server_is_there_for_whom_its_workspace_file_is_given(log: Path) -> None:
    home = log.parent
    (home / "shown.py").write_text("import dagster as dg\ndefs = dg.Definitions()\n", "utf-8")
    environment = {"PYTHONPATH": str(home), "DAGSTER_HOME": str(home)}
    with (
        code_server("shown", environment, log) as workspace,
        dg.DagsterInstance.local_temp(str(home)) as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)])) as context,
    ):
        asked = context.create_request_context()
        assert list(asked.code_location_names) == ["shown"]
        assert not asked.code_location_errors()
    assert not workspace.exists()


def test_a_code_server_that_cannot_load_its_module_says_why(log: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)waiting for the code server.*no_such_module"),
        code_server("no_such_module", {"DAGSTER_HOME": str(log.parent)}, log),
    ):
        raise AssertionError("it is not there")
