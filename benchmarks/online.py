"""How long rows take inside the server process, and whether it answers as offline does.

Run as `python benchmarks/online.py`. Measures feature SQL and model, without HTTP.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import polars as pl
from figures import Figure, report
from newest_bundle import newest_bundle

from ai_assets.lifecycle.features.query import run_features
from ai_assets.serving.bundle import Bundle, load_bundle
from ai_assets.serving.online import OnlineTables
from ai_assets.serving.request import RequestReader
from ai_assets.serving.scoring import Scorer
from ai_assets.serving.settings import Settings

MANY = 256


def main() -> int:
    """Measure the newest bundle; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--product", default="flight_delay")
    product = parser.parse_args().product
    bundle = load_bundle(newest_bundle(product)[1])
    found = OnlineTables(Settings.from_environment().lake, bundle.online).newest()
    tables = {name: snapshot.frame for name, snapshot in found.items()}
    scorer = Scorer(bundle)
    scorer.refresh(tables)
    rows = request_rows(bundle, tables)
    one, many = rows.head(1), rows
    return report(
        [
            _within("one row, p50 ms", p50_ms(lambda: scorer.predict(one), 200), 5),
            _within(f"{many.height} rows, p50 ms", p50_ms(lambda: scorer.predict(many), 50), 20),
            _within("largest difference from offline", difference(scorer, rows, tables), 1e-5),
        ]
    )


def request_rows(bundle: Bundle, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows to ask about: the newest of the request table where it is online, else the example."""
    reader = RequestReader(bundle, max_rows=MANY)
    columns = list(bundle.request.table.columns)
    if (known := tables.get(bundle.request.name)) is not None and known.height:
        order = bundle.request.table.time or columns[0]
        rows = known.sort(order).tail(MANY).select(columns)
        return pl.concat([rows] * -(-MANY // rows.height)).head(MANY)
    example = reader.model.model_validate(reader.example())
    return reader.frame([example] * MANY)


def difference(scorer: Scorer, rows: pl.DataFrame, tables: dict[str, pl.DataFrame]) -> float:
    """Largest difference between the server's answers and those from offline features."""
    bundle = scorer.bundle
    declared = bundle.tables[bundle.request.name]
    types = {"int64": pl.Int64, "float64": pl.Float64, "bool": pl.Boolean, "string": pl.String}
    late = [
        pl.lit(None, types.get(declared.columns[n].type, pl.Datetime("us", "UTC"))).alias(n)
        for n in declared.late_columns
    ]
    request = rows.with_columns(pl.int_range(rows.height, dtype=pl.Int64).alias("_row_id"), *late)
    offline = run_features(
        bundle.features_sql,
        request,
        {**bundle.lookups, **tables},
        specs=bundle.tables,
        request_table=bundle.request.name,
        horizon=bundle.horizon,
    ).sort("_row_id")
    expected = scorer.score_features(offline).probability
    return float(np.abs(expected - scorer.predict(rows).probability).max())


def p50_ms(work: Callable[[], object], times: int) -> float:
    """The median time of the work, in milliseconds, after a few rounds to warm up."""
    for _ in range(5):
        work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return 1000 * float(np.median(taken))


def _within(name: str, ours: float, most: float) -> Figure:
    return Figure(name, f"{ours:.3g}", "", None, f"< {most:g}", ours < most)


if __name__ == "__main__":
    sys.exit(main())
