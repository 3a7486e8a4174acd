"""Dagster's daemon sees that a run failed once the run says so, or it would never retry it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon

from ai_assets import history
from ai_assets_tests.histories import DAGSTERS, OURS, instance

RETRIES = "\nrun_retries: {enabled: true}"
TRIED = "Failed to retry run"  # there is no code server here


@dg.job
def nothing() -> None:
    pass


@pytest.fixture(params=[OURS, DAGSTERS], ids=["ours", "dagsters"])
def any_instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance(tmp_path, request.param + RETRIES) as found:
        yield found


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance(tmp_path, OURS + RETRIES) as found:
        yield found


def started(found: dg.DagsterInstance) -> dg.DagsterRun:
    tags = {"dagster/max_retries": "1"}
    return found.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)


def look(found: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Have the daemon look for failures; whether it has tried to retry the run by now."""
    context: Any = SimpleNamespace(instance=found)
    list(EventLogConsumerDaemon().run_iteration(context))
    return any(TRIED in entry.message for entry in found.all_logs(run.run_id))


def fail_and_look_in_between(
    found: dg.DagsterInstance, run: dg.DagsterRun, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Fail the run, and look after the event is stored and before the run says so."""
    seen: list[bool] = []
    store = found.run_storage
    say = store.handle_run_event

    def look_first(*told: Any) -> None:
        seen.append(look(found, run))
        say(*told)

    monkeypatch.setattr(store, "handle_run_event", look_first)
    found.report_run_failed(run)
    monkeypatch.undo()
    return seen[0]


def test_a_run_that_is_seen_just_as_it_fails_is_retried_by_the_next_look(
    any_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(any_instance)
    look(any_instance, run)

    assert not fail_and_look_in_between(any_instance, run, monkeypatch)

    # Dagster's own history is here to tell when Dagster has mended it.
    mended = isinstance(any_instance.event_log_storage, history.EventLogs)
    assert look(any_instance, run) == mended


def test_an_end_that_its_run_never_tells_does_not_hide_what_comes_after(
    ours: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, other = started(ours), started(ours)
    look(ours, silent)
    with monkeypatch.context() as dying:
        dying.setattr(ours.run_storage, "handle_run_event", lambda *told: None)
        ours.report_run_failed(silent)
    ours.report_run_failed(other)
    assert not look(ours, other)

    monkeypatch.setattr(history, "_SECONDS_TO_TELL", 0.0)

    assert look(ours, other)


def test_a_failure_of_a_run_that_was_deleted_hides_nothing(ours: dg.DagsterInstance) -> None:
    deleted, other = started(ours), started(ours)
    look(ours, deleted)
    ours.report_run_failed(deleted)
    ours.run_storage.delete_run(deleted.run_id)
    ours.report_run_failed(other)

    assert look(ours, other)
