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


def test_a_blocking_check_that_fails_is_told_in_its_own_words(instance, capsys) -> None:
    spec = dg.AssetCheckSpec("sound", asset="raw", blocking=True)

    @dg.asset(group_name="p", tags={"stage": "s"}, partitions_def=MONTHS, check_specs=[spec])
    def raw() -> dg.MaterializeResult:
        words = "90 rows came, before 1,080"
        result = dg.AssetCheckResult(check_name="sound", passed=False, description=words)
        return dg.MaterializeResult(check_results=[result])

    defs = dg.Definitions([raw], executor=dg.in_process_executor)

    assert not materialize(defs, instance, STEP)
    assert "sound: 90 rows came, before 1,080" in capsys.readouterr().out


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
