"""Load from `wrk` (https://github.com/wg/wrk): as many connections as given, each one at a time."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32
# Each thread sends the bodies in order, from a place of its own. With a pause, each connection
# waits a random while (exponentially distributed) before its next request, as independent callers.
SCRIPT = """
local bodies, at, mean_ms = {}, 0, %(pause_ms)f
for line in io.lines(%(bodies)s) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/json"}
function init() math.randomseed(7); at = math.random(#bodies) end
function request()
  at = at %% #bodies + 1
  return wrk.format("POST", %(path)s, headers, bodies[at])
end
if mean_ms > 0 then
  function delay() return math.floor(-mean_ms * math.log(1 - math.random()) + 0.5) end
end
function done(summary, latency, requests)
  io.write(string.format(
    '\\n{"answers": %%d, "seconds": %%f, "p50_us": %%d, "p99_us": %%d, ' ..
      '"broken": %%d, "refused": %%d}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), summary.errors.connect + summary.errors.read +
    summary.errors.write + summary.errors.timeout, summary.errors.status))
end
"""


@dataclass(frozen=True)
class Load:
    """What a server did under load.

    Attributes:
        answers: all, of any status.
        seconds: how long it took.
        p50_us: median microseconds from request to answer.
        p99_us: 99th percentile of the same.
        broken: connections that failed, and answers that did not come in two seconds.
        refused: answers of status 400 and above.
    """

    answers: int
    seconds: float
    p50_us: int
    p99_us: int
    broken: int
    refused: int

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


def paced(
    ask: Callable[[float], Load], most: float, share: float, tries: int = 1
) -> tuple[float, Load]:
    """The pause, in ms, that makes the callers ask for a share of what a server could answer.

    An answer takes its own time beside the pause, so each guess is mended by what came of it.

    Args:
        ask: makes load with a pause.
        most: answers a second without one.
        share: of them, 0 to 1.
        tries: how many guesses are tried.

    Returns:
        The pause as mended last, and what came of the guess before.
    """
    cycle_ms = 1000 * CONNECTIONS / (share * most)
    pause = cycle_ms
    for _ in range(tries):
        found = ask(pause)
        pause = max(1.0, pause + cycle_ms - 1000 * CONNECTIONS / found.rate)
    return pause, found


def load(
    port: int,
    path: str,
    bodies: Sequence[str],
    *,
    seconds: int,
    pause_ms: float = 0.0,
    strict: bool = True,
) -> Load:
    """Ask a server on this machine for so many seconds.

    Where an answer is bad the program ends, unless not `strict`: speed is compared of good ones.
    """
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed to make load. Install it: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as folder:
        lines, script = Path(folder, "bodies"), Path(folder, "load.lua")
        lines.write_text("\n".join(bodies) + "\n", encoding="utf-8")
        told = {"pause_ms": pause_ms, "bodies": json.dumps(str(lines)), "path": json.dumps(path)}
        script.write_text(SCRIPT % told, encoding="utf-8")
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
        )
    found = Load(**json.loads(done.stdout.splitlines()[-1]))
    if strict and (found.broken or found.refused):
        sys.exit(f"{path} on port {port}: {found}")
    return found
