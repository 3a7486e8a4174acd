"""Runs that nobody is left to start are failed, and retries that were lost asked for again."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    AUTO_RETRY_RUN_ID_TAG,
    GRPC_INFO_TAG,
    PARENT_RUN_ID_TAG,
    WILL_RETRY_TAG,
)

from ai_assets.automation import lost
from ai_assets.automation.lost import ASKED_AGAIN, MOST_FAILURES, failed_lately, lost_runs, starting

STARTING, FAILURE = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.FAILURE
SHIPPED = """
run_launcher: {module: ai_assets.launcher, class: RunLauncher}
run_retries: {enabled: true, retry_on_asset_or_op_failure: false}
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(SHIPPED, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


@pytest.fixture
def place() -> Iterator[str]:
    """Where a code server may listen; the path of such a socket has to be short."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder, "server"))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "SECONDS_TO_START", 0.0)


def asked_for(instance: dg.DagsterInstance, pid: int | None = None, **server: object) -> str:
    """The id of a run that a code server has been asked to start, and that may have a process."""

    @dg.job
    def nothing() -> None:
        pass

    tags = {GRPC_INFO_TAG: json.dumps(server), "dagster/max_retries": "1"}
    run = instance.create_run_for_job(nothing, tags=tags)
    instance.report_engine_event("Launching", run)
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_STARTING.value, run.job_name)
    instance.report_dagster_event(event, run_id=run.run_id)
    if pid is not None:
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run)
    return run.run_id


def looked_at(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    """The run after the sensor has looked."""
    with dg.build_sensor_context(instance=instance) as context:
        lost_runs(context)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


def test_a_run_whose_code_server_is_gone_is_failed_and_will_be_retried(
    instance: dg.DagsterInstance, place: str
) -> None:
    run_id = asked_for(instance, host="localhost", socket=place)

    run = looked_at(instance, run_id)

    assert (run.status, run.is_complete_and_waiting_to_retry) == (FAILURE, True)
    (said,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "Its code server ended before there was a process for the run." in said.message


def test_a_socket_that_a_killed_server_has_left_behind_does_not_answer(
    instance: dg.DagsterInstance, place: str
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        run_id = asked_for(instance, host="localhost", socket=place)
        assert looked_at(instance, run_id).status == STARTING, "the server is at work"

    assert Path(place).exists()
    assert looked_at(instance, run_id).status == FAILURE


def test_a_run_whose_process_loads_goes_on_without_its_code_server(
    instance: dg.DagsterInstance, place: str
) -> None:
    run_id = asked_for(instance, os.getpid(), host="localhost", socket=place)

    assert looked_at(instance, run_id).status == STARTING


def test_a_run_whose_process_died_as_it_loaded_is_failed(
    instance: dg.DagsterInstance, place: str
) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    run_id = asked_for(instance, process.pid, host="localhost", socket=place)

    assert looked_at(instance, run_id).status == FAILURE
    (said,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert f"Process {process.pid} of the run is gone." in said.message


def test_of_a_server_that_is_reached_by_a_port_nothing_is_said(
    instance: dg.DagsterInstance,
) -> None:
    run_id = asked_for(instance, host="code_server", port=4000)

    assert looked_at(instance, run_id).status == STARTING


def test_a_run_gets_a_while_to_start(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for(instance, host="localhost", socket="/nowhere")
    assert len(starting(instance)) == 1

    monkeypatch.setattr(lost, "SECONDS_TO_START", 30.0)
    assert starting(instance) == []


def test_a_code_server_that_is_too_busy_to_answer_is_not_gone(
    instance: dg.DagsterInstance, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost, "_SECONDS_TO_ANSWER", 0.1)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(place)
        server.listen(0)
        first.connect(place)  # and nobody takes it, so there is no room for another
        run_id = asked_for(instance, host="localhost", socket=place)

        assert looked_at(instance, run_id).status == STARTING


@pytest.fixture
def failed(instance: dg.DagsterInstance) -> str:
    """The id of a run that failed and is to be retried."""
    run_id = asked_for(instance, host="localhost", socket="/nowhere")
    return looked_at(instance, run_id).run_id


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "SECONDS_TO_RETRY", 0.0)


def failures(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    said = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    return [entry.message for entry in said]


def give_up(instance: dg.DagsterInstance, run_id: str, message: str) -> None:
    """Do what Dagster's daemon does that could not make a retry."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_engine_event(message, run)
    instance.add_run_tags(run_id, {WILL_RETRY_TAG: "false"})


@pytest.mark.usefixtures("soon")
def test_a_retry_that_was_not_made_is_asked_for_again_a_few_times(
    instance: dg.DagsterInstance, failed: str
) -> None:
    for asked in range(1, 6):
        run = looked_at(instance, failed)
        assert run.is_complete_and_waiting_to_retry
        again = failures(instance, failed)[1:]
        assert len(again) == min(asked, MOST_FAILURES - 1)
        assert all(ASKED_AGAIN in message for message in again)


@pytest.mark.usefixtures("soon")
def test_a_retry_that_the_daemon_could_not_make_is_asked_for_again(
    instance: dg.DagsterInstance, failed: str
) -> None:
    give_up(instance, failed, "Failed to retry run")

    assert looked_at(instance, failed).is_complete_and_waiting_to_retry
    assert len(failures(instance, failed)) == 2


@pytest.mark.usefixtures("soon")
def test_a_run_that_is_not_to_be_retried_is_left_alone(
    instance: dg.DagsterInstance, failed: str
) -> None:
    give_up(instance, failed, "Not retrying run since it failed due to an asset or op failure.")

    assert not looked_at(instance, failed).is_complete_and_waiting_to_retry
    assert len(failures(instance, failed)) == 1


@pytest.mark.usefixtures("soon")
def test_a_run_that_failed_at_a_step_is_not_read(instance: dg.DagsterInstance) -> None:
    @dg.op
    def wrong() -> None:
        raise ValueError("as ever")

    @dg.job(tags={"dagster/max_retries": "1"})
    def failing() -> None:
        wrong()

    result = failing.execute_in_process(instance=instance, raise_on_error=False)

    assert not result.success
    assert [run.run_id for run in instance.get_runs()] == [result.run_id]
    assert failed_lately(instance) == []


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("whose", ["the daemon's", "a person's"])
def test_a_run_that_was_retried_is_left_alone(
    instance: dg.DagsterInstance, failed: str, whose: str
) -> None:
    @dg.job
    def nothing() -> None:
        pass

    tags = {} if whose == "the daemon's" else {PARENT_RUN_ID_TAG: failed}
    retry = instance.create_run_for_job(nothing, tags=tags)
    if whose == "the daemon's":
        instance.add_run_tags(failed, {AUTO_RETRY_RUN_ID_TAG: retry.run_id})

    looked_at(instance, failed)

    assert len(failures(instance, failed)) == 1


def test_the_daemon_gets_a_while_to_make_a_retry(instance: dg.DagsterInstance, failed: str) -> None:
    looked_at(instance, failed)

    assert len(failures(instance, failed)) == 1
