"""Load from `wrk` (https://github.com/wg/wrk): as many connections as given, each one at a time."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32
# As long as wrk waits for an answer before it counts it as broken.
QUIET_S = 2
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
      '"broken": %%d, "refused": %%d}\\n', summary.requests, summary.duration / 1e6 - %(quiet_s)d,
    latency:percentile(50), latency:percentile(99), summary.errors.connect + summary.errors.read +
    summary.errors.write + summary.errors.timeout, summary.errors.status))
end
"""
# wrk cuts off what is on its way when its time is over, and a server has answered some of that. Who
# compares ids must have them all: from `ends` on nobody asks any more. The id is looked for, not
# parsed, and written through a buffer: some microseconds of the thread that makes load.
IDS = """
local ids, ffi, ends, pause = io.open(%(ids)s, "a"), require("ffi"), nil, delay
ffi.cdef("typedef struct { long s, us; } moment_t; int gettimeofday(moment_t *, void *);")
local moment = ffi.new("moment_t")
local function now_ms()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.s) * 1000 + tonumber(moment.us) / 1000
end
function delay()
  local now, wait = now_ms(), pause and pause() or 0
  ends = ends or now + 1000 * %(seconds)d
  return now + wait < ends and wait or 3600000
end
function response(status, headers, body)
  if status == 200 then
    ids:write(body:match('"prediction_id": ?"([^"]+)"') or "none", "\\n")
  end
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
    ids: Path | None = None,
) -> Load:
    """Ask a server on this machine for so many seconds.

    Where an answer is bad the program ends, unless not `strict`: speed is compared of good ones.

    Args:
        port: where it listens.
        path: what is asked.
        bodies: of requests, each of one row.
        seconds: how long callers ask.
        pause_ms: how long each waits between an answer and its next request, in the mean.
        strict: whether a bad answer ends the program.
        ids: a file to add the prediction's id of each good answer to, or "none" where it has none;
            callers then wait for the last answers, so that no request is cut off.
    """
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed to make load. Install it: apt-get install wrk")
    quiet_s = QUIET_S if ids else 0
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as folder:
        lines, script = Path(folder, "bodies"), Path(folder, "load.lua")
        lines.write_text("\n".join(bodies) + "\n", encoding="utf-8")
        told = {
            "pause_ms": pause_ms,
            "bodies": json.dumps(str(lines)),
            "path": json.dumps(path),
            "seconds": seconds,
            "quiet_s": quiet_s,
            "ids": json.dumps(str(ids)),
        }
        script.write_text((SCRIPT + IDS if ids else SCRIPT) % told, encoding="utf-8")
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds + quiet_s}s", "-s", str(script)]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
        )
    found = Load(**json.loads(done.stdout.splitlines()[-1]))
    if strict and (found.broken or found.refused):
        sys.exit(f"{path} on port {port}: {found}")
    return found


def apart(given: Iterable[str], kept: Iterable[str]) -> tuple[int, int]:
    """How many ids callers were given that the log lacks, and rows of the log that nobody was.

    An id counts as often as it is there: one that two callers were given, or two rows have, is one
    too many.
    """
    answers, rows = Counter(given), Counter(kept)
    return (answers - rows).total(), (rows - answers).total()
