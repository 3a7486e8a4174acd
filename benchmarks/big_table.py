"""A table larger than memory, from its files to features.

    make bench-big_table                                     # 20 GB, cut into months
    .venv/bin/python benchmarks/big_table.py --gigabytes 1   # to try it
    .venv/bin/python benchmarks/big_table.py --snapshot      # the same rows without partitions

Writes parcels (`big_rows.py`) as a folder of Parquet files, until polars says that so many GB
(2**30 bytes) of frames have gone in (`estimated_size`, file by file). The product is what the
command makes of that folder, without an edit; then one more file arrives, with repeated and broken
rows. raw, cleaned, rejected and features run as assets, all partitions in one run of the graph, in
a process of its own on the instance of `dagster.yaml`. Its time counts from the run's beginning,
its memory is the most that the system saw it hold. Afterwards it is looked at whether every row is
where it belongs, and whether features of some rows are those that a plain computation gives.

The other side does the same by hand: polars, streaming from Parquet to Parquet, with the contract's
limits but without quarantine's words, ids, digests, versions, pages or guards.

20 GB need 60 GB of free disk. Where there is less, the table is smaller, as where less is asked
for; the figure says so, and the time that it may take is less by as much.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import big_rows
from figures import Figure, report

GIGABYTES, DISK_A_GIGABYTE = 20.0, 3.0
GOAL_SECONDS, GOAL_GIGABYTES = 3_600.0, 8.0
STAGES = ("raw", "cleaned", "rejected", "features")
ROWS, PRODUCT = "rows", "parcels"
SAMPLE = 2_000
EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Done:
    """What a process of its own told: `seconds` of work, its greatest memory in GB, the rest."""

    seconds: float
    gigabytes: float
    told: dict[str, Any]


def main() -> int:
    asked = _parser().parse_args()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="big_table_") as temporary:
        folder = Path(temporary)
        free = shutil.disk_usage(folder).free / big_rows.GIGABYTE
        size = min(asked.gigabytes, free / DISK_A_GIGABYTE)
        if size < asked.gigabytes:
            need = asked.gigabytes * DISK_A_GIGABYTE
            _say(f"{free:.0f} GB of disk are free, not {need:.0f}: scaled down to {size:.1f} GB.")
        return report(_figures(folder, size, snapshot=asked.snapshot))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="big_table.py", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--gigabytes", type=float, default=GIGABYTES, help="default: %(default)s")
    parser.add_argument("--snapshot", action="store_true", help="one table without partitions")
    return parser


def _figures(folder: Path, gigabytes: float, *, snapshot: bool) -> list[Figure]:
    rows, products = folder / ROWS, folder / "products"
    rows.mkdir()
    _say(f"writing {big_rows.rows_for(gigabytes):,} rows")
    good = big_rows.write_good(rows, big_rows.rows_for(gigabytes))
    _say(f"scaffolding over {good.bytes / big_rows.GIGABYTE:.1f} GB")
    time_column = ["--time", ""] if snapshot else []
    made = [PRODUCT, "--data", str(rows), "--target", big_rows.TARGET, *time_column]
    command = [sys.executable, "-m", "ai_assets.scaffold", *made, "--products", str(products)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    late = big_rows.write_late(rows, good.rows)
    ours = _alone(folder, "lifecycle", str(products / PRODUCT))
    account = {
        "raw": good.rows + late.rows,
        "cleaned": good.rows,
        "rejected": late.spoilt,
        "features": good.rows,
    }
    shutil.rmtree(folder / "state")
    script = _alone(folder, "by_hand", str(products / PRODUCT))
    return _judged(good, late, ours, script, account, snapshot=snapshot)


def _judged(
    good: big_rows.Written,
    late: big_rows.Written,
    ours: Done,
    script: Done,
    account: dict[str, int],
    *,
    snapshot: bool,
) -> list[Figure]:
    size = (good.bytes + late.bytes) / big_rows.GIGABYTE
    cut = "one snapshot" if snapshot else f"{ours.told['partitions']} months"
    what = f"{size:.1f} GB, {good.rows + late.rows:,} rows, {cut}"
    allowed = GOAL_SECONDS * min(1.0, size / GIGABYTES)
    counts = {name: ours.told[name] for name in account}
    wrong, looked = ours.told["wrong"], ours.told["looked"]
    return [
        Figure(
            f"raw to features: {what}",
            f"{ours.seconds / 60:.1f} min",
            f"{script.seconds / 60:.1f} min, polars by hand",
            ours.seconds / script.seconds,
            f"< {GOAL_SECONDS / 60:.0f} min for {GIGABYTES:.0f} GB, here {allowed / 60:.1f}",
            ours.seconds < allowed,
        ),
        Figure(
            "its peak memory",
            f"{ours.gigabytes:.2f} GB",
            f"{script.gigabytes:.2f} GB",
            ours.gigabytes / script.gigabytes,
            f"< {GOAL_GIGABYTES:.0f} GB",
            ours.gigabytes < GOAL_GIGABYTES,
        ),
        Figure(
            "rows where they belong",
            ", ".join(f"{n:,} {name}" for name, n in counts.items()),
            "",
            None,
            f"{late.again:,} repeated, {late.spoilt:,} broken",
            counts == account and script.told["features"] == account["features"],
        ),
        Figure(
            "features other than computed plainly",
            f"{wrong} of {looked:,} values",
            "",
            None,
            "0",
            wrong == 0 and looked > 0,
        ),
    ]


def _alone(folder: Path, task: str, *arguments: str) -> Done:
    """What a task gives in a process of its own, all of whose files lie below the folder."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "TMPDIR": str(scratch),
        "AI_ASSETS_HOME": str(folder / "state"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    command = [sys.executable, __file__, "--task", task, *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        with _told_meanwhile(process.pid, folder):
            said = process.stdout.read()
            if process.wait() != 0:
                raise SystemExit(f"{task} ended with {process.returncode}.")
    finally:
        process.kill()
        process.wait()
    return Done(**json.loads(said.splitlines()[-1]))


@contextmanager
def _told_meanwhile(pid: int, folder: Path) -> Iterator[None]:
    """Say every half minute how much memory and disk the process has taken."""
    ended, began = threading.Event(), time.monotonic()
    free = shutil.disk_usage(folder).free

    def tell() -> None:
        while not ended.wait(EVERY_SECONDS):
            status = Path(f"/proc/{pid}/status")
            if not status.is_file():
                return
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            peak = int(lines.get("VmHWM", "0 kB").split()[0]) / 2**20
            disk = (free - shutil.disk_usage(folder).free) / big_rows.GIGABYTE
            _say(f"  {time.monotonic() - began:,.0f} s, peak {peak:.2f} GB, disk {disk:+.1f} GB")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def lifecycle(folder: str) -> tuple[float, dict[str, Any]]:
    """Seconds of one run of the graph over the product, and where its rows are."""
    import dagster as dg
    from overhead import QUIET, shipped_instance

    from ai_assets.lifecycle.product import read_product
    from ai_assets.resources import default_resources
    from ai_assets.stages import stages_of
    from ai_assets.stages.binding import bind, dagster_partitions

    product = read_product(Path(folder))
    stages = [stage for stage in stages_of(product) if stage.stage in STAGES]
    windows = dagster_partitions(product.partitions)
    keys = windows.get_partition_keys() if windows else []
    tags = {}
    if keys:
        tags["dagster/asset_partition_range_start"] = keys[0]
        tags["dagster/asset_partition_range_end"] = keys[-1]
    state = Path(os.environ["AI_ASSETS_HOME"])
    state.mkdir()
    with shipped_instance(state) as instance:
        definitions = dg.Definitions(
            assets=[bind(product, stage) for stage in stages], resources=default_resources()
        )
        job = definitions.resolve_implicit_global_asset_job_def()
        began = time.perf_counter()
        done = job.execute_in_process(instance=instance, tags=tags, run_config=QUIET)
        seconds = time.perf_counter() - began
        assert done.success
        steps = {s.step_key: s for s in instance.get_run_step_stats(done.run_id)}
    for name, step in steps.items():
        _say(f"  {name}: {(step.end_time or 0) - (step.start_time or 0):.1f} s")
    return seconds, {"partitions": len(keys), **_found(product)}


def _found(product: Any) -> dict[str, Any]:
    """How many rows each table has, and how many features of some rows are wrong."""
    import polars as pl
    from big_features import differing

    from ai_assets.resources.lake import Lake

    lake = Lake()
    (table,) = product.declaration.tables
    names = {"features": "features"}
    names |= {stage: f"{stage}/{table}" for stage in ("raw", "cleaned", "rejected")}
    counts = {
        name: lake.scan(product.asset(asset)).select(pl.len()).collect(engine="streaming").item()
        for name, asset in names.items()
    }
    source = pl.scan_parquet(product.declaration.tables[table].source.parquet)
    cleaned = lake.scan(product.asset(f"cleaned/{table}"))
    wrong, looked = differing(source, cleaned, lake.scan(product.asset("features")), SAMPLE)
    return {**counts, "wrong": wrong, "looked": looked}


def by_hand(folder: str) -> tuple[float, dict[str, Any]]:
    """Seconds of a script over the same files, and how many rows the same features have."""
    import sqlglot
    from big_features import script

    from ai_assets.lifecycle.product import read_product

    product = read_product(Path(folder))
    (table,) = product.declaration.tables.values()
    query = sqlglot.parse_one(product.features_sql, read="duckdb")
    assert isinstance(query, sqlglot.exp.Query)
    features = [name for name in query.named_selects if name != "_row_id"]
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        rows = script(table, features, Path(out))
        return time.perf_counter() - began, {"features": rows}


if __name__ == "__main__":
    if sys.argv[1:2] != ["--task"]:
        sys.exit(main())
    took, told = {f.__name__: f for f in (lifecycle, by_hand)}[sys.argv[2]](*sys.argv[3:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(asdict(Done(took, peak, told))))
