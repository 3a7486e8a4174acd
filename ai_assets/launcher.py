"""Dagster's run launcher, but it can tell whether a run's process is still alive.

A code server notices a worker that dies before it does. Where both were killed, as by a restart of
the machine or of the container, nobody did: the run stayed STARTED and was not retried. Nor does
anybody notice of a run that a command began. The monitoring daemon asks this launcher.
`dagster.yaml` names this class.

Dagster tries once to start the retry of a run that failed. Where the code server does not answer at
that moment, the retry is lost for good, so a run whose code server is away or new is failed later.
"""

import json
import re
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.instance import DagsterInstance
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun, DagsterRunStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClassData

from ai_assets.resources.machine import MACHINE_TAG, Where, where

# What the worker itself says first: dagster/_grpc/impl.py, `_run_in_subprocess`.
_STARTED = re.compile(r"Started process for run \(pid: (\d+)\)")
# What a process says that executes the steps itself, or by others, with which it is the parent.
_OWN = re.compile(r"Executing steps .*\(pid: (\d+)\)")
# A process is there before it says so. What the kernel reckons as the start may be off by a second
# or two, as it counts from the boot; a number is not given out again as soon as that.
_SECONDS_OFF = 5.0
# How long a run whose process is gone waits for its code server.
_MOST_WAIT_S = 120.0
# How long the daemon may need to load a location again from a server that is new.
_LOADS_S = 20.0
_ANSWER_S = 2
_ELSEWHERE = "Its process runs on another machine, where this one cannot look."
_NOT_TOLD = "Its process has not told its number."
_NOWHERE = "Its process has not told its machine."
# Longer than two looks are apart.
_FORGOTTEN_S = 600.0


@dataclass(frozen=True)
class Worker:
    """The process that executes a run.

    Attributes:
        pid: Its number on its machine.
        seen_at: When it said that it had started, in seconds since 1970.
    """

    pid: int
    seen_at: float


@dataclass(frozen=True)
class Look:
    """What was seen of a run when it was last asked after.

    Attributes:
        at: When, on the monotonic clock, in seconds.
        server: Its code server; None where none answered.
        changed_at: The look that first found this server, or none, where another was before.
        gone_since: The look that first found its process gone; None while it is alive.
    """

    at: float
    server: str | None
    changed_at: float | None
    gone_since: float | None


class RunLauncher(DefaultRunLauncher):
    """Launches runs as Dagster's default does, and tells the monitoring daemon of dead ones."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._looks: dict[str, Look] = {}

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED for a run whose process is gone; RUNNING else, also where it cannot be told.

        Dagster fails a run whose worker's status is UNKNOWN. What runs on another machine may be
        well, so such a run is left to `run_monitoring.max_runtime_seconds`.
        """
        if GRPC_INFO_TAG not in run.tags:
            return self._health_of_a_command(run)
        if not is_here(run):
            return _running(_ELSEWHERE)
        worker = worker_of(self._instance, run.run_id)
        if worker is None:
            return _running(_NOT_TOLD)
        gone, before = why_gone(worker), self._looks.get(run.run_id)
        now = _now()
        since = None
        if gone is not None:
            since = before.gone_since if before and before.gone_since is not None else now
        server = self._server_of(run.run_id)
        changed = before.changed_at if before else None
        if before is not None and server != before.server:
            changed = now
        look = Look(now, server, changed, since)
        # Nobody says that a run has ended: what is asked after no more is forgotten.
        recent = {name: seen for name, seen in self._looks.items() if now - seen.at < _FORGOTTEN_S}
        self._looks = {**recent, run.run_id: look}
        if gone is None or since is None:
            return _running(f"Process {worker.pid} is alive.", worker)
        # The daemon asks after runs that have started; after others a sensor does, and its code
        # server answers.
        waits = run.status == DagsterRunStatus.STARTED and not is_settled(run, before, look)
        if waits and now - since < _MOST_WAIT_S:
            return _running(f"{gone} Its retry waits for the code server.", worker)
        self._looks.pop(run.run_id, None)
        return CheckRunHealthResult(WorkerStatus.FAILED, gone, run_worker_id=str(worker.pid))

    def _health_of_a_command(self, run: DagsterRun) -> CheckRunHealthResult:
        """Of a run that a command began: there is no code server, and no retry, to wait for."""
        if MACHINE_TAG not in run.tags:
            return _running(_NOWHERE)
        place = where(run)
        if place is Where.BEFORE_A_RESTART:
            words = "The machine was started again since the run began."
            return CheckRunHealthResult(WorkerStatus.FAILED, words)
        if place is Where.ELSEWHERE:
            return _running(_ELSEWHERE)
        worker = own_process_of(self._instance, run.run_id)
        if worker is None:
            return _running(_NOT_TOLD)
        gone = why_gone(worker)
        if gone is None:
            return _running(f"Process {worker.pid} is alive.", worker)
        return CheckRunHealthResult(WorkerStatus.FAILED, gone, run_worker_id=str(worker.pid))

    def _server_of(self, run_id: str) -> str | None:
        """The code server that was asked to start the run; None where none answers there."""
        client = self._get_grpc_client_for_termination(run_id)
        try:
            return None if client is None else str(client.get_server_id(timeout=_ANSWER_S))
        except DagsterUserCodeUnreachableError:
            return None


