"""Runs that were to start and never will: their code server ended before, or their process died.

Dagster's monitoring asks after the process of a run that has started. One that is still starting it
only times: five minutes as `dagster.yaml` has it, since loading may be slow. Yet where the daemon
is killed just as it asks for a run, its code server ends too, and nobody is left to start the run.
"""

import json
import socket
import time

import dagster as dg
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from ai_assets.automation.ticks import tick_seconds

# A process has said its number by then, and a server without a daemon has ended: it waits for 20 s
# (dagster/_core/remote_representation/grpc_server_registry.py).
SECONDS_TO_START = 30.0
_SECONDS_TO_ANSWER = 2.0


@dg.sensor(
    name="lost_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=tick_seconds(),
    description="Fails runs that nobody is left to start, so that they are retried.",
)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    failed = 0
    for run in starting(context.instance):
        if why := why_lost(context.instance, run):
            context.instance.report_run_failed(run, why)
            failed += 1
    return dg.SkipReason(f"{failed} runs will never start.")


def starting(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that have been starting for a while."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))
    before = time.time() - SECONDS_TO_START
    launched = {run.run_id: instance.get_run_stats(run.run_id).launch_time for run in runs}
    return [run for run in runs if (launched[run.run_id] or before) <= before]


def why_lost(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """Why the run will never start, in words; None where it may, or where it cannot be told.

    A code server outlives the processes that it starts, so without it there is none. Of a server
    that is reached by a port nothing is said: it may be on another machine.
    """
    if instance.run_launcher.supports_check_run_worker_health:
        health = instance.run_launcher.check_run_worker_health(run)
        if health.status == WorkerStatus.FAILED:
            return health.msg
        if health.run_worker_id:
            return None  # its process is at work
    path = json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")
    if not path or answers(path):
        return None
    return "Its code server ended before there was a process for the run."


def answers(path: str) -> bool:
    """Whether anybody listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_SECONDS_TO_ANSWER)
        try:
            asking.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # it is there, and busy
    return True
