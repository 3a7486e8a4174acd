"""A lake whose tables lie at a URL: of files, and of an object store."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.artifacts import ArtifactVersion
from ai_assets.resources.lake import Lake
from ai_assets_tests.object_store import ObjectStore, object_store

NAME, JAN, FEB = AssetName("shop", "raw/orders"), "2013-01-01", "2013-02-01"


def rows(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"_row_id": ids})


def replaced_and_saved(folder: Path) -> ArtifactVersion:
    """What lies below the state root of a lake whose table was replaced and is read as it should.

    Args:
        folder: Where files are made, to be saved.
    """
    lake = Lake()
    folder.mkdir()
    (folder / "a.txt").write_text("one", encoding="utf-8")

    lake.replace(NAME, rows(1, 2), JAN)
    lake.replace(NAME, rows(4), FEB)
    lake.replace(NAME, rows(3), JAN)
    saved = lake.save_artifact(NAME, JAN, folder)

    assert Lake().scan(NAME, [JAN]).collect()["_row_id"].to_list() == [3]
    assert sorted(Lake().scan(NAME).collect()["_row_id"]) == [3, 4]
    assert Lake().partitions(NAME) == [JAN, FEB]
    assert Lake().artifact(NAME, JAN) == saved.path
    return saved


def test_tables_lie_at_the_url_and_artifacts_below_the_state_root(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("AI_ASSETS_LAKE", f"file://{tmp_path}/store")

    saved = replaced_and_saved(tmp_path / "made")

    assert (tmp_path / "store" / "shop" / "raw" / "orders" / "_delta_log").is_dir()
    assert saved.path.is_relative_to(state / "lake")


def test_without_a_url_all_of_it_lies_below_the_state_root(state: Path) -> None:
    lake = Lake()

    assert lake.root == str(state / "lake")


@pytest.fixture
def store(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store in which the lake lies."""
    with object_store() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AI_ASSETS_LAKE", "s3://bucket/lake")
        yield running


def test_tables_of_an_object_store_are_replaced_and_read_and_files_stay_here(
    store: ObjectStore, state: Path, tmp_path: Path
) -> None:
    saved = replaced_and_saved(tmp_path / "made")

    log = [key for key in store.keys("bucket") if "/_delta_log/" in key]
    assert log == [f"lake/shop/raw/orders/_delta_log/{number:020}.json" for number in range(4)]
    assert saved.path.is_relative_to(state / "lake")
    assert all(key.startswith("lake/shop/raw/orders/") for key in store.keys("bucket"))


WRITER = """
import sys, polars as pl
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake
number, lake = int(sys.argv[1]), Lake()
print("ready", flush=True)
sys.stdin.readline()
for step in range(3):
    rows = pl.DataFrame({"_row_id": [100 * number + step]})
    lake.replace(AssetName("shop", "raw/orders"), rows, f"2013-0{number}-01")
"""


def test_what_writers_replace_in_an_object_store_at_once_is_all_there(store: ObjectStore) -> None:
    """The store refuses a commit of a number that is taken, and its writer makes the next one."""
    Lake().replace(NAME, rows(0), "2012-12-01")
    command = [sys.executable, "-c", WRITER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(number)], **pipes) for number in (1, 2, 3)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()

    assert [writer.wait(120) for writer in writers] == [0, 0, 0]

    assert sorted(Lake().scan(NAME).collect()["_row_id"]) == [0, 102, 202, 302]
    commits = [key for key in store.keys("bucket") if key.endswith(".json")]
    assert len(commits) == 2 + 3 * 3
    refused = [one for one in store.answers() if one.status == 412]
    assert refused and {one.name.removeprefix("bucket/") for one in refused} <= set(commits)