def is_settled(run: DagsterRun, before: Look | None, now: Look) -> bool:
    """Whether the run's code server answers, is that of the look before, and is not new.

    The daemon needs some seconds to load a location again from a server that is new. Where it
    starts servers itself, each has a socket of its own, and the new one is not seen here.
    """
    if before is None or now.server != before.server:
        return False
    if _told(run).get("socket"):
        return True
    known = now.changed_at is None or now.at - now.changed_at >= _LOADS_S
    return now.server is not None and known


def is_here(run: DagsterRun) -> bool:
    """Whether the code server that was asked to start the run shares this machine's processes."""
    told = _told(run)
    host = str(told.get("host") or "")
    return bool(told.get("socket")) or host == "localhost" or _is_loopback(host)


def _told(run: DagsterRun) -> dict[str, Any]:
    """The address of the code server that was asked to start the run."""
    found: dict[str, Any] = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    return found


def worker_of(instance: DagsterInstance, run_id: str) -> Worker | None:
    """The process that said last that it executes the run; None where none did."""
    said = instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT)
    found = [worker for worker in map(_worker_in, said) if worker is not None]
    return found[-1] if found else None


def own_process_of(instance: DagsterInstance, run_id: str) -> Worker | None:
    """The process that last said of itself that it executes the run's steps, on its own machine.

    That is all there is of a run that a command began: no code server was asked.
    """
    said = instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT)
    found = [(_OWN.search(entry.message), entry.timestamp) for entry in said]
    workers = [Worker(int(match.group(1)), at) for match, at in found if match]
    return workers[-1] if workers else None


def why_gone(worker: Worker) -> str | None:
    """Why the worker can do nothing any more, in words; None while it is alive."""
    import psutil

    try:
        process = psutil.Process(worker.pid)
        started, status = process.create_time(), process.status()
    except psutil.NoSuchProcess:
        return f"Process {worker.pid} of the run is gone."
    if started > worker.seen_at + _SECONDS_OFF:
        return f"Process {worker.pid} of the run is gone; another process has its number now."
    if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return f"Process {worker.pid} of the run has ended without a word."
    return None


def _worker_in(entry: EventLogEntry) -> Worker | None:
    said = _STARTED.match(entry.message)
    return Worker(int(said.group(1)), entry.timestamp) if said else None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _now() -> float:
    """Seconds on the monotonic clock."""
    return time.monotonic()


def _running(words: str, worker: Worker | None = None) -> CheckRunHealthResult:
    told = str(worker.pid) if worker else None
    return CheckRunHealthResult(WorkerStatus.RUNNING, words, run_worker_id=told)
