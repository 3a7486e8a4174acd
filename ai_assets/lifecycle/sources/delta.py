"""Delta tables that somebody else writes."""

from pathlib import Path

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.sources.request import Request, explained


def read_delta(request: Request) -> pl.LazyFrame:
    """The newest version of a Delta table, with the types that it has."""
    place = request.located(request.source.delta or "", "delta")
    if "://" not in place and not Path(place, "_delta_log").is_dir():
        parent = Path(place).parent
        near = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
        raise DataError(
            f"source.delta must be the folder of a Delta table, but got '{place}'."
            f"{did_you_mean(Path(place).name, near)}"
        )
    with explained("Delta table", place, "readable"):
        rows = pl.scan_delta(place)
        rows.collect_schema()
        return rows
