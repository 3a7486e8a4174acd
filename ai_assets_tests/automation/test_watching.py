"""People hear of every run that failed, in the words of what failed, and of what was waiting."""

from pathlib import Path

import dagster as dg
import pytest

from ai_assets.automation.watching import failed_runs, location_sensors, waiting_alerts
from ai_assets.lifecycle.errors import ColumnsError, DataError
from ai_assets.resources.notify import Alert, Notifier

MARCH = "2024-03-01"
MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-01-01")


@dg.asset(key_prefix="late_orders", partitions_def=MONTHS)
def features() -> None:
    raise DataError("features.sql reads 'delay', which is known too late.")


@dg.multi_asset(
    name="late_orders__cleaned",
    specs=[dg.AssetSpec(["late_orders", "cleaned"], partitions_def=MONTHS)],
    check_specs=[dg.AssetCheckSpec("whole", asset=["late_orders", "cleaned"], blocking=True)],
)
def cleaned():
    yield dg.MaterializeResult(asset_key=["late_orders", "cleaned"])
    yield dg.AssetCheckResult(
        passed=False,
        asset_key=["late_orders", "cleaned"],
        check_name="whole",
        description="600 of 602 rows were rejected.",
    )


@dg.asset(key=["late_orders", "labels"], deps=[["late_orders", "cleaned"]], partitions_def=MONTHS)
def labels() -> None:
    pass


@pytest.fixture
def notifier(tmp_path: Path) -> Notifier:
    return Notifier(
        console=False,
        file=str(tmp_path / "alerts.jsonl"),
        outbox_path=str(tmp_path / "outbox.db"),
        first_wait_seconds=0.001,
    )


def told(notifier: Notifier) -> list[Alert]:
    file = Path(notifier.file)
    return [Alert.from_json(line) for line in file.read_text("utf-8").splitlines()]


def fail(assets: list[dg.AssetsDefinition], notifier: Notifier, times: int = 1) -> str:
    """Run the assets, which fail, and tell the sensor; returns the run's id."""
    instance = dg.DagsterInstance.ephemeral()
    result = dg.materialize(
        assets, partition_key=MARCH, instance=instance, raise_on_error=False,
        tags={"ai_assets/decision": "d1"},
    )  # fmt: skip
    assert not result.success
    (event,) = [e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE]
    for _ in range(times):
        with dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=event,
            resources={"notifier": notifier},
        ) as context:
            failed_runs(context.for_run_failure())
    return result.run_id


def test_a_failed_step_is_told_in_its_own_words(notifier: Notifier) -> None:
    run_id = fail([features], notifier)

    (alert,) = told(notifier)
    assert (alert.product, alert.partition) == ("late_orders", MARCH)
    assert (alert.kind, alert.severity) == ("failed_run", "error")
    assert alert.words.startswith("late_orders/features: ")
    assert "features.sql reads 'delay', which is known too late." in alert.words
    assert "Traceback" not in alert.words
    assert alert.evidence == {"run_id": run_id, "decision": "d1"}


def test_of_a_failure_with_a_cause_the_sentence_for_people_is_told(notifier: Notifier) -> None:
    @dg.asset(key=["late_orders", "raw"], partitions_def=MONTHS)
    def raw() -> None:
        try:
            raise EOFError("stream ended")
        except EOFError as error:
            raise ColumnsError("File 'a.csv' must be complete.", []) from error

    fail([raw], notifier)

    (alert,) = told(notifier)
    assert alert.words.startswith("late_orders/raw: ")
    assert "File 'a.csv' must be complete." in alert.words
    assert "stream ended" not in alert.words


def test_a_blocking_check_that_failed_is_told_by_its_name_and_words(notifier: Notifier) -> None:
    fail([cleaned, labels], notifier)

    (alert,) = told(notifier)
    assert alert.words.splitlines()[-1] == (
        "late_orders/cleaned, check whole: 600 of 602 rows were rejected."
    )


def test_a_run_is_told_of_once_however_often_the_sensor_looks(notifier: Notifier) -> None:
    fail([features], notifier, times=3)

    assert len(told(notifier)) == 1


def test_what_could_not_be_sent_is_sent_again(notifier: Notifier, tmp_path: Path) -> None:
    folder = Path(notifier.file)
    folder.mkdir()  # a folder is no file to write to
    notifier.notify(Alert("late_orders", MARCH, "drift", "info", "drift", "moved", "k"))
    (waiting,) = notifier.pending()
    assert waiting.attempts == 1
    folder.rmdir()

    with dg.build_sensor_context(resources={"notifier": notifier}) as context:
        skipped = waiting_alerts(context)

    assert skipped.skip_message == "1 alerts sent, 0 wait, 0 failed."
    assert [alert.key for alert in told(notifier)] == ["k"]
    assert notifier.pending() == []


def test_nothing_waiting_is_nothing_to_do(notifier: Notifier) -> None:
    with dg.build_sensor_context(resources={"notifier": notifier}) as context:
        skipped = waiting_alerts(context)

    assert skipped.skip_message == "0 alerts sent, 0 wait, 0 failed."


def test_the_location_watches_by_itself() -> None:
    sensors = {sensor.name: sensor for sensor in location_sensors()}

    assert {"automation", "failed_runs", "waiting_alerts"} <= set(sensors)
    running = dg.DefaultSensorStatus.RUNNING
    assert {sensor.default_status for sensor in sensors.values()} == {running}


def test_a_run_that_a_condition_starts_is_retried_when_its_process_dies() -> None:
    sensors = {sensor.name: sensor for sensor in location_sensors()}

    automation = sensors["automation"]
    assert isinstance(automation, dg.AutomationConditionSensorDefinition)
    assert automation.run_tags == {"dagster/max_retries": "3"}
