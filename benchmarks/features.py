"""How quickly features are made. `python -m benchmarks.features` exits 1 if a goal is unmet."""

import resource
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.schema.tables import Column, Source, Table
from benchmarks.figures import Figure, report

HISTORY_ROWS, REQUEST_ROWS, FEATURES = 200_000, 17_000, 1_000
ENTITIES = 500
START = datetime(2013, 1, 1, tzinfo=UTC)
SQL = """
SELECT r._row_id, h.* EXCLUDE (entity, time, known_at)
FROM request AS r
ASOF LEFT JOIN history AS h ON h.entity = r.entity AND h.known_at <= r.prediction_time
"""


def point_in_time_join() -> Figure:
    """17,000 rows joined as of their moment with 200,000 rows of 1,000 features."""
    rng = np.random.default_rng(0)
    history = _moments(rng, HISTORY_ROWS).with_columns(
        pl.Series(f"f{i}", rng.random(HISTORY_ROWS, dtype=np.float32)) for i in range(FEATURES)
    )
    request = _moments(rng, REQUEST_ROWS).with_row_index("_row_id")
    keys = {"entity": Column(type="int64"), "time": Column(type="datetime")}
    spec = Table(source=Source(csv="generated"), time="time", columns=keys)
    began = time.perf_counter()
    features = run_features(
        SQL,
        request.with_columns(pl.col("_row_id").cast(pl.Int64)),
        {"history": history},
        specs={"history": spec, "asked": spec},
        request_table="asked",
        horizon=timedelta(hours=2),
    )
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    met = features.shape == (REQUEST_ROWS, FEATURES + 1) and seconds < 10 and peak < 2
    ours = f"{seconds:.1f} s, {peak:.2f} GB"
    return Figure("point-in-time join 17k x 1,000", ours, "", None, "< 10 s, < 2 GB", met)


def _moments(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    minutes = pl.Series(rng.integers(0, 365 * 24 * 60, rows) * 60_000_000).cast(pl.Duration("us"))
    return pl.DataFrame({"entity": rng.integers(0, ENTITIES, rows)}).with_columns(
        (pl.lit(START, pl.Datetime("us", "UTC")) + minutes).alias("time")
    )


if __name__ == "__main__":
    sys.exit(report([point_in_time_join()]))
