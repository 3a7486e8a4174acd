"""A killed run is failed and retried: the daemon and a code server as processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._grpc.client import DagsterGrpcClient

from ai_assets.automation.lost import ASKED_AGAIN
from ai_assets.launcher import worker_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
TINY = '''
import time
from pathlib import Path
import dagster as dg
from ai_assets.automation.lost import lost_runs
from ai_assets.resources.machine import tell_machine

HERE = Path(__file__).parent

@dg.asset(pool="one")
def first() -> None:
    with (HERE / "first.txt").open("a") as done:
        done.write("done\\n")

@dg.asset(deps=[first], pool="one")
def second(context: dg.AssetExecutionContext) -> None:
    """Takes a minute and more, until there is a file `hurry`."""
    tell_machine(context)
    (HERE / "second.txt").touch()
    for _ in range(1200):
        if (HERE / "hurry").exists():
            return
        time.sleep(0.1)

@dg.asset_check(asset=first, blocking=True)
def never_good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False)

two = dg.define_asset_job("two", dg.AssetSelection.assets(first, second).without_checks())
blocked = dg.define_asset_job("blocked", dg.AssetSelection.assets(first))
defs = dg.Definitions([first, second], asset_checks=[never_good], jobs=[two, blocked],
                      sensors=[lost_runs], executor=dg.in_process_executor)
'''


@dataclass
class House:
    """A folder with Dagster's state, and the processes that work on it."""

    folder: Path
    port: int
    instance: dg.DagsterInstance
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start the daemon, or the code server and wait until it answers."""
        commands = {
            "daemon": ["dagster._daemon", "run", "-w", "workspace.yaml"],
            "server": ["dagster", "api", "grpc", "-f", "tiny.py", "-h", "127.0.0.1",
                       "-p", str(self.port), "--location-name", "tiny"],
        }  # fmt: skip
        with (self.folder / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *commands[name]],
                cwd=self.folder,
                env=environment(self.folder),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if name == "server":
            client = DagsterGrpcClient(port=self.port, host="127.0.0.1")
            wait_until(lambda: answers(client), "the code server answers")

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def launch(self, job: str) -> str:
        """Ask for a run that may be retried once; returns its id."""
        run_id = dg._core.utils.make_new_run_id()
        command = ["job", "launch", "-w", "workspace.yaml", "-l", "tiny", "-j", job]
        told = ["--run-id", run_id, "--tags", json.dumps({"dagster/max_retries": "1"})]
        subprocess.run(
            [sys.executable, "-m", "dagster", *command, *told],
            cwd=self.folder,
            env=environment(self.folder),
            check=True,
            capture_output=True,
        )
        return run_id

    def execute(self, job: str) -> "subprocess.Popen[bytes]":
        """Begin a run by a command, which executes it itself."""
        command = ["job", "execute", "-f", "tiny.py", "-j", job]
        return subprocess.Popen(
            [sys.executable, "-m", "dagster", *command],
            cwd=self.folder,
            env=environment(self.folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def launch_and_let_it_sleep(self) -> tuple[str, int]:
        """The id and the worker's number of a run whose second step is under way."""
        run_id = self.launch("two")
        wait_until((self.folder / "second.txt").exists, "the second step works")
        worker = worker_of(self.instance, run_id)
        assert worker is not None and psutil.pid_exists(worker.pid)
        return run_id, worker.pid

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def runs(self) -> list[dg.DagsterRun]:
        """All runs, oldest first."""
        return list(reversed(self.instance.get_runs()))


