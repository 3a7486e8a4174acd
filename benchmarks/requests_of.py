"""Requests as callers of a product would send them, from the newest rows of its lake."""

import json
from pathlib import Path

import polars as pl

from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.online import OnlineTables
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
