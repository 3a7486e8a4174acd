"""How long the code location takes to load, beyond importing dagster itself.

Each measurement is a process of its own; the median of five counts, after one that leaves the
compiled modules behind, as any start but the first after an installation finds them. The other
side is the import of dagster, measured in the same processes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from figures import Figure, report

ROOT = Path(__file__).resolve().parent.parent
RUNS, COPIES = 5, 100
PROBE = """
import json, time
start = time.perf_counter()
import dagster
imported = time.perf_counter()
from ai_assets.definitions import defs
definitions = defs()
definitions.get_repository_def()
loaded = time.perf_counter()
assets = len(definitions.resolve_asset_graph().get_all_asset_keys())
print(json.dumps([imported - start, loaded - imported, assets]))
"""


def probe(root: Path) -> tuple[float, float, int]:
    """Seconds to import dagster, seconds to load what is below `root`, and how many assets."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=root, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    seconds, more, assets = json.loads(done.stdout.splitlines()[-1])
    return seconds, more, assets


def measure(name: str, root: Path, goal: float) -> Figure:
    """Median seconds of loading, beside those of importing dagster."""
    probe(root)
    runs = [probe(root) for _ in range(RUNS)]
    dagster, ours = median(run[0] for run in runs), median(run[1] for run in runs)
    return Figure(
        f"{name}, {runs[0][2]} assets",
        f"{ours:.2f} s",
        f"{dagster:.2f} s to import dagster",
        ours / dagster,
        f"< {goal} s",
        ours < goal,
    )


def copies(folder: Path) -> Path:
    """The package with 100 copies of flight_delay instead of the shipped products."""
    shutil.copytree(
        ROOT / "ai_assets", folder / "ai_assets", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", folder)
    products = folder / "ai_assets" / "products"
    for number in range(COPIES - 1):
        shutil.copytree(products / "flight_delay", products / f"flight_delay_{number}")
    return folder


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        return report(
            [
                measure("load the shipped products", ROOT, 0.5),
                measure(f"load {COPIES} copies of a product", copies(Path(folder)), 6.0),
            ]
        )


if __name__ == "__main__":
    sys.exit(main())