@pytest.fixture
def house(state: Path, free_port: int) -> Iterator[House]:
    folder = state / "dagster"
    (folder / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    (folder / "tiny.py").write_text(TINY, encoding="utf-8")
    server = {"host": "127.0.0.1", "port": free_port, "location_name": "tiny"}
    (folder / "workspace.yaml").write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
    with dg.DagsterInstance.get() as instance:
        made = House(folder, free_port, instance)
        made.start("server")
        made.start("daemon")
        try:
            yield made
        finally:
            (folder / "hurry").touch()
            for name in list(made.processes):
                made.kill(name)
            end_workers(made)


def test_a_run_killed_with_its_code_server_is_failed_and_retried(
    house: House,
) -> None:
    run_id, pid = house.launch_and_let_it_sleep()

    killed = time.monotonic()
    house.kill("server")  # first, or it would see its worker die and tell
    os.kill(pid, signal.SIGKILL)
    (house.folder / "hurry").touch()
    house.start("server")
    wait_until(lambda: house.status(run_id) == dg.DagsterRunStatus.FAILURE, "it is failed")
    wait_until(lambda: retry_is(house, dg.DagsterRunStatus.SUCCESS), "its retry succeeds")
    seconds = time.monotonic() - killed

    print(f"failed and retried within {seconds:.1f} s")
    first, retry = house.runs()
    assert (first.run_id, retry.parent_run_id) == (run_id, run_id)
    said = house.instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert f"Process {pid} of the run is gone." in said[-1].message
    done = (house.folder / "first.txt").read_text().splitlines()
    assert done == ["done"], "the retry goes on from the step that was killed"


def test_a_retry_waits_for_a_code_server_that_is_away_for_long(house: House) -> None:
    run_id, pid = house.launch_and_let_it_sleep()

    house.kill("server")
    os.kill(pid, signal.SIGKILL)
    (house.folder / "hurry").touch()
    wait_until(lambda: looked(house) >= 3, "the daemon has looked at the run without its server")
    assert house.status(run_id) == dg.DagsterRunStatus.STARTED
    house.start("server")

    wait_until(lambda: retry_is(house, dg.DagsterRunStatus.SUCCESS), "its retry succeeds")
    assert house.status(run_id) == dg.DagsterRunStatus.FAILURE


def test_a_retry_that_could_not_be_made_is_made_later(house: House) -> None:
    run_id, pid = house.launch_and_let_it_sleep()

    house.kill("server")
    os.kill(pid, signal.SIGKILL)
    (house.folder / "hurry").touch()
    run = house.instance.get_run_by_id(run_id)
    assert run is not None
    house.instance.report_run_failed(run, "Somebody fails it before its code server is there.")
    wait_until(lambda: "Failed to retry run" in words_of(house, run_id), "the daemon has tried")
    house.start("server")

    wait_until(lambda: retry_is(house, dg.DagsterRunStatus.SUCCESS), "its retry succeeds")
    assert ASKED_AGAIN in words_of(house, run_id)
    assert len(house.runs()) == 2


def test_a_run_whose_worker_alone_is_killed_is_failed_and_retried(
    house: House,
) -> None:
    run_id, pid = house.launch_and_let_it_sleep()

    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    (house.folder / "hurry").touch()
    wait_until(lambda: retry_is(house, dg.DagsterRunStatus.SUCCESS), "its retry succeeds")
    seconds = time.monotonic() - killed

    print(f"failed and retried within {seconds:.1f} s")
    assert house.status(run_id) == dg.DagsterRunStatus.FAILURE
    assert len(house.runs()) == 2


def test_a_run_whose_command_was_killed_is_failed(house: House) -> None:
    command = house.execute("two")
    wait_until((house.folder / "second.txt").exists, "the second step works")
    (run,) = house.runs()
    wait_until(lambda: looked(house) >= 2, "the daemon has looked at the run twice")
    assert house.status(run.run_id) == dg.DagsterRunStatus.STARTED

    command.kill()
    command.wait()

    wait_until(lambda: house.status(run.run_id) == dg.DagsterRunStatus.FAILURE, "it is failed")
    said = house.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert f"Process {command.pid} of the run is gone." in said[-1].message
    assert len(house.runs()) == 1, "a command is given again by who gave it"


def test_a_run_goes_on_while_the_daemon_is_killed_and_started_again(house: House) -> None:
    run_id, pid = house.launch_and_let_it_sleep()

    house.kill("daemon")
    (house.folder / "daemon.log").unlink()
    house.start("daemon")
    wait_until(lambda: looked(house) >= 2, "the new daemon has looked at the run twice")

    assert house.status(run_id) == dg.DagsterRunStatus.STARTED
    (house.folder / "hurry").touch()
    wait_until(lambda: house.status(run_id) == dg.DagsterRunStatus.SUCCESS, "it succeeds")
    worker = worker_of(house.instance, run_id)
    assert worker is not None and worker.pid == pid
    assert [run.run_id for run in house.runs()] == [run_id]


def test_a_run_that_a_check_blocked_is_not_retried(house: House) -> None:
    run_id = house.launch("blocked")

    wait_until(lambda: house.status(run_id) == dg.DagsterRunStatus.FAILURE, "it fails")
    wait_until(lambda: "Not retrying run" in words_of(house, run_id), "the daemon has considered")

    assert [run.run_id for run in house.runs()] == [run_id]


def retry_is(house: House, status: dg.DagsterRunStatus) -> bool:
    """Whether there is a second run with that status."""
    return [run.status for run in house.runs()[1:]] == [status]


def looked(house: House) -> int:
    """How often the daemon has looked at a run."""
    log = (house.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")
    return log.count("Checking run")


def words_of(house: House, run_id: str) -> str:
    return "\n".join(entry.message for entry in house.instance.all_logs(run_id))


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(folder)}


def answers(client: DagsterGrpcClient) -> bool:
    try:
        return client.ping("there?") is not None
    except Exception:  # whatever it is, the server does not answer yet
        return False


def wait_until(holds: Callable[[], bool], words: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {words}"
        time.sleep(0.2)


def end_workers(house: House) -> None:
    """Kill what a failed test left at work, each by its own number."""
    for run in house.runs():
        worker = worker_of(house.instance, run.run_id)
        if worker is not None and not run.is_finished and psutil.pid_exists(worker.pid):
            os.kill(worker.pid, signal.SIGKILL)
