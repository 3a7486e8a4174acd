"""Dagster's daemon as a process of ours, stopped by its own id, and questions to its instance."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Protocol

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.tags import WILL_RETRY_TAG

from ai_assets.automation.lost import answers

_SECONDS_TO_STOP = 30
_SECONDS_BETWEEN_LOOKS = 1.0
DONE = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class Process(Protocol):
    """What is asked of a daemon's process while something is awaited of it."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""


@contextmanager
def running_daemon(
    workspace: Path, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `dagster-daemon` over a workspace while the block runs.

    It works in the log's folder: where it finds a `.env` file, Dagster lets that one replace the
    environment that it was given, the place of its history included.
    """
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
    with log.open("ab") as output:
        process = _started(command, environment, log, output)
        try:
            yield process
        finally:
            stop(process)


@contextmanager
def code_server(module: str, environment: dict[str, str], log: Path) -> Iterator[Path]:
    """Serve a code location while the block runs; the workspace file that names it, for a daemon.

    One that is given a module instead starts a server for it every minute anew, with all imports
    (`check_workspace_freshness` in dagster/_daemon/controller.py).

    Raises:
        RuntimeError: it ended, or did not answer within three minutes.
    """
    with TemporaryDirectory() as folder, log.open("ab") as output:
        # The path of a socket may have about 100 characters, and that of a state folder more.
        socket, workspace = Path(folder, "code.sock"), Path(folder, "workspace.yaml")
        server = {"socket": str(socket), "location_name": module.partition(".")[0]}
        workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
        command = [sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(socket)]
        process = _started([*command, "--module-name", module], environment, log, output)
        try:
            wait_for("the code server", lambda: answers(str(socket)), process, log, 180)
            yield workspace
        finally:
            stop(process)


def _started(
    command: list[str], environment: dict[str, str], log: Path, output: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=log.parent,
        env={**os.environ, **environment},
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end; after a while, end it and what it started."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(
    what: str,
    found: Callable[[], bool],
    process: Process,
    log: Path,
    seconds: float,
) -> None:
    """Wait until `found` is true.

    Raises:
        RuntimeError: the process ended, or it took too long; the message holds the end of its log.
    """
    until = time.monotonic() + seconds
    while not found():
        if process.poll() is not None:
            raise RuntimeError(f"The process ended while waiting for {what}.\n{end_of(log)}")
        if time.monotonic() > until:
            raise RuntimeError(f"{what} did not come within {seconds:.0f} s.\n{end_of(log)}")
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def end_of(log: Path, lines: int = 30) -> str:
    """The last lines of a log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(text.splitlines()[-lines:])


def unfinished(instance: dg.DagsterInstance) -> int:
    """How many runs have not ended, or failed and are about to be retried."""
    active = [status for status in dg.DagsterRunStatus if status not in DONE]
    waiting = sum(awaits_retry(instance, run) for run in failed_runs(instance))
    return instance.get_runs_count(dg.RunsFilter(statuses=active)) + waiting


def failed_runs(
    instance: dg.DagsterInstance, tags: dict[str, str] | None = None
) -> list[dg.DagsterRun]:
    """The runs that failed, of those with the tags."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], tags=tags)
    return list(instance.get_runs(failed))


def awaits_retry(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a failed run is about to be retried, or it has not been settled whether it is.

    Dagster says so in a tag just after it has failed the run, and in another one what the retry is.
    """
    unsettled = instance.run_retries_enabled and WILL_RETRY_TAG not in run.tags
    return unsettled or run.is_complete_and_waiting_to_retry


def has_looked(instance: dg.DagsterInstance, sensor: str = "automation") -> bool:
    """Whether the conditions have been evaluated once: only what comes later is new to them."""
    ended = [TickStatus.SUCCESS, TickStatus.SKIPPED]
    return any(
        state.instigator_name == sensor
        and instance.get_ticks(
            state.instigator_origin_id, state.selector_id, limit=1, statuses=ended
        )
        for state in instance.all_instigator_state()
    )
