"""How quickly features are made, and what memory it takes.

`raw`, `cleaned`, `rejected` and `features` of flight_delay run as assets over a range of partitions
in one run of the graph, on the instance of `dagster.yaml`. The speed is that of the whole year;
rows are flights, and the start of the process and its imports do not count. The memory is looked at
with each flight of January and February resampled 10 and 100 times: what matters is the size of a
partition, and two of them also read history across their border. Each measurement is a process of
its own.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from figures import Figure, report

HISTORY_ROWS, REQUEST_ROWS, FEATURES = 200_000, 17_000, 1_000
ENTITIES = 500
SQL = """
SELECT r._row_id, h.* EXCLUDE (entity, time, known_at)
FROM request AS r
ASOF LEFT JOIN history AS h ON h.entity = r.entity AND h.known_at <= r.prediction_time
"""
STAGES = ("raw", "cleaned", "rejected", "features")
ROWS_A_SECOND, GIGABYTES, GROWTH = 100_000, 1.5, 1.5
SCALES = (10, 100)


def point_in_time_join() -> dict[str, float]:
    """17,000 rows joined as of their moment with 200,000 rows of 1,000 features."""
    import numpy as np
    import polars as pl

    from ai_assets.lifecycle.features.query import run_features
    from ai_assets.lifecycle.schema.sources import Source
    from ai_assets.lifecycle.schema.tables import Column, Table

    rng = np.random.default_rng(0)

    def moments(rows: int) -> pl.DataFrame:
        start = pl.lit(datetime(2013, 1, 1, tzinfo=UTC), pl.Datetime("us", "UTC"))
        minutes = pl.Series(rng.integers(0, 365 * 24 * 60, rows) * 60_000_000)
        return pl.DataFrame({"entity": rng.integers(0, ENTITIES, rows)}).with_columns(
            (start + minutes.cast(pl.Duration("us"))).alias("time")
        )

    history = moments(HISTORY_ROWS).with_columns(
        pl.Series(f"f{i}", rng.random(HISTORY_ROWS, dtype=np.float32)) for i in range(FEATURES)
    )
    request = moments(REQUEST_ROWS).with_row_index("_row_id")
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
    assert features.shape == (REQUEST_ROWS, FEATURES + 1)
    return {"rows": features.height, "seconds": time.perf_counter() - began}


def resample(folder: str, scale: str) -> dict[str, float]:
    """Write January and February to `<folder>/<partition>.parquet`, each flight `scale` times.

    Copies fly at the same time with numbers and aircraft of their own, so keys stay unique.
    """
    import polars as pl
    import pyarrow.parquet as pq
    from flights import MONTHS, cleaned_year, product

    flights, written = product(), 0
    assert flights.partitions is not None
    slot = ["carrier", "origin", "time_hour"]
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(slot)
    year = cleaned_year()["flights"].drop("_row_id").with_columns(rank.alias("flight"))
    step = year["flight"].max()
    assert isinstance(step, int)
    code = pl.col("tailnum").rank("dense").cast(pl.Int64) * 100
    for month in MONTHS[:2]:
        span = flights.partitions.span(month)
        rows = year.filter(pl.col("time_hour").is_between(span.start, span.end, closed="left"))
        with pq.ParquetWriter(Path(folder, f"{month}.parquet"), rows.to_arrow().schema) as file:
            for copy in range(int(scale)):
                aircraft = (code + copy).cast(pl.String).str.zfill(6)
                copied = rows.with_columns(
                    pl.col("flight") + copy * step,
                    aircraft.alias("tailnum") if copy else pl.col("tailnum"),
                )
                file.write_table(copied.to_arrow())
                written += copied.height
    return {"rows": written}


def graph(last: str, folder: str = "") -> dict[str, float]:
    """Run the assets from January to `last`; flights are those of the folder, if one is given."""
    import dagster as dg
    from flights import MONTHS, product
    from overhead import QUIET, own_state, shipped_instance

    from ai_assets.lifecycle.product import Product
    from ai_assets.lifecycle.schema.sources import Source
    from ai_assets.resources import default_resources
    from ai_assets.resources.lake import Lake
    from ai_assets.stages import stages_of
    from ai_assets.stages.binding import bind

    flights = product()
    if folder:
        tables = dict(flights.declaration.tables)
        source = Source(parquet=f"{folder}/{{partition}}.parquet")
        tables["flights"] = tables["flights"].model_copy(update={"source": source, "ignore": []})
        declared = flights.declaration.model_copy(update={"tables": tables})
        flights = Product(flights.name, flights.folder, declared)
    stages = [stage for stage in stages_of(flights) if stage.stage in STAGES]
    with own_state() as state, shipped_instance(state) as instance:
        definitions = dg.Definitions(
            assets=[bind(flights, stage) for stage in stages], resources=default_resources()
        )
        job = definitions.resolve_implicit_global_asset_job_def()
        span = {
            "dagster/asset_partition_range_start": MONTHS[0],
            "dagster/asset_partition_range_end": last,
        }
        began = time.perf_counter()
        assert job.execute_in_process(instance=instance, tags=span, run_config=QUIET).success
        seconds = time.perf_counter() - began
        features = Lake().scan(flights.asset("features")).select("_row_id")
        rows = sum(part.height for part in features.collect_batches(chunk_size=100_000))
    return {"rows": rows, "seconds": seconds}


TASKS: dict[str, Any] = {f.__name__: f for f in (point_in_time_join, resample, graph)}


def alone(task: str, *arguments: str) -> dict[str, float]:
    """What a task gives in a process of its own, with `gigabytes`, the most memory it held."""
    command = [sys.executable, __file__, task, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    join = alone("point_in_time_join")
    year = alone("graph", "2013-12-01")
    peaks = {}
    for scale in SCALES:
        with tempfile.TemporaryDirectory() as folder:
            rows = alone("resample", folder, str(scale))["rows"]
            peaks[scale] = alone("graph", "2013-02-01", folder)
            assert peaks[scale]["rows"] == rows
            print(f"{scale}x: {json.dumps(peaks[scale])}", file=sys.stderr)
    less, more = (peaks[scale]["gigabytes"] for scale in SCALES)
    speed = year["rows"] / year["seconds"]
    return report(
        [
            Figure(
                "point-in-time join 17k x 1,000",
                f"{join['seconds']:.1f} s, {join['gigabytes']:.2f} GB",
                "",
                None,
                "< 10 s, < 2 GB",
                join["seconds"] < 10 and join["gigabytes"] < 2,
            ),
            Figure(
                "raw to features, the year",
                f"{speed:,.0f} rows/s ({year['seconds']:.1f} s), {year['gigabytes']:.2f} GB",
                "",
                None,
                f">= {ROWS_A_SECOND:,} rows/s, < {GIGABYTES} GB",
                speed >= ROWS_A_SECOND and year["gigabytes"] < GIGABYTES,
            ),
            Figure(
                f"memory at {SCALES[1]}x the rows ({peaks[SCALES[1]]['rows']:,})",
                f"{more:.2f} GB",
                f"{less:.2f} GB at {SCALES[0]}x",
                more / less,
                f"<= {GROWTH}x",
                more <= GROWTH * less,
            ),
        ]
    )


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(main())
    answer = TASKS[sys.argv[1]](*sys.argv[2:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps({**answer, "gigabytes": peak}))
