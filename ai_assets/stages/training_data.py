"""What the training stages share: the training set as matrices, and artifacts as JSON."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.cleaning.identity import row_hashes
from ai_assets.lifecycle.fairness.groups import protected_of
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.reserved import ROW_COLUMNS
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.stages.binding import StageRun, digest
from ai_assets.stages.training_set import CROSSED


@dataclass(frozen=True)
class TrainingData:
    """The training set of one partition: its rows, its encoding, and where each row is split to."""

    rows: pl.DataFrame
    encoding: Encoding
    whole: Dataset
    version: str

    def split(self, *names: str) -> Dataset:
        """The rows of the given splits, as matrices."""
        return self.whole.take(self.mask(*names))

    @property
    def crossed(self) -> bool:
        """Whether no rows are set aside: each plays every part, and cross-validation judges."""
        return self.rows["split"][0] == CROSSED

    def mask(self, *names: str) -> np.ndarray:
        """Which rows are of the given splits, [n]."""
        if self.crossed:
            return np.ones(self.rows.height, dtype=bool)
        return self.rows["split"].is_in(list(names)).to_numpy()

    def frame(self, *names: str) -> pl.DataFrame:
        """The rows of the given splits, as features with `_row_id`, label and times."""
        return self.rows.filter(pl.Series(self.mask(*names)))

    def features(self, *names: str) -> pl.DataFrame:
        """Only the features of the given splits."""
        return self.frame(*names).drop(ROW_COLUMNS, strict=False)


def load_training_data(run: StageRun) -> TrainingData:
    """Read the training set of the run's partition."""
    asset = run.name("training_set")
    rows = run.lake.scan(asset, [run.partition] if run.partition else None).collect()
    encoding = Encoding.from_json(
        Path(run.lake.artifact(asset, run.partition), "encoding.json").read_text(encoding="utf-8")
    )
    # The table's other columns are of other partitions: features that this one never had.
    own = {*ROW_COLUMNS, *(column.name for column in encoding.columns)}
    rows = in_order(rows.select(n for n in rows.columns if n in own), run.product.request_table)
    y = rows["label"].to_numpy().astype(np.float64)
    declared = run.product.declaration
    classes = len(declared.classes) or None
    protected = protected_of(rows, declared.fairness)
    whole = Dataset(encoding.transform(rows), y, None, encoding, classes, protected)
    return TrainingData(rows, encoding, whole, run.lake.digest(asset, run.partition))


def in_order(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The rows as they are learned from: by time, and those of one moment by their id.

    What is learned depends a little on the order of rows, and an id that is made of a pseudonym is
    another one under another key. There their content is asked in its place, as it is where
    without times the content says where a row goes (`_group`).

    Args:
        rows: features with `_row_id`, label and times.
        table: the request table, whose rows they are.
    """
    times = ["event_time"] if "event_time" in rows.columns else []
    grouped = "_group" in rows.columns and not times
    if not (grouped or table.identified_by_pseudonyms):
        return rows.sort(*times, "_row_id")
    content = [name for name in rows.columns if name not in ("_row_id", "_group", "known_at")]
    hashes = pl.Series("_content", row_hashes(rows, content))
    return rows.with_columns(hashes).sort(*times, "_content", "_row_id").drop("_content")


def save_folder(run: StageRun, asset: str, write: Callable[[Path], None]) -> str:
    """Write an artifact through `write(folder)`; returns its content digest."""
    with TemporaryDirectory() as folder:
        write(Path(folder))
        return run.lake.save_artifact(run.name(asset), run.partition, Path(folder)).digest


def artifact(run: StageRun, asset: str) -> Path:
    """The folder of another asset's artifact, for the run's partition."""
    return Path(run.lake.artifact(run.name(asset), run.partition))


def read_json(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def write_json(folder: Path, name: str, content: Any) -> None:
    """Write JSON whose bytes depend on the content alone."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, indent=1)
    (folder / name).write_text(text + "\n", encoding="utf-8")


def run_tags(run: StageRun, asset: str, data: TrainingData) -> dict[str, str]:
    """What every tracked run says of itself."""
    return {
        "product": run.product.name,
        "asset": asset,
        "partition": run.partition or "",
        "dagster_run_id": run.run_id,
        "code_version": run.code,
        "training_set_version": data.version,
        "declaration": digest(run.product.declaration.model_dump_json()),
    }
