"""A lake whose tables lie at a URL; here one of files, which no object store is needed for."""

from pathlib import Path

import polars as pl
import pytest

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

NAME, JAN, FEB = AssetName("shop", "raw/orders"), "2013-01-01", "2013-02-01"


def rows(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"_row_id": ids})


def test_tables_lie_at_the_url_and_artifacts_below_the_state_root(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("AI_ASSETS_LAKE", f"file://{tmp_path}/store")
    lake, folder = Lake(), tmp_path / "made"
    folder.mkdir()
    (folder / "a.txt").write_text("one", encoding="utf-8")

    lake.replace(NAME, rows(1, 2), JAN)
    lake.replace(NAME, rows(4), FEB)
    lake.replace(NAME, rows(3), JAN)
    saved = lake.save_artifact(NAME, JAN, folder)

    assert Lake().scan(NAME, [JAN]).collect()["_row_id"].to_list() == [3]
    assert Lake().partitions(NAME) == [JAN, FEB]
    assert (tmp_path / "store" / "shop" / "raw" / "orders" / "_delta_log").is_dir()
    assert saved.path.is_relative_to(state / "lake")
    assert Lake().artifact(NAME, JAN) == saved.path


def test_without_a_url_all_of_it_lies_below_the_state_root(state: Path) -> None:
    lake = Lake()

    assert lake.root == str(state / "lake")
