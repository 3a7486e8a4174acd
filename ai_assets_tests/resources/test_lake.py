"""The lake: partitions replaced whole, whoever else writes and whoever is killed."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from ai_assets.lifecycle.errors import DataError, MissingPartitionsError
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import delta
from ai_assets.resources.lake import WHOLE, Lake
from ai_assets.resources.lake_io_manager import LakeIOManager

NAME = AssetName("shop", "raw/orders")
JAN, FEB, MAR = "2013-01-01", "2013-02-01", "2013-03-01"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=str(tmp_path))


def rows(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"_row_id": ids, "name": [f"n{i}" for i in ids]}, schema=SCHEMA)


SCHEMA = {"_row_id": pl.Int64, "name": pl.String}


def ids(lake: Lake, partitions: list[str] | None = None, version: int | None = None) -> list[int]:
    return lake.scan(NAME, partitions, version).collect()["_row_id"].to_list()


def test_a_partition_is_replaced_and_the_others_stay(lake: Lake) -> None:
    lake.replace(NAME, rows(1, 2), JAN)
    lake.replace(NAME, rows(3).lazy(), FEB)
    lake.replace(NAME, iter([rows(4), rows(5)]), JAN)

    assert ids(lake, [JAN]) == [4, 5]
    assert ids(lake, [FEB]) == [3]
    assert (lake.partitions(NAME), lake.counts(NAME)) == ([JAN, FEB], {JAN: 2, FEB: 1})
    assert lake.scan(NAME).collect().columns == ["_row_id", "name"]


def test_writing_the_same_again_changes_nothing_that_is_read(lake: Lake) -> None:
    first, second = (lake.replace(NAME, rows(1, 2), JAN) for _ in range(2))

    assert (first.rows, first.digest) == (second.rows, second.digest)
    assert ids(lake) == [1, 2]


def test_what_the_newest_commit_wrote_is_not_written_twice(lake: Lake) -> None:
    """So a run that is killed after its commit, and is retried, moves no version."""
    contents = [1, 2], [2, 1], [1, 3], [], [1, 3]
    written = [lake.replace(NAME, rows(*content), JAN).version for content in contents]

    assert [version - written[0] for version in written] == [0, 0, 1, 2, 3]
    assert lake.commits(NAME)["version"].to_list() == sorted(set(written))
    assert lake.replace(NAME, rows(1, 3), FEB).version == written[-1] + 1
    assert (ids(lake, [JAN]), ids(lake, [FEB])) == ([1, 3], [1, 3])


def test_an_earlier_version_can_still_be_read(lake: Lake) -> None:
    before = lake.replace(NAME, rows(1), JAN)
    after = lake.replace(NAME, rows(2), JAN)

    assert ids(lake, [JAN], before.version) == [1]
    assert ids(lake, [JAN]) == [2]
    assert lake.version(NAME) == after.version == before.version + 1
    with pytest.raises(DataError, match="has no version 99"):
        lake.scan(NAME, version=99)


def test_a_partition_without_rows_is_there(lake: Lake) -> None:
    written = lake.replace(NAME, rows(), JAN)

    assert written.rows == 0
    assert lake.exists(NAME, JAN) and lake.exists(NAME) and not lake.exists(NAME, FEB)
    assert (lake.partitions(NAME), lake.counts(NAME)) == ([JAN], {JAN: 0})
    assert lake.scan(NAME, [JAN]).collect().schema == SCHEMA


def test_a_table_without_partitions_is_replaced_whole(lake: Lake) -> None:
    lake.replace(NAME, rows(1, 2))
    lake.replace(NAME, rows(3))

    assert ids(lake) == [3]
    assert (lake.partitions(NAME), lake.counts(NAME)) == ([], {WHOLE: 1})
    assert lake.exists(NAME)


@pytest.mark.parametrize("key", ["2013-03-01-05:00", "2013-10-27-02:00+0100"])
def test_hourly_keys_and_odd_column_names_survive(lake: Lake, key: str) -> None:
    odd = pl.DataFrame({"größe in m²": [1.5], "a.b, c": ["x"], "東京": [None]})

    lake.replace(NAME, odd, key)

    back = lake.scan(NAME, [key], with_partition=True).collect()
    assert back.rows() == [(1.5, "x", None, key)]
    assert lake.partitions(NAME) == [key]
    assert pl.scan_delta(lake.uri(NAME)).collect().height == 1


def test_times_come_back_as_instants_in_utc(lake: Lake) -> None:
    moment = pl.Series("t", [datetime(2013, 1, 1)]).dt.replace_time_zone("America/New_York")

    lake.replace(NAME, moment.dt.cast_time_unit("ns").to_frame(), None)

    assert lake.scan(NAME).collect().schema == {"t": pl.Datetime("us", "UTC")}
    assert lake.scan(NAME).collect()["t"].dt.hour().to_list() == [5]


def test_several_partitions_are_replaced_in_one_commit(lake: Lake) -> None:
    before = lake.replace(NAME, rows(9), MAR)
    keyed = pl.concat([rows(1), rows(2)]).with_columns(_partition=pl.Series([JAN, FEB]))

    written = lake.replace_many(NAME, keyed.lazy(), [JAN, FEB, MAR])

    assert {v.version for v in written.values()} == {before.version + 1}
    assert [written[k].rows for k in (JAN, FEB, MAR)] == [1, 1, 0]
    assert ids(lake, [FEB]) == [2]
    assert lake.partitions(NAME) == [JAN, FEB, MAR]
    with pytest.raises(DataError, match=r"must belong to one of .* Did you mean '2013-03-01'\?"):
        lake.replace_many(NAME, keyed.with_columns(_partition=pl.lit("2013-03-02")), [MAR])


def test_more_partitions_than_open_files_are_written(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "OPEN_FILES", 2)
    keys = [f"k{i}" for i in range(5)]
    frame = pl.DataFrame({"_row_id": range(50), "_partition": keys * 10})

    lake.replace_many(NAME, iter([frame[:25], frame[25:]]), keys)

    assert lake.scan(NAME).select(pl.len()).collect().item() == 50
    assert sorted(ids(lake, ["k3"])) == list(range(3, 50, 5))


def test_columns_may_not_change_unless_admitted(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.replace(NAME, rows(1), JAN)
    before = lake.replace(NAME, rows(2), FEB)
    wider = rows(3).with_columns(size=1.5)

    with pytest.raises(DataError) as error:
        lake.replace(NAME, wider, FEB)
    assert "but got new column 'size' (double)." in str(error.value)
    assert "AI_ASSETS_ADMIT_NEW_COLUMNS=1" in str(error.value)
    with pytest.raises(DataError, match="no column 'name'"):
        lake.replace(NAME, rows(3).drop("name"), FEB)
    assert ids(lake) == [2, 1] or ids(lake) == [1, 2]

    monkeypatch.setenv("AI_ASSETS_ADMIT_NEW_COLUMNS", "1")
    lake.replace(NAME, wider, FEB)
    assert lake.scan(NAME, [JAN, FEB]).collect()["size"].to_list() == [None, 1.5]
    assert lake.digest(NAME, JAN) == lake.replace(NAME, rows(1), JAN).digest
    assert ids(lake, [FEB], before.version) == [2]


def test_a_type_may_change_only_where_nothing_old_is_left(lake: Lake) -> None:
    lake.replace(NAME, rows(1), JAN)
    text = rows(2).with_columns(pl.col("_row_id").cast(pl.String))

    with pytest.raises(DataError, match="'_row_id' as string, not long"):
        lake.replace(NAME, text, JAN)
    with pytest.raises(DataError, match="all 1 must be replaced"):
        lake.replace(NAME, text, FEB, admit_new_columns=True)
    lake.replace(NAME, text, JAN, admit_new_columns=True)

    assert lake.scan(NAME).collect()["_row_id"].to_list() == ["2"]


def test_what_is_not_there_is_said_with_how_to_get_it(lake: Lake) -> None:
    with pytest.raises(MissingPartitionsError, match="shop/raw/orders is not in the lake"):
        lake.scan(NAME)
    lake.replace(NAME, rows(1), JAN)
    with pytest.raises(
        MissingPartitionsError, match=r"lacks 1 partition.* Did you mean '2013-01-01'"
    ):
        lake.scan(NAME, ["2013-01-02"])
    none = AssetName("shop", "none")
    assert (lake.partitions(none), lake.counts(none)) == ([], {})


def test_a_digest_is_of_content_alone(lake: Lake) -> None:
    one = lake.replace(NAME, rows(1, 2, 3), JAN)
    other = lake.replace(NAME, iter([rows(3), rows(2, 1)]), FEB)

    assert one.digest == other.digest == lake.digest(NAME, JAN)
    assert lake.replace(NAME, rows(1, 2, 4), MAR).digest != one.digest


def test_vacuum_removes_the_bytes_of_what_was_replaced(lake: Lake, tmp_path: Path) -> None:
    lake.replace(NAME, rows(1), JAN)
    lake.replace(NAME, rows(2), JAN)

    lake.vacuum(NAME, keep_hours=0)

    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert ids(lake) == [2]


def test_a_failing_iterator_leaves_the_partition_as_it_was(lake: Lake) -> None:
    def breaks() -> Iterator[pl.DataFrame]:
        yield rows(7)
        raise RuntimeError("the source broke off")

    lake.replace(NAME, rows(1), JAN)
    with pytest.raises(RuntimeError):
        lake.replace(NAME, breaks(), JAN)

    assert ids(lake) == [1]


WRITER = """
import sys, polars as pl
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import WHOLE, Lake
root, key, size, times = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
lake = Lake(root=root)
print("ready", flush=True)
sys.stdin.readline()
for i in range(times):
    ids = pl.int_range(size, eager=True).alias("_row_id")
    lake.replace(AssetName("shop", "raw/orders"), ids.to_frame(), key)
