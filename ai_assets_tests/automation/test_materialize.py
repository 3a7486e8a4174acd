"""What `make run` makes anew, and what it leaves alone."""

from collections.abc import Iterator

import dagster as dg
import pytest

from ai_assets.automation.materialize import Step, materialize, unfresh

MONTHS = dg.MonthlyPartitionsDefinition("2013-01-01", end_date="2013-07-01")
STEP = Step("all of it", "p", ("s",), "2013-01-01", "2013-01-01")


def definitions(content: str, *, fails: bool = False) -> dg.Definitions:
    """raw → table → summary; the summary has no partitions. Versions follow the content."""

    def asset(
        name: str, upstream: list[str], version: str, partitioned: bool
    ) -> dg.AssetsDefinition:
        spec = dg.AssetSpec(
            name,
            deps=upstream,
            group_name="p",
            tags={"stage": "s"},
            code_version=content if name == "raw" else "1",
            partitions_def=MONTHS if partitioned else None,
        )

        @dg.multi_asset(name=name, specs=[spec])
        def compute() -> Iterator[dg.MaterializeResult]:
            if fails:
                raise ValueError("the source is gone")
            yield dg.MaterializeResult(asset_key=name, data_version=dg.DataVersion(version))

        return compute

    return dg.Definitions(
        assets=[
            asset("raw", [], content, True),
            asset("table", ["raw"], f"table of {content}", True),
            asset("summary", ["table"], f"summary of {content}", False),
        ],
        executor=dg.in_process_executor,
    )


def names(keys: list[dg.AssetKey]) -> list[str]:
    return [key.to_user_string() for key in keys]


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def test_what_is_missing_is_made_and_then_all_is_fresh(instance, capsys) -> None:
    defs = definitions("one")

    assert names(unfresh(defs, instance, STEP)) == ["raw", "table", "summary"]
    assert materialize(defs, instance, STEP)
    assert unfresh(defs, instance, STEP) == []
    assert materialize(defs, instance, STEP)
    assert "nothing to do" in capsys.readouterr().out


def test_what_becomes_stale_on_the_way_is_made_anew_across_partitions_too(instance) -> None:
    materialize(definitions("one"), instance, STEP)
    changed = definitions("two")

    assert names(unfresh(changed, instance, STEP)) == ["raw"]
    assert materialize(changed, instance, STEP)

    assert unfresh(changed, instance, STEP) == []
    latest = instance.get_latest_materialization_event(dg.AssetKey("summary"))
    assert latest.asset_materialization.tags["dagster/data_version"] == "summary of two"


def test_a_failure_is_told_in_its_own_words(instance, capsys) -> None:
    assert not materialize(definitions("one", fails=True), instance, STEP)

    assert "raw: " in (out := capsys.readouterr().out)
    assert "the source is gone" in out


def test_a_check_that_stops_a_run_is_told_with_what_it_found(instance, capsys) -> None:
    few = dg.AssetCheckSpec("few_rejected", asset="only", blocking=True)

    @dg.asset(group_name="p", tags={"stage": "s"}, check_specs=[few])
    def only() -> Iterator[object]:
        yield dg.Output(None)
        yield dg.AssetCheckResult(passed=False, check_name="few_rejected", description="9 of 10.")

    @dg.asset(group_name="p", tags={"stage": "s"}, deps=[only])
    def after() -> None: ...

    defs = dg.Definitions([only, after], executor=dg.in_process_executor)

    assert not materialize(defs, instance, Step("all of it", "p", ("s",)))

    assert "only: few_rejected: 9 of 10." in capsys.readouterr().out


def test_an_asset_without_partitions_is_made_beside_products_that_are_cut_differently(
    instance, capsys
) -> None:
    weeks = dg.WeeklyPartitionsDefinition("2026-01-04")

    @dg.asset(group_name="q", partitions_def=weeks)
    def others() -> None: ...

    @dg.asset(group_name="p", tags={"stage": "online"})
    def newest() -> dg.MaterializeResult:
        return dg.MaterializeResult(data_version=dg.DataVersion("newest"))

    defs = dg.Definitions.merge(
        definitions("one"), dg.Definitions([others, newest], executor=dg.in_process_executor)
    )
    online = Step("the latest rows", "p", ("online",), "2013-02-01", "2013-02-01")

    assert materialize(defs, instance, online)

    assert "✓ newest" in capsys.readouterr().out
    assert unfresh(defs, instance, online) == []


def test_what_is_older_than_its_files_is_made_again_once(instance, capsys) -> None:
    defs, key = definitions("one"), dg.AssetKey("raw")
    assert materialize(defs, instance, STEP)
    event = instance.get_latest_materialization_event(key)
    made, began = event.timestamp, instance.get_run_record_by_id(event.run_id).start_time

    assert unfresh(defs, instance, STEP, {key: began - 0.001}) == []
    # Between them the run may have read the file before it was written.
    assert names(unfresh(defs, instance, STEP, {key: (began + made) / 2})) == ["raw"]
    assert names(unfresh(defs, instance, STEP, {key: made + 0.1})) == ["raw"]

    capsys.readouterr()
    tomorrow = made + 86_400
    assert materialize(defs, instance, STEP, {key: tomorrow})
    assert capsys.readouterr().out.count("✓ raw") == 1
