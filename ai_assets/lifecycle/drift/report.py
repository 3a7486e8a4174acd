"""The page that people read: Evidently's drift report of two samples. It decides nothing."""

from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift.profile import profiled
from ai_assets.lifecycle.errors import DataError

SAMPLE = 5_000


def drift_report_html(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    path: Path,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
) -> list[str]:
    """Write Evidently's HTML (about 5 MB, self-contained) of two frames of the same columns.

    Args:
        reference: Rows of the training window; at most `sample` of them are drawn.
        current: Rows to compare, likewise.
        path: The file to write.
        sample: Most rows of each frame. Evidently takes minutes for a million.
        seed: Seed of the draw.

    Returns:
        Words on what the report leaves out, empty if nothing: Evidently cannot compare a column
        without any value on one side.

    Raises:
        DataError: No column has values on both sides.
    """
    names = [name for name in profiled(reference.schema) if name in current.columns]
    old, new = (_drawn(frame.select(names), sample, seed) for frame in (reference, current))
    kept = [name for name in names if _has_values(old[name]) and _has_values(new[name])]
    if not kept:
        raise DataError("A drift report needs a column with values on both sides, but got none.")
    _write(old.select(kept), new.select(kept), path)
    left_out = [
        f"{name} is left out: it has no values on one side" for name in names if name not in kept
    ]
    missing = set(profiled(reference.schema)) - set(names)
    return left_out + [f"{name} is left out: it is missing now" for name in sorted(missing)]


def _drawn(frame: pl.DataFrame, sample: int, seed: int) -> pl.DataFrame:
    return frame.sample(sample, seed=seed) if frame.height > sample else frame


def _has_values(column: pl.Series) -> bool:
    values = column.fill_nan(None) if column.dtype.is_float() else column
    return values.null_count() < len(values)


def _write(reference: pl.DataFrame, current: pl.DataFrame, path: Path) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    kinds = profiled(reference.schema)
    definition = DataDefinition(
        numerical_columns=[name for name, kind in kinds.items() if kind == "number"],
        categorical_columns=[name for name, kind in kinds.items() if kind == "category"],
    )
    old, new = (
        # Truth values as text: Evidently treats a categorical column as such.
        Dataset.from_pandas(
            frame.with_columns(pl.col(pl.Boolean).cast(pl.String)).to_pandas(),
            data_definition=definition,
        )
        for frame in (reference, current)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # Evidently correlates columns that never vary too, and divides by their spread.
    with np.errstate(invalid="ignore", divide="ignore"):
        Report([DataDriftPreset()]).run(new, old).save_html(str(path))
