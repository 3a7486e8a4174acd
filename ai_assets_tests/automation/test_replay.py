"""What a replay waits for where runs have failed: a retry that is due, and none where none is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from small_product import World

from ai_assets.automation.daemon import unfinished
from ai_assets.automation.replay import Replay

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
