"""What a replay waits for where runs have failed: a retry that is due, and none where none is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from small_product import World

from ai_assets.automation.daemon import unfinished
from ai_assets.automation.replay import Replay
from ai_assets.lifecycle.retraining.decide import decide
from ai_assets.lifecycle.retraining.spec import Retrain
from ai_assets.lifecycle.verdict.evidence import Cause, Verdict
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake

APRIL = "2024-04-01"
RETRYING = "run_retries: {enabled: true}\n"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(RETRYING, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


@pytest.fixture
def replay(instance: dg.DagsterInstance, small_folder: Path, tmp_path: Path) -> Replay:
    product = World.of(small_folder, tmp_path / "home").product
    return Replay(product, dg.Definitions(), instance, "2024-03-01", [APRIL])


def failed(instance: dg.DagsterInstance) -> str:
    """The id of a run of April that has failed, as Dagster has it before it has tagged it."""

    @dg.job
    def nothing() -> None:
        pass

    run = instance.create_run_for_job(nothing, tags={"dagster/partition": APRIL})
    failure = dg.DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, run.job_name)
    instance.run_storage.handle_run_event(run.run_id, failure, datetime.now(UTC))
    return run.run_id


def test_a_run_that_failed_is_waited_for_until_its_retry_is_there(
    replay: Replay, instance: dg.DagsterInstance
) -> None:
    run_id = failed(instance)
    assert unfinished(instance) == 1, "nobody has said yet whether it is retried"

    instance.add_run_tags(run_id, {WILL_RETRY_TAG: "true"})
    assert unfinished(instance) == 1
    assert not replay.broke_down(APRIL)

    instance.add_run_tags(run_id, {AUTO_RETRY_RUN_ID_TAG: "another"})
    assert unfinished(instance) == 0
    assert not replay.broke_down(APRIL), "it failed, but the retry goes on with it"


def test_a_run_that_failed_for_good_ends_its_partition(
    replay: Replay, instance: dg.DagsterInstance
) -> None:
    failed_id = failed(instance)
    instance.add_run_tags(failed_id, {WILL_RETRY_TAG: "false"})

    assert unfinished(instance) == 0
    assert replay.broke_down(APRIL)
    assert not replay.broke_down("2024-05-01")


class Calm:
    """A daemon that works."""

    def poll(self) -> int | None:
        return None


@pytest.fixture
def unreadable(replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """A replay whose raw data cannot be read."""
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("ai_assets.automation.replay.materialize", lambda *given: False)
    return replay


def decided(cause: Cause) -> None:
    verdict = Verdict("late_orders", APRIL, "b:1", cause, 1.0, "weight is gone.", [], False)
    decision = decide(verdict, Retrain())
    DecisionLog(lake=Lake()).record(decision, {}, who="raw/orders", recorded_at=datetime.now(UTC))


def test_a_month_whose_source_is_broken_does_not_end_the_replay(
    unreadable: Replay, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decided("broken_data")

    unreadable.month(APRIL, Calm(), tmp_path / "daemon.log")
    unreadable.tell(APRIL)

    assert list(unreadable.clock.seconds) == ["delivery"]
    assert capsys.readouterr().out == (
        "  2024-04-01: alert. Broken data is not learned from: weight is gone.\n"
    )


@pytest.mark.parametrize("cause", [None, "none"])
def test_a_month_that_could_not_be_read_for_another_reason_does(
    unreadable: Replay, tmp_path: Path, cause: Cause | None
) -> None:
    if cause:
        decided(cause)

    with pytest.raises(RuntimeError, match="raw data of 2024-04-01 could not be read"):
        unreadable.month(APRIL, Calm(), tmp_path / "daemon.log")


def test_other_policies_are_asked_about_months_that_could_be_read(
    unreadable: Replay, tmp_path: Path
) -> None:
    assert [step.words for step in unreadable._backtest_steps(unreadable.readable())] == [
        "the page"
    ]

    rows = pl.DataFrame({"_row_id": [1]})
    Lake().replace(unreadable.product.asset("features"), rows, APRIL)

    assert [(s.words, s.first) for s in unreadable._backtest_steps(unreadable.readable())] == [
        ("model as of 2024-03-01, released or not", "2024-03-01"),
        ("other policies in 2024-04-01", APRIL),
        ("the page", APRIL),
    ]
