"""How large the newest bundle is, and how long it takes from start to first answer.

Run as `python benchmarks/bundle.py`. The start is compared with that of an empty BentoML service
in the same run, one after the other in turn. Both keep Python's bytecode, as installed servers do.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from figures import Figure, report
from newest_bundle import newest_bundle

from ai_assets.resources.bundles import run_bentoml
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.request import RequestReader

MOST_MB = 20
MOST_RATIO = 1.2
LONGEST_START_S = 120
EMPTY = """
import bentoml


@bentoml.service
class Empty:
    @bentoml.api
    def predict(self, x: int = 0) -> int:
        return x
"""


def main() -> int:
    """Measure the newest bundle; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--product", default="flight_delay")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    bento, payload = newest_bundle(given.product)
    size = sum(p.stat().st_size for p in bento.rglob("*") if p.is_file()) / 1e6
    row = RequestReader(load_bundle(payload), max_rows=1).example()
    ours, empty = [], []
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as folder:
        nothing = build_empty(Path(folder))
        for _ in range(given.rounds):
            empty.append(first_answer_s(str(nothing), Path(folder), {"x": 1}))
            ours.append(first_answer_s(str(bento), Path(folder), row))
    mine, other = statistics.median(ours), statistics.median(empty)
    return report(
        [
            Figure("size, MB", f"{size:.2f}", "", None, f"< {MOST_MB}", size < MOST_MB),
            Figure(
                "start to first answer, s",
                f"{mine:.2f}",
                f"{other:.2f}",
                mine / other,
                f"<= {MOST_RATIO} of an empty BentoML service",
                mine / other <= MOST_RATIO,
            ),
        ]
    )


def build_empty(folder: Path) -> Path:
    """A Bento of a service that does nothing; ours is served from a Bento too."""
    context = folder / "empty"
    context.mkdir()
    (context / "service.py").write_text(EMPTY, encoding="utf-8")
    (context / "bentofile.yaml").write_text(
        "service: service:Empty\npython: {lock_packages: false}\n", encoding="utf-8"
    )
    run_bentoml(context, folder / "home", "empty:1")
    return folder / "home" / "bentos" / "empty" / "1"


def first_answer_s(service: str, folder: Path, body: dict[str, Any]) -> float:
    """Seconds from starting `bentoml serve` to the first answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", service]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env=os.environ | _places(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return _wait(process, f"http://127.0.0.1:{port}/predict", body) - began
    finally:
        process.terminate()
        process.wait(timeout=30)


def _places(folder: Path) -> dict[str, str]:
    """The lake stays where it is although the server runs in another folder."""
    from ai_assets.serving.online import LAKE, lake_root
    from ai_assets.serving.settings import ACCESS

    home = {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    # An empty value is as if it were not set.
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    return {LAKE: lake_root(), ACCESS: "open", **home, **bytecode}


def _wait(process: "subprocess.Popen[bytes]", url: str, body: dict[str, Any]) -> float:
    end = time.perf_counter() + LONGEST_START_S
    content = json.dumps(body)
    headers = {"Content-Type": "application/json"}
    while time.perf_counter() < end and process.poll() is None:
        try:
            if httpx.post(url, content=content, headers=headers, timeout=30).status_code == 200:
                return time.perf_counter()
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    sys.exit("The server gave no answer. Try `bentoml serve` by hand to see why.")


if __name__ == "__main__":
    sys.exit(main())