"""


def writer(root: Path, key: str, size: int, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(root), key, str(size), str(times)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_fill_one_new_table_at_once(tmp_path: Path, lake: Lake) -> None:
    writers = [writer(tmp_path, key, 10 + i, 8) for i, key in enumerate([JAN, FEB, FEB])]
    for process in writers:
        start(process)

    assert [p.communicate(timeout=60)[1] for p in writers] == ["", "", ""]
    assert len(ids(lake, [JAN])) == 10
    # Two wrote the same partition: one of them came last, and its rows alone are there.
    assert len(ids(lake, [FEB])) in (11, 12)


def test_a_writer_killed_at_any_moment_leaves_a_whole_partition(tmp_path: Path, lake: Lake) -> None:
    chance = random.Random(7)
    lake.replace(NAME, pl.DataFrame({"_row_id": [1]}), JAN)
    for _ in range(4):
        process = writer(tmp_path, JAN, 200_000, 1000)
        start(process)
        time.sleep(chance.uniform(0.01, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(ids(lake, [JAN])) in (1, 200_000)

    again = lake.replace(NAME, pl.DataFrame({"_row_id": [1, 2]}), JAN)

    assert ids(lake) == [1, 2] and again.rows == 2


def test_an_artifact_is_a_copy_found_by_its_partition(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("one")
    model = AssetName("shop", "model/linear")

    first = lake.save_artifact(model, JAN, folder)
    same = lake.save_artifact(model, FEB, folder)
    (folder / "sub" / "a.txt").write_text("two")
    newer = lake.save_artifact(model, JAN, folder)

    assert first == same and newer.digest != first.digest
    assert (lake.artifact(model, FEB) / "sub" / "a.txt").read_text() == "one"
    assert (lake.artifact(model, JAN) / "sub" / "a.txt").read_text() == "two"
    assert lake.artifacts(model) == [JAN, FEB]
    with pytest.raises(MissingPartitionsError, match="no artifact for partition 2013-03-01"):
        lake.artifact(model, MAR)
    with pytest.raises(DataError, match="artifact_root must be a local folder"):
        Lake(root="s3://bucket/lake", artifact_root="s3://bucket/files").artifact(model, JAN)


def test_an_artifact_saved_halfway_is_not_seen(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    saved = lake.save_artifact(NAME, JAN, folder)
    (folder / "a.txt").write_text("two")

    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lake.save_artifact(NAME, JAN, folder)

    assert lake.artifact(NAME, JAN) == saved.path


def test_the_root_follows_the_home_of_the_state(state: Path) -> None:
    assert Lake().root == str(state / "lake")


MONTHS = dg.MonthlyPartitionsDefinition(start_date=JAN, end_date="2013-05-01")


@dg.asset(
    key=["shop", "orders"], partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run()
)
def orders(context: dg.AssetExecutionContext) -> pl.LazyFrame:
    keys = context.partition_keys
    months = [int(key[5:7]) for key in keys]
    return pl.LazyFrame({"_row_id": months, "_partition": list(keys)})


@dg.asset(
    key=["shop", "window"],
    partitions_def=MONTHS,
    ins={
        "orders": dg.AssetIn(
            key=["shop", "orders"],
            partition_mapping=dg.TimeWindowPartitionMapping(
                start_offset=-2, allow_nonexistent_upstream_partitions=True
            ),
        )
    },
)
def window(orders: pl.DataFrame) -> pl.DataFrame:
    return orders.select(pl.col("_row_id").sum())


@dg.asset(key=["shop", "total"], ins={"orders": dg.AssetIn(key=["shop", "orders"])})
def total(orders: pl.LazyFrame) -> pl.LazyFrame:
    return orders.select(pl.col("_row_id").sum())


@dg.asset(key=["shop", "nothing"])
def nothing() -> None:
    return None


def test_a_window_of_three_partitions_brings_all_three(lake: Lake) -> None:
    resources = {"io_manager": LakeIOManager(lake=lake)}
    for key in (JAN, FEB, MAR):
        assert dg.materialize([orders, window], partition_key=key, resources=resources).success

    sums = [lake.scan(AssetName("shop", "window"), [k]).collect().item() for k in (JAN, FEB, MAR)]
    assert sums == [1, 3, 6]


def test_a_range_in_one_run_is_one_commit_and_shown_in_metadata(lake: Lake) -> None:
    resources = {"io_manager": LakeIOManager(lake=lake)}
    tags = {
        "dagster/asset_partition_range_start": JAN,
        "dagster/asset_partition_range_end": MAR,
    }
    result = dg.materialize([orders], resources=resources, tags=tags)

    name = AssetName("shop", "orders")
    metadata = result.asset_materializations_for_node("shop__orders")[0].metadata
    assert lake.partitions(name) == [JAN, FEB, MAR]
    assert lake.version(name) == 1
    assert metadata["dagster/row_count"].value == 3
    assert metadata["delta_version"].value == 1
    assert [c.name for c in metadata["dagster/column_schema"].value.columns] == ["_row_id"]


def test_an_unpartitioned_asset_takes_all_partitions_and_none_stores_nothing(lake: Lake) -> None:
    resources = {"io_manager": LakeIOManager(lake=lake)}
    name = AssetName("shop", "orders")
    keyed = pl.DataFrame({"_row_id": [1, 2, 3, 4], "_partition": MONTHS.get_partition_keys()})
    lake.replace_many(name, keyed, MONTHS.get_partition_keys())

    result = dg.materialize(
        [orders, total, nothing], selection=[total, nothing], resources=resources
    )

    assert result.success
    assert lake.scan(AssetName("shop", "total")).collect().item() == 10
    assert not lake.exists(AssetName("shop", "nothing"))
