"""Ports, daemons, locks and what processes left that are gone."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from ai_assets.doctor import processes
from ai_assets.doctor.place import Place
from ai_assets.resources.machine import MACHINE_TAG, Machine

HOLD = """
import fcntl, sys, time
held = open(sys.argv[1], "w")
fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(300)
"""


@contextmanager
def started(*command: str, **more: object) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **more,  # type: ignore[call-overload]
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def test_a_free_port_is_fine(place: Place, free_port: int) -> None:
    (line,) = processes.ports(replace(place, ports=(free_port,)))

    assert (line.check, line.mood, line.found) == (f"port {free_port}", "ok", "Free.")


def test_a_port_that_is_taken_names_the_process_and_another_port(
    place: Place, free_port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        (page,) = processes.ports(replace(place, ports=(free_port,)))
        _, server = processes.ports(replace(place, ports=(free_port, free_port)))

    assert (page.mood, server.mood) == ("problem", "problem")
    assert page.found.startswith(f"Taken by process {os.getpid()} (")
    assert page.do.startswith("make dev PORT=") and server.do.startswith("--port ")
    assert str(free_port) not in page.do


def daemon_of(home: Path | None, folder: Path) -> list[object]:
    command = ["-m", "dagster._daemon", "run", "--empty-workspace"]
    env = {**os.environ, **({"DAGSTER_HOME": str(home)} if home else {})}
    return [command, {"env": env, "cwd": folder}]


def test_two_daemons_on_one_state_are_a_problem_and_one_is_not(
    place: Place, tmp_path: Path
) -> None:
    (none,) = processes.daemons(place)
    with ExitStack() as open_now:

        def start(home: Path | None, folder: Path) -> int:
            command, more = daemon_of(home, folder)
            found = open_now.enter_context(started(*command, **more))  # type: ignore
            return int(found.pid)

        other = tmp_path / "other"
        other.mkdir()
        start(other, tmp_path)
        first = start(place.dagster_home, tmp_path)
        (one,) = processes.daemons(place)
        second = start(None, place.project)  # its home is in the .env of its folder
        (two,) = processes.daemons(place)

    assert (none.mood, one.mood, two.mood) == ("ok", "ok", "problem")
    assert none.found == "None runs; `make dev` starts one."
    assert one.found == f"One runs: process {first} in {tmp_path}."
    assert f"process {first} in {tmp_path}" in two.found
    assert f"process {second} in {place.project}" in two.found
    assert two.found.startswith("2 daemons work on this state")


def test_a_lock_names_who_holds_it_and_that_of_a_dead_process_is_held_by_nobody(
    place: Place,
) -> None:
    file = place.home / "mlflow" / "mlflow.db.lock"
    file.parent.mkdir()
    with started("-c", HOLD, str(file)) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        (busy,) = processes.locks(place)
    (free,) = processes.locks(place)

    assert (busy.mood, free.mood) == ("warning", "ok")
    assert busy.found.startswith(f"{file} is held by process {holder.pid} (")
    assert busy.do.endswith(f"kill {holder.pid}")
    assert free.found == "1 lock files, held by nobody."


@pytest.fixture
def runs(place: Place) -> Iterator[dg.DagsterInstance]:
    """The history of the checkout."""
    with place.entered(), dg.DagsterInstance.from_config(str(place.dagster_home)) as instance:
        yield instance


def going_on(
    instance: dg.DagsterInstance,
    pid: int,
    words: str = "Started process for run (pid: {pid}).",
    machine: str = "",
) -> str:
    """A run that a process said that it executes."""
    tags = {MACHINE_TAG: machine} if machine else {}
    run = dg.DagsterRun("all", str(uuid4()), status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.add_run(run)
    instance.report_engine_event(words.format(pid=pid), run)
    return run.run_id


def test_a_run_whose_process_lives_is_fine(place: Place, runs: dg.DagsterInstance) -> None:
    going_on(runs, os.getpid())

    (line,) = processes.dead_runs(place)

    assert (line.mood, line.found) == ("ok", "1 are going on, each with a process.")


@pytest.mark.parametrize("here", [True, False])
def test_a_run_of_a_command_that_was_killed_is_told(
    place: Place, runs: dg.DagsterInstance, here: bool
) -> None:
    with started("-c", "pass") as ended:
        ended.wait(60)
    lives = going_on(runs, os.getpid(), "Executing steps in process (pid: {pid})")
    fine = [line.found for line in processes.dead_runs(place)]
    words = "Executing steps using multiprocess executor: parent process (pid: {pid})"
    run_id = going_on(runs, ended.pid, words, str(Machine.here()) if here else "")

    (line,) = processes.dead_runs(place)

    assert fine == ["1 are going on, each with a process."]
    assert lives != run_id and line.mood == "warning"
    assert line.found == (
        f"Run {run_id} is said to be going on by a command, and keeps others from starting. "
        f"Process {ended.pid} of the run is gone."
    )
    ends = "make dev: its daemon ends the run, and retries it where its tags say so"
    force = f"make dev, then the page /runs/{run_id}: Terminate, and force it"
    assert line.do == (ends if here else force)


def test_a_run_of_a_command_on_another_machine_is_left_alone(
    place: Place, runs: dg.DagsterInstance
) -> None:
    with started("-c", "pass") as ended:
        ended.wait(60)
    words = "Executing steps in process (pid: {pid})"
    going_on(runs, ended.pid, words, machine="another 1 pid:[1] 2")

    (line,) = processes.dead_runs(place)

    assert (line.mood, line.found) == ("ok", "1 are going on, each with a process.")


def test_a_launched_run_is_here_though_the_one_that_it_repeats_was_not(
    place: Place, runs: dg.DagsterInstance
) -> None:
    """What is asked for again has the tags of the run before."""
    with started("-c", "pass") as ended:
        ended.wait(60)
    run_id = going_on(runs, ended.pid, machine="another 1 pid:[1] 2")

    (line,) = processes.dead_runs(place)

    words = f"Run {run_id} is said to be going on. Process {ended.pid} of the run is gone."
    assert (line.mood, line.found) == ("warning", words)


def test_a_run_whose_process_is_dead_is_told(place: Place, runs: dg.DagsterInstance) -> None:
    with started("-c", "pass") as ended:
        ended.wait(60)
    run_id = going_on(runs, ended.pid)

    (line,) = processes.dead_runs(place)

    assert line.mood == "warning"
    assert line.found == (
        f"Run {run_id} is said to be going on. Process {ended.pid} of the run is gone."
    )


def test_without_a_history_there_is_no_run_to_ask_after(place: Place) -> None:
    assert list(processes.dead_runs(place)) == []
    assert not (place.home / "dagster" / "history").exists()


def test_drafts_of_killed_processes_are_told_when_they_are_old(place: Place) -> None:
    draft = place.home / "lake" / "churn" / "_artifacts" / "model" / "contents" / ".0a1b"
    draft.mkdir(parents=True)
    (fresh,) = processes.drafts(place)
    os.utime(draft, (time.time() - 2 * 86_400,) * 2)
    (old,) = processes.drafts(place)

    assert (fresh.mood, old.mood) == ("ok", "warning")
    assert old.found == "1 drafts of killed processes take room."
    assert old.do == f"rm -r '{draft}'"
