"""Files of work that is not finished lie beside the artifacts and are none."""

from pathlib import Path

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake


def test_unfinished_work_has_a_file_a_partition_and_is_no_artifact(tmp_path: Path) -> None:
    lake, name = Lake(root=str(tmp_path)), AssetName("shop", "model/cnn")
    files = [lake.unfinished(name, partition) for partition in ("2024-01", "2024-02", None)]
    assert len(set(files)) == 3

    files[0].parent.mkdir(parents=True)
    files[0].write_text("half")

    assert lake.artifacts(name) == []
    assert lake.unfinished(name, "2024-01").read_text() == "half"
