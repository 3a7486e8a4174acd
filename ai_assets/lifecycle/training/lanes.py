"""Fits of several families at the same time, so that no core waits for the others."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import get_ident
from typing import Any, TypeVar

from ai_assets.lifecycle.training.spec import Training

TREES = ("lightgbm", "extra_trees")
"""Families whose threads are their own affair: their models are the same for any number of them.
All others share a lane, since torch's random numbers and the threads of BLAS belong to the whole
process."""

Fitted = TypeVar("Fitted")


def side_by_side(
    families: list[str], fit: Callable[[str, Training], Fitted], training: Training
) -> list[Fitted]:
    """What `fit` gives for each family, in their order: trees beside all others.

    Each lane has half of the declared threads. A second thread takes a fifth off the time of a
    forest and next to nothing off that of a small network or a linear model, whereas two lanes need
    no longer than the slower one. Where there are no trees, or nothing else, or one thread, all
    fits follow each other with all threads.

    Args:
        families: names, in the order of the result.
        fit: fits a family by a declaration whose `threads` are the lane's.
        training: the product's declaration.
    """
    threads = training.threads or os.cpu_count() or 1
    trees = [name for name in families if name in TREES]
    others = [name for name in families if name not in TREES]
    if threads < 2 or not trees or not others:
        return [fit(name, training) for name in families]
    half = training.model_copy(update={"threads": threads // 2})
    rest = training.model_copy(update={"threads": threads - threads // 2})
    with _Beside() as lane:
        first = lane.start(lambda: {name: fit(name, rest) for name in trees})
        found = {name: fit(name, half) for name in others}
        found |= first.result()
    return [found[name] for name in families]


class _Beside:
    """A second thread, whose work ends with the block: also where that is left by an exception,
    as of a run that somebody terminates, who would otherwise wait for the fit to end."""

    def __enter__(self) -> "_Beside":
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fits")
        self._thread = self._pool.submit(get_ident).result()
        self._work: Future[Any] | None = None
        return self

    def start(self, work: Callable[[], Fitted]) -> Future[Fitted]:
        """Begin to work beside what follows."""
        self._work = future = self._pool.submit(work)
        return future

    def __exit__(self, kind: object, *about: object) -> None:
        if kind is not None and self._work is not None:
            while not wait([self._work], timeout=0.1).done:
                # Raised between two steps of the fit: within one there is no Python to stop.
                told = ctypes.py_object(InterruptedError)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), told)
        self._pool.shutdown()
