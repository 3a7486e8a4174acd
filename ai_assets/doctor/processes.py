"""Who uses ports, state and locks, and what was left by processes that are gone."""

import errno
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.doctor.line import Line, ok, problem, warning
from ai_assets.doctor.place import DOTENV, Place

if TYPE_CHECKING:
    import psutil

_DAEMON = ("dagster-daemon", "dagster._daemon")
_WEBSERVER = ("dagster-webserver", "dagster_webserver")
_LOCKS = Path("/proc/locks")
_DRAFT_HOURS = 24
_DRAFTS = ("bentoml/.building-*", "lake/*/_artifacts/**/contents/.*")
_LOOKED_FOR = 200


def ports(place: Place) -> Iterator[Line]:
    """Whether UI and servers can listen where they do by default."""
    for number, port in enumerate(place.ports):
        name = f"port {port}"
        if not _taken(port):
            yield ok(name, "Free.")
            continue
        who = _listener(port)
        if number == 0 and who is not None and _role(who) == "webserver":
            yield ok(name, f"The UI answers there already (process {who.pid}).")
            continue
        by = f"process {who.pid} ({_command(who)})" if who else "a process of another user"
        do = f"make dev PORT={_free_port()}" if number == 0 else f"--port {_free_port()}"
        yield problem(name, f"Taken by {by}.", f"{do}, or end that process")


def daemons(place: Place) -> Iterator[Line]:
    """Whether at most one daemon works on the state: two would start everything twice."""
    if place.dagster_home is None:
        return
    found = [one for one in _processes() if _works_on(one, place.dagster_home)]
    running = [one for one in found if _role(one) == "daemon"]
    pages = [one for one in found if _role(one) == "webserver"]
    said = ", ".join(f"process {one.pid} in {_folder(one)}" for one in running)
    if len(running) > 1:
        do = f"keep one: kill -INT {running[-1].pid}"
        yield problem("daemons", f"{len(running)} daemons work on this state: {said}.", do)
    elif len(pages) > 1:
        pids = " and ".join(str(one.pid) for one in pages)
        found_pages = f"{len(pages)} web servers show this state: processes {pids}."
        yield warning("daemons", found_pages, f"keep one: kill -INT {pages[-1].pid}")
    else:
        yield ok(
            "daemons", f"One runs: {said}." if running else "None runs; `make dev` starts one."
        )


def locks(place: Place) -> Iterator[Line]:
    """Whether somebody holds a lock file of the state. A lock of a process that died is none."""
    files = [*place.home.rglob("*.lock"), *(place.home / "bentoml" / "locks").glob("*")]
    held = _held()
    busy = [(file, held[file.stat().st_ino]) for file in files if file.stat().st_ino in held]
    for file, pid in busy:
        found = f"{file} is held by process {pid} ({_command_of(pid)}): others wait for it."
        yield warning("locks", found, f"wait; where it does nothing any more: kill {pid}")
    if not busy:
        yield ok("locks", f"{len(files)} lock files, held by nobody.")


def dead_runs(place: Place) -> Iterator[Line]:
    """Whether a run is said to be going on whose process is gone."""
    if place.dagster_home is None or not (place.dagster_home / "history" / "runs.db").is_file():
        return
    import dagster as dg
    from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

    from ai_assets.launcher import own_process_of, why_gone, worker_of
    from ai_assets.resources.machine import MACHINE_TAG, Where, where

    with place.entered(), dg.DagsterInstance.from_config(str(place.dagster_home)) as instance:
        states = dg.RunsFilter(statuses=[*IN_PROGRESS_RUN_STATUSES])
        runs = instance.get_runs(states, limit=_LOOKED_FOR)
        launched = {run.run_id: worker_of(instance, run.run_id) for run in runs}
        typed = {name: own_process_of(instance, name) for name, one in launched.items() if not one}
    # A run that was asked for again has the tags of the one before, wherever that was.
    placed = {r.run_id: where(r) for r in runs if MACHINE_TAG in r.tags and r.run_id in typed}
    dead = 0
    for run_id, worker in [*launched.items(), *typed.items()]:
        is_away = placed.get(run_id) is Where.ELSEWHERE
        gone = why_gone(worker) if worker and not is_away else None
        if gone is None:
            continue
        dead += 1
        do = "make dev: its daemon ends the run, and retries it where its tags say so"
        by = ""
        if run_id in typed:
            by = " by a command, and keeps others from starting"
        if run_id in typed and run_id not in placed:
            do = f"make dev, then the page /runs/{run_id}: Terminate, and force it"
        yield warning("runs", f"Run {run_id} is said to be going on{by}. {gone}", do)
    if not dead:
        unknown = sum(worker is None for worker in typed.values())
        rest = f" But for {unknown} that have not told theirs." if unknown else ""
        yield ok("runs", f"{len(runs)} are going on, each with a process.{rest}")


def drafts(place: Place) -> Iterator[Line]:
    """Whether killed processes left drafts that nobody reads."""
    before = time.time() - _DRAFT_HOURS * 3600
    found = [one for pattern in _DRAFTS for one in place.home.glob(pattern)]
    old = [one for one in found if one.lstat().st_mtime < before]
    if old:
        do = f"rm -r {' '.join(repr(str(one)) for one in old[:5])}"
        yield warning("drafts", f"{len(old)} drafts of killed processes take room.", do)
    else:
        yield ok("drafts", "None was left.")


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno in (errno.EADDRINUSE, errno.EACCES)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listener(port: int) -> "psutil.Process | None":
    import psutil

    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
            return psutil.Process(one.pid)
    return None


def _processes() -> Iterator["psutil.Process"]:
    import psutil

    yield from psutil.process_iter()


def _role(process: "psutil.Process") -> str:
    """`daemon`, `webserver`, or nothing of Dagster's."""
    words = {Path(word).name for word in _asked(process, "cmdline", [])[:4]}
    if words & set(_DAEMON):
        return "daemon"
    return "webserver" if words & set(_WEBSERVER) else ""


def _works_on(process: "psutil.Process", dagster_home: Path) -> bool:
    """Whether a process of Dagster has this home; `.env` where it was started wins."""
    if not _role(process):
        return False
    from dotenv import dotenv_values

    told = _asked(process, "environ", {}).get("DAGSTER_HOME")
    written = dotenv_values(Path(_folder(process)) / DOTENV).get("DAGSTER_HOME")
    home = written or told
    return bool(home) and Path(str(home)).resolve() == dagster_home.resolve()


def _folder(process: "psutil.Process") -> str:
    return str(_asked(process, "cwd", "/"))


def _command(process: "psutil.Process") -> str:
    return " ".join(_asked(process, "cmdline", [])[:4]) or str(_asked(process, "name", "?"))


def _command_of(pid: int) -> str:
    import psutil

    try:
        return _command(psutil.Process(pid))
    except psutil.Error:
        return "not to be seen from here"


def _asked(process: "psutil.Process", what: str, otherwise: Any) -> Any:
    """What a process says of itself; processes end, and those of others say little."""
    import psutil

    try:
        return getattr(process, what)()
    except psutil.Error:
        return otherwise


def _held() -> dict[int, int]:
    """The process that holds a lock on a file, by the file's inode."""
    if not _LOCKS.is_file():
        return {}
    fields = (line.split() for line in _LOCKS.read_text(encoding="utf-8").splitlines())
    return {int(f[5].split(":")[2]): int(f[4]) for f in fields if f[1] == "FLOCK"}
