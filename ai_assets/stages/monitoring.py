"""What a bundle carries to be watched by: `monitoring.json`, written when it is built."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.cleaning.near import only_repeats
from ai_assets.lifecycle.errors import BundleError, must_be
from ai_assets.lifecycle.features.items import described, described_table
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.verdict.concept import Calibrated
from ai_assets.lifecycle.verdict.concept_values import LABELLED
from ai_assets.lifecycle.verdict.sketch import TableSketch, table_sketch
from ai_assets.stages.binding import StageRun, code_version
from ai_assets.stages.declared.data import cleaned_stage, features_stage, labels_stage
from ai_assets.stages.learnable import learned_partitions

FILE = "monitoring.json"
FORMAT = 1


@dataclass(frozen=True)
class Watched:
    """What the verdict on later partitions is measured against.

    Attributes:
        sketches: Of each cleaned table over the training window, by name.
        calibrated: How labels lay beside scores on test rows.
        importances: How much each feature matters to the model; sums to 1.
        code: Code versions of the stages that made the data, by asset.
    """

    sketches: dict[str, TableSketch]
    calibrated: Calibrated
    importances: dict[str, float]
    code: dict[str, str]

    def to_json(self) -> str:
        """Text that `from_json` reads back; the same content gives the same text."""
        told = {
            "format": FORMAT,
            "sketches": {name: json.loads(s.to_json()) for name, s in self.sketches.items()},
            "calibrated": {k: v for k, v in asdict(self.calibrated).items() if v is not None},
            "importances": self.importances,
            "code": self.code,
        }
        return json.dumps(told, sort_keys=True, ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "Watched":
        """What `to_json` wrote.

        Raises:
            BundleError: it was written by another version of this code.
        """
        told: dict[str, Any] = json.loads(text)
        if told.get("format") != FORMAT:
            raise BundleError(must_be(f"format of {FILE}", str(FORMAT), told.get("format")))
        sketches = {
            name: TableSketch.from_json(json.dumps(sketch))
            for name, sketch in told["sketches"].items()
        }
        return Watched(
            sketches, Calibrated(**told["calibrated"]), told["importances"], told["code"]
        )


def read_watched(payload: Path) -> Watched | None:
    """What a bundle's payload carries; None for a bundle that was built without it."""
    file = payload / FILE
    return Watched.from_json(file.read_text(encoding="utf-8")) if file.is_file() else None


def watched(
    run: StageRun, importances: Mapping[str, float], y: np.ndarray, p: np.ndarray
) -> Watched:
    """Sketch what the model as of the partition learned from.

    Args:
        run: the bundle's run.
        importances: of the features.
        y: labels of test rows [n].
        p: their calibrated scores [n].
    """
    product = run.product
    labelled = LABELLED[product.declaration.label.task]
    return Watched(
        sketches={name: sketch_of_window(run, name) for name in product.declaration.tables},
        calibrated=labelled(y, p, pl.DataFrame(), None).calibrated(),
        importances=dict(importances),
        code=code_versions(product),
    )


def sketch_of_window(run: StageRun, name: str) -> TableSketch:
    """The sketch of one cleaned table over the partitions learned from."""
    product = run.product
    keys = learned_partitions(run) if product.is_partitioned(name) else None
    rows = run.lake.scan(run.name(f"cleaned/{name}"), keys).collect()
    raw = run.lake.scan(run.name(f"raw/{name}"), keys).select(pl.len()).collect().item()
    rules = run.lake.scan(run.name(f"rejected/{name}"), keys).select("_rule").collect()
    broken = rules.height - int(rules.select(only_repeats(pl.col("_rule")).sum()).item())
    table = product.declaration.tables[name]
    return table_sketch(
        described(rows, table.columns),
        described_table(table),
        timezone=timezone(product),
        by_hours=product.partitions is not None and product.partitions.every == "hour",
        rejected=broken / max(raw, 1),
        duplicates=(raw - rules.height - rows.height) / max(raw, 1),
    )


def timezone(product: Product) -> str:
    """The zone in which the product's people live by the clock."""
    return product.partitions.timezone if product.partitions else "UTC"


def code_versions(product: Product) -> dict[str, str]:
    """Code versions of all that stands between the source and the features, by asset."""
    tables = product.declaration.tables.items()
    stages = [cleaned_stage(product, name, table) for name, table in tables]
    stages += [labels_stage(product), features_stage(product)]
    return {stage.asset: code_version(tuple(stage.code), stage.settings) for stage in stages}
