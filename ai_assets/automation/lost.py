"""Runs that were to start and never will: nobody is left to start them, or to retry them.

Dagster's monitoring asks after the process of a run that has started. One that is still starting it
only times: five minutes as `dagster.yaml` has it, since loading may be slow. Yet where the daemon
is killed just as it asks for a run, its code server ends too, and nobody is left to start the run.

Dagster's daemon tries once to start the retry of a run that failed, when it sees the failure among
the events. Where the code server is away at that moment, or the run is not said to have failed yet
(its status is written after the event), there is never a retry, unless it sees another failure.
"""

import json
import socket
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    GRPC_INFO_TAG,
    MAX_RETRIES_TAG,
    PARENT_RUN_ID_TAG,
    RUN_FAILURE_REASON_TAG,
)

from ai_assets.automation.ticks import tick_seconds

# A process has said its number by then, and a server without a daemon has ended: it waits for 20 s
# (dagster/_core/remote_representation/grpc_server_registry.py).
SECONDS_TO_START = 30.0
_SECONDS_TO_ANSWER = 2.0
# The daemon looks for failures every 5 s.
SECONDS_TO_RETRY = 20.0
# A run whose job is gone, or whose backfill was cancelled, is not retried however often one asks.
MOST_FAILURES = 4
_LOOKS_BACK = timedelta(days=1)
# What the daemon says then: dagster/_daemon/auto_run_reexecution/auto_run_reexecution.py.
_GAVE_UP = "Failed to retry run"
ASKED_AGAIN = "It was to be retried, and was not: its retry is asked for again."


@dg.sensor(
    name="lost_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=tick_seconds(),
    description="Fails runs that nobody is left to start, and asks again for lost retries.",
)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    instance = context.instance
    lost = [(run, why) for run in starting(instance) if (why := why_lost(instance, run))]
    unretried = [(run, ASKED_AGAIN) for run in failed_lately(instance) if is_lost(instance, run)]
    for run, why in lost + unretried:
        instance.report_run_failed(run, why)
    return dg.SkipReason(
        f"{len(lost)} runs will never start; {len(unretried)} retries are asked for again."
    )


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


def failed_lately(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that died within a day, may be retried, and that nobody has retried."""
    since = datetime.now(UTC) - _LOOKS_BACK
    failed = instance.get_runs(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    )
    return [run for run in failed if _may_be_retried(run) and not _is_retried(instance, run)]


def _may_be_retried(run: dg.DagsterRun) -> bool:
    """Whether the daemon may have been meant to; told by tags, for most runs fail at a step."""
    died = run.tags.get(RUN_FAILURE_REASON_TAG) != RunFailureReason.STEP_FAILURE.value
    return run.is_complete_and_waiting_to_retry or (died and MAX_RETRIES_TAG in run.tags)


def is_lost(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether a failed run was to be retried a while ago, and the daemon will not do it."""
    failures = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    said = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    latest = failures[-1].timestamp if failures else time.time()
    gave_up = [entry for entry in said if entry.timestamp > latest and _GAVE_UP in entry.message]
    if not (run.is_complete_and_waiting_to_retry or gave_up):
        return False
    return len(failures) < MOST_FAILURES and latest <= time.time() - SECONDS_TO_RETRY


def _is_retried(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether there is a run in the place of a failed one, the daemon's or a person's."""
    again = dg.RunsFilter(tags={PARENT_RUN_ID_TAG: run.run_id})
    return AUTO_RETRY_RUN_ID_TAG in run.tags or instance.get_runs_count(again) > 0


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
