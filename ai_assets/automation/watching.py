"""Sensors of the whole code location: conditions, failed runs, and alerts that wait to be sent."""

from datetime import UTC, datetime

import dagster as dg

from ai_assets.automation.lost import lost_runs
from ai_assets.automation.ticks import tick_seconds
from ai_assets.lifecycle.errors import UserError
from ai_assets.resources.notify import Alert, Notifier

# Only runs whose process died are retried (`dagster.yaml`). What happens to a machine once in a
# while may happen again; what kills every run, such as too little memory, ends here.
RETRIES = 3
RUNNING = dg.DefaultSensorStatus.RUNNING


def location_sensors() -> list[dg.SensorDefinition]:
    """What every code location has, whatever its products."""
    return [automation(), failed_runs, lost_runs, waiting_alerts]


def automation() -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions of all assets."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        default_status=RUNNING,
        minimum_interval_seconds=tick_seconds(),
        run_tags={"dagster/max_retries": str(RETRIES)},
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
    run, failures = context.dagster_run, context.get_step_failure_events()
    words = [*map(step_words, failures), *check_words(context.instance, run.run_id)]
    message = context.failure_event.message or "a run failed"
    keys = sorted(run.asset_selection or [], key=str)
    steps = [step_name(event).split("/")[0] for event in failures]
    return Alert(
        product=keys[0].path[0] if keys else next(iter(steps), run.job_name),
        partition=run.tags.get("dagster/partition"),
        kind="failed_run",
        severity="error",
        title=f"a run failed: {message.splitlines()[0][:120]}",
        words="\n".join(words) or message,
        evidence={"run_id": run.run_id, "decision": run.tags.get("ai_assets/decision", "")},
        key=f"run/{run.run_id}",
    )


def step_words(event: dg.DagsterEvent) -> str:
    """What a failed step said, without the stack: the sentence for people, if it has one."""
    error, ours = event.step_failure_data.error, _names(UserError)
    while error is not None and error.cause is not None and error.cls_name not in ours:
        error = error.cause
    return f"{step_name(event)}: {error.message.strip() if error else 'failed'}"


def _names(family: type[Exception]) -> set[str]:
    return {family.__name__}.union(*map(_names, family.__subclasses__()))


def step_name(event: dg.DagsterEvent) -> str:
    """The asset that the step makes."""
    return (event.step_key or "").replace("__", "/")


def check_words(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """What the run's blocking checks said that failed."""
    records = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [r.dagster_event.asset_check_evaluation_data for r in records if r.dagster_event]
    return [
        f"{check.asset_key.to_user_string()}, check {check.check_name}: {check.description}"
        for check in found
        if check.blocking and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    ]
