"""The machine's cores, which trainings of several runs share without slowing each other."""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import dagster as dg
from pydantic import Field

from ai_assets.serving.place import state_root

_PAUSE = 0.2


class Cores(dg.ConfigurableResource):
    """Lends cores to trainings; who finds too few free waits for its turn.

    Threads of two trainings on the same cores wait for each other at every barrier of OpenMP: two
    small networks with two threads each on two cores take four times as long as one after the
    other. A core is a locked file, so that the operating system gives it back when its process
    dies, however it dies; other machines and other state folders are not looked at.
    """

    folder: str = Field(
        default="", description="Where the lock files lie; default: in the state folder."
    )
    count: int = Field(default=0, ge=0, description="Cores to lend; 0: those this process may use.")

    @contextmanager
    def lent(self, threads: int, say: Callable[[str], None]) -> Iterator[None]:
        """Hold as many cores as a training has threads, or all where it asks for more.

        Args:
            threads: how many; 0 is every core.
            say: is told once if there is something to wait for.
        """
        there = self.count or _usable()
        wanted = min(threads or there, there)
        folder = Path(self.folder or state_root() / "cores")
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            cores = [held.enter_context(_opened(folder / f"core-{n}")) for n in range(there)]
            # One gathers at a time: else two could hold half of the cores each for ever.
            with _opened(folder / "gathering") as turn:
                _wait_for(lambda: _taken(turn) and _gathered(cores, wanted), say)
            yield


def _usable() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gathered(cores: Iterable[IO[str]], wanted: int) -> bool:
    """Lock what is free of the first files, and tell whether so many are locked."""
    # To lock again what this process has locked does nothing.
    return len(list(islice(filter(_taken, cores), wanted))) == wanted


def _wait_for(done: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Look again and again: a cancelled run stops waiting too."""
    if done():
        return
    say("The training of another run has the machine's cores; this one begins when it is done.")
    while not done():
        time.sleep(_PAUSE)


def _taken(file: IO[str]) -> bool:
    """Lock a file, unless another one who opened it has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    with path.open("w", encoding="utf-8") as file:
        yield file
