"""What is left of a replay whose run workers and daemon are killed with -9, against one in peace.

A sample of one flight in twenty is replayed over four months in peace, and then again and again
under `disturbed.py` until ten workers and ten daemons have been killed at random points; each
replay has a state of its own. Afterwards each disturbed state is compared with the undisturbed one:
decisions, releases and the files of their bundles, every partition of every table in the lake, and
what became of each run that lost its process.

    make bench-kills                                 # ten and ten
    .venv/bin/python benchmarks/kills.py --kills 3   # three and three
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import remains
import sampled
from figures import Figure, report

KILLS, EVERY, LAST, SEED, MOST_SECONDS = 10, 20, "2013-07-01", 7, 60.0
MOST_OF_A_REPLAY = 5
MOST_REPLAYS = 8


def replay(project: Path, home: Path, *arguments: str) -> list[dict[str, Any]]:
    """One replay in a process of its own, unless it was made before; returns what was killed.

    Raises:
        SystemExit: it failed; the message holds the end of what it printed.
    """
    kills = home / "kills.json"
    if kills.is_file():
        return list(json.loads(kills.read_text(encoding="utf-8")))
    if home.exists():
        shutil.rmtree(home)
    home.mkdir(parents=True)
    command = [sys.executable, str(Path(__file__).with_name("disturbed.py"))]
    # Families are small here: more threads would only wait for each other.
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    told = home / "replay.log"
    with told.open("wb") as log:
        done = subprocess.run(
            [*command, "--home", str(home), "--last", LAST, *arguments],
            cwd=home, env=environment, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    if done.returncode:
        end = told.read_text(encoding="utf-8", errors="replace")[-4000:]
        raise SystemExit(f"The replay in {home} failed:\n{end}")
    return list(json.loads(kills.read_text(encoding="utf-8")))


def disturbed(project: Path, folder: Path, kills: int, seed: int) -> dict[Path, list[Any]]:
    """Replays until so many workers and so many daemons were killed: their states and kills.

    Kills come as far apart as spreads them over a whole replay, by the one in peace.
    """
    seconds = remains.lengths(folder / "calm")
    done: dict[Path, list[Any]] = {}
    left = {"worker": kills, "daemon": kills}
    chance = random.Random(seed)
    while any(left.values()) and len(done) < MOST_REPLAYS:
        home = folder / f"disturbed_{len(done) + 1}"
        most = {what: min(number, MOST_OF_A_REPLAY) for what, number in left.items()}
        told = [f"--{what}s={number}" for what, number in most.items()]
        told += [f"--{what}-mean={seconds[what] / (most[what] + 1):.1f}" for what in most]
        done[home] = replay(project, home, *told, f"--seed={chance.randrange(2**32)}")
        for kill in done[home]:
            left[kill["what"]] -= 1
        print(f"{home.name}: {words(done[home])}", flush=True)
    return done


def words(kills: list[Any]) -> str:
    """How many of each kind."""
    counted = [sum(kill["what"] == what for kill in kills) for what in ("worker", "daemon")]
    return f"{counted[0]} workers and {counted[1]} daemons killed"


def figures(
    calm: remains.Remains, found: dict[Path, remains.Remains], told: list[Any], kills: int
) -> list[Figure]:
    """A row for each thing that kills must not change."""
    dead = [run for state in found.values() for run in state.dead]
    same = [
        _same("decisions", "decisions, each once", calm, found),
        _same("releases", "releases: partition, kind, gate and files of the bundle", calm, found),
        _same("tables", "partitions of tables in the lake, by digest of their rows", calm, found),
        _same("artifacts", "partitions of models and reports", calm, found),
    ]
    twice = [where for state in found.values() for where in state.twice]
    lasting = [run for state in found.values() for run in state.unended]
    return [
        Figure("kills", words(told), "", None, f"{kills} and {kills}", len(told) == 2 * kills),
        *same,
        _none("row ids or live files that are there twice", twice),
        _none("runs that never ended, or whose retries were used up", lasting),
        _slowest("a dead run is failed", [run.failed for run in dead]),
        _slowest("its retry has started", [run.retried for run in dead]),
    ]


def _same(
    what: str, name: str, calm: remains.Remains, found: dict[Path, remains.Remains]
) -> Figure:
    expected = getattr(calm, what)
    differing = []
    for home, state in found.items():
        for line in remains.differences(expected, getattr(state, what)):
            print(f"{home.name}, {what}: {line}")
            differing.append(line)
    ours = f"{len(differing)} differ in {len(found)} replays"
    return Figure(name, ours, f"{len(expected)} in peace", None, "0 differ", not differing)


def _none(name: str, found: list[str]) -> Figure:
    for line in found:
        print(f"{name}: {line}")
    return Figure(name, str(len(found)), "", None, "0", not found)


def _slowest(name: str, seconds: list[float | None]) -> Figure:
    known = [s for s in seconds if s is not None]
    ours = f"{max(known, default=0):.0f} s at most, of {len(known)}"
    if len(known) < len(seconds):
        ours += f"; never {len(seconds) - len(known)}"
    met = bool(known) and len(known) == len(seconds) and max(known) <= MOST_SECONDS
    return Figure(name, ours, "", None, f"≤ {MOST_SECONDS:.0f} s after the kill", met)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="workers, and as many daemons")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--keep", type=Path, help="a folder for the states; finished ones stay")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ai_assets_kills_") as temporary:
        folder = asked.keep or Path(temporary)
        project = folder / "project"
        if not project.exists():
            sampled.project(project, EVERY)
        replay(project, folder / "calm")
        calm = remains.of(folder / "calm", [])
        print(f"in peace: {len(calm.decisions)} decisions, {len(calm.releases)} releases")
        kills = disturbed(project, folder, asked.kills, asked.seed)
        found = {home: remains.of(home, done) for home, done in kills.items()}
        for home, state in found.items():
            for run in state.dead:
                print(f"{home.name}: {run}")
        told = [kill for done in kills.values() for kill in done]
        return report(figures(calm, found, told, asked.kills))


if __name__ == "__main__":
    sys.exit(main())
