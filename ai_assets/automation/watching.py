"""Sensors of the whole code location: conditions, failed runs, and alerts that wait to be sent."""

from datetime import UTC, datetime

import dagster as dg

from ai_assets.automation.ticks import tick_seconds
from ai_assets.resources.notify import Alert, Notifier

RUNNING = dg.DefaultSensorStatus.RUNNING


def location_sensors() -> list[dg.SensorDefinition]:
    """What every code location has, whatever its products."""
    return [automation(), failed_runs, waiting_alerts]


def automation() -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions of all assets."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=RUNNING,
        minimum_interval_seconds=tick_seconds(),
        description="Carries new data through features, predictions and reports.",
    )


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=RUNNING,
    minimum_interval_seconds=tick_seconds(),
    description="Tells people about every run that failed: a broken contract, a gate, a crash.",
)
def failed_runs(context: dg.RunFailureSensorContext, notifier: Notifier) -> None:
    notifier.notify(failure_alert(context))


@dg.sensor(
    name="waiting_alerts",
    default_status=RUNNING,
    minimum_interval_seconds=30,
    description="Sends alerts again that could not be delivered.",
)
def waiting_alerts(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
    done = notifier.flush(datetime.now(UTC))
    return dg.SkipReason(f"{done.sent} alerts sent, {done.retried} wait, {done.failed} failed.")


def failure_alert(context: dg.RunFailureSensorContext) -> Alert:
    """The alert about a failed run, with what its failed steps and checks said."""
    run = context.dagster_run
    words = [step_words(event) for event in context.get_step_failure_events()]
    message = context.failure_event.message or "a run failed"
    keys = sorted(run.asset_selection or [], key=str)
    product = keys[0].path[0] if keys else context.dagster_run.job_name
    return Alert(
        product=product,
        partition=run.tags.get("dagster/partition"),
        kind="failed_run",
        severity="error",
        title=f"a run failed: {message.splitlines()[0][:120]}",
        words="\n".join(words) or message,
        evidence={"run_id": run.run_id, "decision": run.tags.get("ai_assets/decision", "")},
        key=f"run/{run.run_id}",
    )


def step_words(event: dg.DagsterEvent) -> str:
    """What a failed step said, without the stack."""
    error = event.step_failure_data.error
    cause = (error.cause or error) if error else None
    said = cause.message.strip() if cause else "failed"
    return f"{(event.step_key or '').replace('__', '/')}: {said}"
