"""Trainings of several runs take turns on the machine's cores."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_assets.resources.cores import Cores

PATIENCE_S = 20.0
HOLDS = """
import sys, time
from ai_assets.resources.cores import Cores
with Cores(folder=sys.argv[1], count=2).lent(2, print):
    print("held", flush=True)
    time.sleep(60)
"""


def silent(words: str) -> None:
    raise AssertionError(f"nothing to wait for, but was told: {words}")


def busy(cores: Cores) -> bool:
    """Whether a training of one thread would have to wait."""

    class WouldWait(Exception):
        pass

    def give_up(_words: str) -> None:
        raise WouldWait

    try:
        with cores.lent(1, give_up):
            return False
    except WouldWait:
        return True


def test_trainings_with_a_thread_each_run_side_by_side(tmp_path: Path) -> None:
    cores = Cores(folder=str(tmp_path), count=2)

    with cores.lent(1, silent), cores.lent(1, silent):
        assert busy(cores)

    assert not busy(cores)


def test_a_training_of_all_cores_waits_for_its_turn_and_says_so_once(tmp_path: Path) -> None:
    cores = Cores(folder=str(tmp_path), count=2)
    told: list[str] = []
    waiting, begun = threading.Event(), threading.Event()

    def second() -> None:
        def say(words: str) -> None:
            told.append(words)
            waiting.set()

        with cores.lent(2, say):
            begun.set()

    with ThreadPoolExecutor(1) as pool:
        with cores.lent(1, silent):
            done = pool.submit(second)
            assert waiting.wait(PATIENCE_S)
            assert not begun.wait(0.6)
        assert begun.wait(PATIENCE_S)
        done.result(PATIENCE_S)

    assert told == [
        "The training of another run has the machine's cores; this one begins when it is done."
    ]


def test_several_trainings_never_have_more_cores_than_there_are(tmp_path: Path) -> None:
    cores = Cores(folder=str(tmp_path), count=3)
    lock, now, most = threading.Lock(), 0, 0

    def train(threads: int) -> None:
        nonlocal now, most
        with cores.lent(threads, lambda _words: None):
            with lock:
                now += threads
                most = max(most, now)
            threading.Event().wait(0.02)
            with lock:
                now -= threads

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(train, [2, 1, 2, 3, 1, 2], timeout=PATIENCE_S))

    assert most == 3


@pytest.mark.parametrize("threads", [0, 5])
def test_who_asks_for_every_core_or_more_gets_what_there_is(tmp_path: Path, threads: int) -> None:
    cores = Cores(folder=str(tmp_path), count=2)

    with cores.lent(threads, silent):
        assert busy(cores)


def test_a_training_that_fails_gives_its_cores_back(tmp_path: Path) -> None:
    cores = Cores(folder=str(tmp_path), count=1)

    with pytest.raises(ValueError, match="diverged"), cores.lent(1, silent):
        raise ValueError("diverged")

    assert not busy(cores)


def test_a_killed_training_gives_its_cores_back(tmp_path: Path) -> None:
    cores = Cores(folder=str(tmp_path), count=2)
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            assert busy(cores)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE_S)

    with cores.lent(2, silent):
        pass
