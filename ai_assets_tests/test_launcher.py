"""The launcher tells a run whose process is gone from one that is at work."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from ai_assets.launcher import RunLauncher, Worker, is_here, why_gone
from ai_assets.resources.machine import MACHINE_TAG, Machine

ROOT = Path(__file__).resolve().parent.parent
HERE = {GRPC_INFO_TAG: '{"host": "localhost", "socket": "/tmp/code-server"}'}
AT_A_PORT = {GRPC_INFO_TAG: '{"host": "localhost", "port": 1}'}
ELSEWHERE = {GRPC_INFO_TAG: '{"host": "code_server", "port": 4000}'}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def launcher(instance: dg.DagsterInstance) -> RunLauncher:
    made = RunLauncher()
    made.register_instance(instance)
    return made


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that does nothing, for a while."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def settled(launcher: RunLauncher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code server of every run answers, and has been the same all the time."""
    servers_are(launcher, monkeypatch, ["the same"] * 9)


def servers_are(
    launcher: RunLauncher, monkeypatch: pytest.MonkeyPatch, ids: list[str | None]
) -> None:
    """The code server at each look: its id, or None where none answers."""
    answers = iter(ids)
    monkeypatch.setattr(launcher, "_server_of", lambda run_id: next(answers))


def a_run(instance: dg.DagsterInstance, pid: int | None, tags: dict[str, str]) -> dg.DagsterRun:
    """A started run whose worker has said its number, as Dagster's worker does."""

    @dg.job
    def nothing() -> None: ...

    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)
    if pid is not None:
        words = f"Started process for run (pid: {pid})."
        instance.report_engine_event(words, run, EngineEventData.in_process(pid))
    return run


def test_the_shipped_instance_uses_it_and_retries_only_what_is_tagged(state: Path) -> None:
    (state / "dagster" / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())

    with dg.DagsterInstance.get() as shipped:
        assert type(shipped.run_launcher) is RunLauncher
        assert shipped.run_launcher.supports_check_run_worker_health
        assert shipped.run_monitoring_enabled
        assert shipped.run_retries_enabled
        assert shipped.run_retries_max_retries == 0
        assert not shipped.run_retries_retry_on_asset_or_op_failure
        queue = shipped.get_concurrency_config().run_queue_config
        assert queue is not None
        assert (queue.max_user_code_failure_retries, queue.max_concurrent_runs) == (6, 2)
        assert shipped.run_coordinator.dequeue_interval_seconds == 1


def test_dagster_says_the_number_as_the_launcher_expects_it() -> None:
    said = (Path(dg.__file__).parent / "_grpc" / "impl.py").read_text(encoding="utf-8")

    assert 'f"Started process for run (pid: {pid})."' in said


def test_a_process_at_work_is_running(launcher, instance, child) -> None:
    found = launcher.check_run_worker_health(a_run(instance, child.pid, HERE))

    assert (found.status, found.msg, found.run_worker_id) == (
        WorkerStatus.RUNNING,
        f"Process {child.pid} is alive.",
        str(child.pid),
    )


@pytest.mark.usefixtures("settled")
def test_a_killed_process_has_failed_before_and_after_its_parent_took_note(
    launcher, instance, child
) -> None:
    run = a_run(instance, child.pid, HERE)
    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING
    child.kill()
    wait_for_zombie(child.pid)

    unnoticed = launcher.check_run_worker_health(run)
    child.wait()
    launcher.check_run_worker_health(run)
    gone = launcher.check_run_worker_health(run)

    assert (unnoticed.status, unnoticed.msg) == (
        WorkerStatus.FAILED,
        f"Process {child.pid} of the run has ended without a word.",
    )
    assert (gone.status, gone.msg) == (
        WorkerStatus.FAILED,
        f"Process {child.pid} of the run is gone.",
    )


@pytest.mark.parametrize(
    "servers",
    [
        ["one", "one"],
        ["one", None, None, "two", "two", "two"],
        ["one", "two", "two", "two"],
        ["one", None, "one", None, "one", "one", "one"],
        [None, "one", "one", "one"],
    ],
)
def test_a_gone_process_is_failed_once_its_code_server_has_settled(
    launcher, instance, monkeypatch, servers
) -> None:
    """Dagster starts the retry of a failed run once, and gives up where the server is away."""
    servers_are(launcher, monkeypatch, servers)
    pid = gone_pid()
    run = a_run(instance, pid, AT_A_PORT)
    ten_seconds_apart = itertools.count(1_000.0, 10.0)
    monkeypatch.setattr("ai_assets.launcher._now", lambda: next(ten_seconds_apart))

    looks = [launcher.check_run_worker_health(run) for _ in servers]

    words = f"Process {pid} of the run is gone."
    assert [look.status for look in looks] == [
        *[WorkerStatus.RUNNING] * (len(servers) - 1),
        WorkerStatus.FAILED,
    ]
    assert {look.msg for look in looks[:-1]} == {f"{words} Its retry waits for the code server."}
    assert looks[-1].msg == words


def test_a_gone_process_waits_for_its_code_server_so_long_only(
    launcher, instance, monkeypatch
) -> None:
    servers_are(launcher, monkeypatch, [None] * 9)
    run = a_run(instance, gone_pid(), AT_A_PORT)

    waited = [launcher.check_run_worker_health(run).status for _ in range(3)]
    monkeypatch.setattr("ai_assets.launcher._MOST_WAIT_S", 0)
    at_last = launcher.check_run_worker_health(run).status

    assert (set(waited), at_last) == ({WorkerStatus.RUNNING}, WorkerStatus.FAILED)


