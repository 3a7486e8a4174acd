"""Fits of several families at the same time, so that no core waits for the others."""

import ctypes
import os
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from ai_assets.lifecycle.training.spec import Training

TREES = ("lightgbm", "extra_trees")
"""Families that may be fitted in any thread, since their models are the same whatever goes on
beside them. All others stay in the caller's: torch's random numbers and the threads of BLAS belong
to the whole process."""
SECONDS_BETWEEN_TRIES = 0.5

Fitted = TypeVar("Fitted")


def side_by_side(
    families: Sequence[str], fit: Callable[[str, Training], Fitted], training: Training
) -> list[Fitted]:
    """What `fit` gives for each family, in their order: trees beside each other and all others.

    Together they have the declared threads: the others one, for a small network or a linear model
    gains next to nothing from a second one, and trees the rest. Of one family, or with one thread,
    or without trees, fits follow each other with all threads.

    Args:
        families: names.
        fit: fits a family by a declaration whose `threads` are those that it may use.
        training: the product's declaration.
    """
    threads = training.threads or os.cpu_count() or 1
    trees = [name for name in families if name in TREES]
    others = [name for name in families if name not in TREES]
    if threads < 2 or not trees or len(families) < 2:
        return [fit(name, training) for name in families]
    alone = 1 if others else 0
    lanes = min(len(trees), threads - alone)
    ours = training.model_copy(update={"threads": 1 if others else threads // lanes})
    theirs = training.model_copy(update={"threads": (threads - alone) // lanes})
    waiting: SimpleQueue[str] = SimpleQueue()
    for name in trees:
        waiting.put(name)
    found: dict[str, Fitted] = {}

    def fit_trees(lane: Training) -> None:
        while True:
            try:
                name = waiting.get_nowait()
            except Empty:
                return
            found[name] = fit(name, lane)

    with _Beside(lanes - 1 + alone, lambda: fit_trees(theirs)) as beside:
        for name in others:
            found[name] = fit(name, ours)
        fit_trees(ours)
        beside.join()
    return [found[name] for name in families]


class _Beside:
    """Threads that all do some work and end with the block, also where an exception leaves it: who
    terminates a run would otherwise wait for fits to end."""

    def __init__(self, threads: int, work: Callable[[], None]) -> None:
        self._work = work
        self._errors: list[BaseException] = []
        self._threads = [Thread(target=self._run, name=f"fits-{n}") for n in range(threads)]

    def __enter__(self) -> "_Beside":
        for thread in self._threads:
            thread.start()
        return self

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._errors.append(error)

    def join(self) -> None:
        """Wait until all is done; raises what the work raised."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def __exit__(self, kind: type[BaseException] | None, *about: object) -> None:
        if kind is None:
            return
        told = InterruptedError if issubclass(kind, Exception) else KeyboardInterrupt
        while working := [thread for thread in self._threads if thread.is_alive()]:
            for thread in working:
                _raise_in(thread, told)
            working[0].join(SECONDS_BETWEEN_TRIES)


def _raise_in(thread: Thread, kind: type[BaseException]) -> None:
    """Between two steps of a fit, that is: within one there is no Python to stop."""
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(kind))
