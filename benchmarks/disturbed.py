"""One replay of a sampled project, its run workers and its daemon killed at random moments.

Started by `kills.py` with the project's folder as PYTHONPATH. A moment is random in this sense: the
next worker is killed after as many seconds of workers' work, and the next daemon after as many
seconds of a daemon that is up, as an exponential distribution with the given mean says. So any
moment of a run is as likely as any other. A daemon that ends is started anew, as a supervisor does.
"""

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dagster as dg
import psutil

from ai_assets import replay
from ai_assets.automation.daemon import has_looked, running_daemon, unfinished, wait_for
from ai_assets.launcher import why_gone, worker_of

KILLS = "kills.json"
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_SETTLE = 600
UNDER_WAY = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@dataclass(frozen=True)
class Kill:
    """One kill: of what, when (seconds since 1970), which process, and of a worker which run."""

    what: str
    at: float
    pid: int
    run_id: str = ""


@dataclass
class Supervised:
    """A daemon that is started again whenever it ends; asked, it always runs."""

    home: Path
    environment: dict[str, str]
    pid: int | None = None
    _known: dict[int, psutil.Process] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> int | None:
        return None

    @contextmanager
    def running(self) -> Iterator["Supervised"]:
        thread = threading.Thread(target=self._keep)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()
            self._end_what_is_left()

    def _keep(self) -> None:
        workspace = replay.ROOT / "workspace.yaml"
        while not self._over.is_set():
            with running_daemon(workspace, self.environment, self.home / "daemon.log") as process:
                self.pid = process.pid
                while process.poll() is None and not self._over.wait(SECONDS_BETWEEN_LOOKS):
                    pass
                self.pid = None

    def kill(self) -> int | None:
        """Kill the daemon alone: its code servers and what they run are left without it."""
        pid = self.pid
        if pid is None:
            return None
        self.note_children(pid)
        os.kill(pid, signal.SIGKILL)
        return pid

    def note_children(self, pid: int) -> None:
        """Remember what the daemon started, to be ended with the replay."""
        for child in psutil.Process(pid).children(recursive=True):
            self._known[child.pid] = child

    def _end_what_is_left(self) -> None:
        # psutil compares the time of start too: a number given out again is left alone.
        for process in self._known.values():
            if process.is_running():
                process.kill()


@dataclass
class Killer:
    """Kills as many workers and daemons as asked, while `run` is running."""

    instance: dg.DagsterInstance
    daemon: Supervised
    chance: random.Random
    left: dict[str, int]
    means: dict[str, float]
    done: list[Kill] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        patience = {what: self._draw(what) for what in self.left}
        before = time.monotonic()
        while any(self.left.values()) and not self._over.wait(SECONDS_BETWEEN_LOOKS):
            passed, before = time.monotonic() - before, time.monotonic()
            at_work = {"worker": workers(self.instance), "daemon": self._daemons()}
            for what, there in at_work.items():
                if not there or not self.left[what]:
                    continue
                patience[what] -= passed
                if patience[what] <= 0:
                    patience[what] = self._draw(what)
                    self._kill(what, *self.chance.choice(there))

    def _draw(self, what: str) -> float:
        return self.chance.expovariate(1 / self.means[what])

    def _daemons(self) -> list[tuple[str, int]]:
        return [("", self.daemon.pid)] if self.daemon.pid else []

    def _kill(self, what: str, run_id: str, pid: int) -> None:
        at = time.time()
        if what == "daemon":
            if self.daemon.kill() is None:
                return
        else:
            os.kill(pid, signal.SIGKILL)
        self.left[what] -= 1
        self.done.append(Kill(what, at, pid, run_id))
        print(f"  killed the {what} {run_id} (process {pid})", flush=True)


def workers(instance: dg.DagsterInstance) -> list[tuple[str, int]]:
    """The runs whose process is alive, with its number; not those of the replay's own process."""
    found = []
    for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        worker = worker_of(instance, run.run_id)
        if worker is not None and worker.pid != os.getpid() and why_gone(worker) is None:
            found.append((run.run_id, worker.pid))
    return sorted(found)


def replayed(home: Path, asked: argparse.Namespace) -> list[Kill]:
    """Replay up to the asked partition; what was killed meanwhile."""
    environment = {
        "AI_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "AI_ASSETS_TICK_SECONDS": replay.TICK_SECONDS,
    }
    os.environ.update(environment)
    supervised = Supervised(home, environment)
    log = home / "daemon.log"
    with dg.DagsterInstance.get() as instance:
        made = replay.made(instance, asked.last)
        if not made.bootstrap():
            raise RuntimeError("The first release failed.")
        left = {"worker": asked.workers, "daemon": asked.daemons}
        means = {"worker": asked.worker_mean, "daemon": asked.daemon_mean}
        killer = Killer(instance, supervised, random.Random(asked.seed), left, means)
        with supervised.running():
            wait_for("the daemon", lambda: has_looked(instance), supervised, log, 300)
            with killer.at_work():
                for key in made.partitions:
                    made.month(key, supervised, log)
                    made.tell(key)
                wait_for(
                    "the end of all runs", lambda: not unfinished(instance),
                    supervised, log, SECONDS_TO_SETTLE,
                )  # fmt: skip
    return killer.done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--last", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--daemons", type=int, default=0)
    parser.add_argument("--worker-mean", type=float, default=15.0)
    parser.add_argument("--daemon-mean", type=float, default=40.0)
    asked = parser.parse_args()
    home = replay.prepare(asked.home, fresh=False)
    kills = replayed(home, asked)
    (home / KILLS).write_text(json.dumps([asdict(kill) for kill in kills]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
