"""Fits of several families at the same time, so that no core waits for the others."""

import ctypes
import os
from collections.abc import Callable, Sequence
from threading import Thread
from typing import TypeVar

from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.training.spec import Training

TREES = ("lightgbm", "extra_trees")
"""Families of LightGBM. The number of its threads belongs to the whole process, so two of them are
never fitted at once."""
BESIDE_TREES = ("linear", "mlp")
"""Families that gain next to nothing from a second thread. They stay in the caller's thread, since
torch's random numbers and the threads of BLAS belong to the whole process."""
SECONDS_TO_END = 10.0

Fitted = TypeVar("Fitted")


def fit_in_lanes(
    families: Sequence[str],
    fit: Callable[[str, Training], Fitted],
    training: Training,
    data: Dataset,
) -> list[Fitted]:
    """What `fit` gives for each family, in their order: trees, one after the other, beside others.

    The others have one thread then, and trees the rest. With one thread, or where it would help
    nothing, all fits follow each other with all threads.

    Args:
        families: names.
        fit: fits a family by a declaration whose `threads` are those that it may use.
        training: the product's declaration.
        data: the rows to learn from.
    """
    threads = training.threads or os.cpu_count() or 1
    trees = [name for name in families if name in TREES]
    others = [name for name in families if name in BESIDE_TREES]
    apart = bool(trees and others) and len(trees) + len(others) == len(families)
    if threads < 2 or not apart or _fits_others_too(data):
        return [fit(name, training) for name in families]
    alone, rest = (training.model_copy(update={"threads": n}) for n in (1, threads - 1))
    found: dict[str, Fitted] = {}

    def fit_trees() -> None:
        for name in trees:
            found[name] = fit(name, rest)

    with _Beside(fit_trees) as beside:
        for name in others:
            beside.check()
            found[name] = fit(name, alone)
        beside.join()
    return [found[name] for name in families]


def _fits_others_too(data: Dataset) -> bool:
    """Whether each fit fits linear models first, which belong into the caller's thread."""
    return data.protected is not None and data.protected.spec.mitigation == "reductions"


class _Beside:
    """A thread that does some work and ends with the block, also where an exception leaves it: who
    terminates a run would otherwise wait for fits to end."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="fits")

    def __enter__(self) -> "_Beside":
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        """Raise what the work raised, if it has."""
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """Wait until it is done; raises what it raised."""
        self._thread.join()
        self.check()

    def __exit__(self, kind: type[BaseException] | None, *about: object) -> None:
        if kind is None:
            return
        told = InterruptedError if issubclass(kind, Exception) else KeyboardInterrupt
        while self._thread.is_alive():
            _raise_in(self._thread, told)
            # What it then does to end, such as telling that it did, is not to be interrupted.
            self._thread.join(SECONDS_TO_END)


def _raise_in(thread: Thread, kind: type[BaseException]) -> None:
    """Between two steps of a fit, that is: within one there is no Python to stop."""
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(kind))
