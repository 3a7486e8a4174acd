"""Requests as callers of a product would send them, from the newest rows of its lake."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.serving.bundle import Bundle, load_bundle
from ai_assets.serving.online import OnlineTables
from ai_assets.serving.scoring import Scorer
from ai_assets.serving.settings import Settings

ROWS = 500


def request_bodies(payload: Path) -> list[str]:
    """JSON of the newest rows, each without what is missing or known later only."""
    bundle = load_bundle(payload)
    found = OnlineTables(Settings.from_environment().lake, bundle.online).newest()
    newest = found[bundle.request.name].frame.tail(ROWS)
    rows = newest.select(list(bundle.request.table.columns)).with_columns(
        pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    known = [{k: v for k, v in row.items() if v is not None} for row in rows.to_dicts()]
    late = {name for name, column in bundle.request.table.columns.items() if column.known_at}
    return [json.dumps({k: v for k, v in row.items() if k not in late}) for row in known]


def request_rows(bundle: Bundle, many: int) -> tuple[pl.DataFrame, np.ndarray]:
    """So many newest rows of the request table, and their encoded features."""
    found = OnlineTables(Settings.from_environment().lake, bundle.online).newest()
    tables = {name: snapshot.frame for name, snapshot in found.items()}
    known = tables[bundle.request.name].select(list(bundle.request.table.columns))
    rows = pl.concat([known] * -(-many // known.height)).tail(many)
    scorer = Scorer(bundle)
    scorer.refresh(tables)
    return rows, bundle.encoding.transform(scorer.features(rows))


def vector_bodies(matrix: np.ndarray) -> list[str]:
    """JSON of encoded features for `/v2/models/<product>_vectors/infer`, a row each.

    Rows where something is missing are left out: JSON has no NaN.
    """
    complete = matrix[np.isfinite(matrix).all(axis=1)].astype(float)
    tensors = [
        {"name": "features", "datatype": "FP32", "shape": [1, len(row)], "data": row}
        for row in complete.tolist()
    ]
    return [json.dumps({"inputs": [tensor]}) for tensor in tensors]
