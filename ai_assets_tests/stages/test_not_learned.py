"""Without partitions a release is watched on rows that it has not learned from."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake
from ai_assets.stages.learnable import not_learned

ROWS = pl.DataFrame({"_row_id": [1, 2, 3, 4, 5], "score": [0.1, 0.2, 0.3, 0.4, 0.5]})


def _run(tmp_path: Path, *, refit: str, partitions: object = None) -> Any:
    """A run over a lake whose training set grew after the bundle was made."""
    lake, name = Lake(root=str(tmp_path / "lake")), AssetName("digits", "training_set")
    made = lake.replace(
        name,
        pl.DataFrame({"_row_id": [1, 2, 3], "split": ["train", "validation", "test"]}),
        None,
    )
    lake.replace(name, pl.DataFrame({"_row_id": [1, 2, 3, 4], "split": ["train"] * 4}), None)
    payload = tmp_path / "payload"
    payload.mkdir()
    (payload / "data_versions.json").write_text(json.dumps({"training_set": made.version}))
    declaration = SimpleNamespace(training=SimpleNamespace(refit=refit))
    return SimpleNamespace(
        product=SimpleNamespace(partitions=partitions, declaration=declaration),
        lake=lake,
        name=lambda asset: AssetName("digits", asset),
        tools=SimpleNamespace(bundles=SimpleNamespace(payload=lambda tag: payload)),
    )


@pytest.mark.parametrize(("refit", "left"), [("none", [3, 4, 5]), ("full", [4, 5])])
def test_rows_that_the_bundle_learned_from_are_left_out(
    tmp_path: Path, refit: str, left: list[int]
) -> None:
    found = not_learned(_run(tmp_path, refit=refit), "digits:1", ROWS)

    assert found["_row_id"].to_list() == left
    assert found["score"].to_list() == [row / 10 for row in left]


def test_with_partitions_time_keeps_them_apart(tmp_path: Path) -> None:
    run = _run(tmp_path, refit="full", partitions=object())

    assert not_learned(run, "digits:1", ROWS) is ROWS