def test_a_server_that_the_daemon_started_itself_is_not_waited_for(launcher, instance) -> None:
    """The one that takes its place has another socket."""
    run = a_run(instance, gone_pid(), HERE)

    looks = [launcher.check_run_worker_health(run).status for _ in range(2)]

    assert looks == [WorkerStatus.RUNNING, WorkerStatus.FAILED]


def test_another_process_with_the_number_is_not_the_runs(child) -> None:
    begun = psutil.Process(child.pid).create_time()

    assert why_gone(Worker(child.pid, seen_at=begun + 1)) is None
    assert why_gone(Worker(child.pid, seen_at=begun - 3600)) == (
        f"Process {child.pid} of the run is gone; another process has its number now."
    )


def test_the_newest_process_of_a_run_counts(launcher, instance, child) -> None:
    run = a_run(instance, gone_pid(), HERE)
    instance.report_engine_event(f"Started process for run (pid: {child.pid}).", run)

    assert launcher.check_run_worker_health(run).status == WorkerStatus.RUNNING


def test_what_cannot_be_told_is_left_running(launcher, instance) -> None:
    """Dagster would fail a run whose status is UNKNOWN."""
    elsewhere = launcher.check_run_worker_health(a_run(instance, gone_pid(), ELSEWHERE))
    by_hand = launcher.check_run_worker_health(a_run(instance, gone_pid(), {}))
    silent = launcher.check_run_worker_health(a_run(instance, None, HERE))

    words = "Its process runs on another machine, where this one cannot look."
    assert (elsewhere.status, elsewhere.msg) == (WorkerStatus.RUNNING, words)
    assert (by_hand.status, by_hand.msg) == (
        WorkerStatus.RUNNING,
        "Its process has not told its machine.",
    )
    assert (silent.status, silent.msg) == (
        WorkerStatus.RUNNING,
        "Its process has not told its number.",
    )


@pytest.mark.parametrize(
    ("told", "here"),
    [
        ('{"host": "localhost", "port": 4000}', True),
        ('{"host": "127.0.0.1", "port": 4000}', True),
        ('{"host": "::1", "port": 4000}', True),
        ('{"host": "localhost", "socket": "/tmp/s"}', True),
        ('{"host": "10.0.0.7", "port": 4000}', False),
        ('{"host": "code_server", "port": 4000}', False),
    ],
)
def test_the_code_servers_address_tells_the_machine(instance, told: str, here: bool) -> None:
    assert is_here(a_run(instance, None, {GRPC_INFO_TAG: told})) is here


def a_command(instance: dg.DagsterInstance, pid: int | None, machine: str) -> dg.DagsterRun:
    """A started run that a command executes on that machine, as Dagster's executor tells it."""
    run = a_run(instance, None, {MACHINE_TAG: machine})
    if pid is not None:
        instance.report_engine_event(f"Executing steps in process (pid: {pid})", run)
    return run


def told(found: CheckRunHealthResult) -> tuple[WorkerStatus, str | None]:
    return found.status, found.msg


def test_a_command_is_at_work_until_its_process_is_gone(launcher, instance, child) -> None:
    run = a_command(instance, child.pid, str(Machine.here()))
    alive = launcher.check_run_worker_health(run)
    child.kill()
    child.wait()
    gone = launcher.check_run_worker_health(run)

    assert told(alive) == (WorkerStatus.RUNNING, f"Process {child.pid} is alive.")
    assert told(gone) == (WorkerStatus.FAILED, f"Process {child.pid} of the run is gone.")


def test_a_command_that_cannot_be_asked_after_is_left_running(launcher, instance) -> None:
    elsewhere = launcher.check_run_worker_health(a_command(instance, gone_pid(), "another 1 2"))
    silent = launcher.check_run_worker_health(a_command(instance, None, str(Machine.here())))

    assert told(elsewhere) == (
        WorkerStatus.RUNNING,
        "Its process runs on another machine, where this one cannot look.",
    )
    assert told(silent) == (WorkerStatus.RUNNING, "Its process has not told its number.")


def test_a_command_does_not_outlive_its_machine(launcher, instance, child, monkeypatch) -> None:
    """Another process may have its number since."""
    now = Machine("host", "id", "pid:[4026531836]", "second")
    monkeypatch.setattr(Machine, "here", lambda: now)
    run = a_command(instance, child.pid, "host id pid:[4026531836] first")

    found = launcher.check_run_worker_health(run)

    assert told(found) == (
        WorkerStatus.FAILED,
        "The machine was started again since the run began.",
    )


def gone_pid() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def wait_for_zombie(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.02)


def test_runs_that_nobody_asks_after_any_more_are_forgotten(
    instance, launcher: RunLauncher, child, settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(instance, child.pid, HERE) for _ in range(3)]
    for run in runs:
        launcher.check_run_worker_health(run)
    assert launcher._looks.keys() == {run.run_id for run in runs}

    later = time.monotonic() + 601
    monkeypatch.setattr("ai_assets.launcher._now", lambda: later)
    launcher.check_run_worker_health(runs[0])

    assert launcher._looks.keys() == {runs[0].run_id}
