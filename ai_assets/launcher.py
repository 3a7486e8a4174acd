"""Dagster's run launcher, but it can tell whether a run's process is still alive.

A code server notices a worker that dies before it does. Where both were killed, as by a restart of
the machine or of the container, nobody did: the run stayed STARTED, kept its pool slots and was not
retried. The monitoring daemon asks this launcher. `dagster.yaml` names this class.
"""

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address

from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.instance import DagsterInstance
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.tags import GRPC_INFO_TAG

# What the worker itself says first: dagster/_grpc/impl.py, `_run_in_subprocess`.
_STARTED = re.compile(r"Started process for run \(pid: (\d+)\)")
# A process is there before it says so. What the kernel reckons as the start may be off by a second
# or two, as it counts from the boot; a number is not given out again as soon as that.
_SECONDS_OFF = 5.0


@dataclass(frozen=True)
class Worker:
    """The process that executes a run.

    Attributes:
        pid: Its number on its machine.
        seen_at: When it said that it had started, in seconds since 1970.
    """

    pid: int
    seen_at: float


class RunLauncher(DefaultRunLauncher):
    """Launches runs as Dagster's default does, and tells the monitoring daemon of dead ones."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED for a run whose process is gone; RUNNING else, also where it cannot be told.

        Dagster fails a run whose worker's status is UNKNOWN. What runs on another machine may be
        well, so such a run is left to `run_monitoring.max_runtime_seconds`.
        """
        if not is_here(run):
            return _running("Its process runs on another machine, where this one cannot look.")
        worker = worker_of(self._instance, run.run_id)
        if worker is None:
            return _running("Its process has not told its number.")
        gone = why_gone(worker)
        if gone is None:
            return _running(f"Process {worker.pid} is alive.", worker)
        return CheckRunHealthResult(WorkerStatus.FAILED, gone, run_worker_id=str(worker.pid))


def is_here(run: DagsterRun) -> bool:
    """Whether the code server that was asked to start the run shares this machine's processes."""
    told = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    host = str(told.get("host") or "")
    return bool(told.get("socket")) or host == "localhost" or _is_loopback(host)


def worker_of(instance: DagsterInstance, run_id: str) -> Worker | None:
    """The process that said last that it executes the run; None where none did."""
    said = instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT)
    found = [worker for worker in map(_worker_in, said) if worker is not None]
    return found[-1] if found else None


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


def _running(words: str, worker: Worker | None = None) -> CheckRunHealthResult:
    told = str(worker.pid) if worker else None
    return CheckRunHealthResult(WorkerStatus.RUNNING, words, run_worker_id=told)
