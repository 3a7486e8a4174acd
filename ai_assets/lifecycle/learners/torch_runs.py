"""What every training with torch shares: where it runs, its seed and its threads."""

from collections.abc import Iterator
from contextlib import contextmanager

from ai_assets.lifecycle.errors import must_be


def choose_device(wanted: str) -> str:
    """`auto` is a GPU where there is one.

    Raises:
        ValueError: the name is not known, or there is no GPU and one was asked for.
    """
    import torch

    if wanted not in ("auto", "cpu", "cuda"):
        raise ValueError(must_be("device", ("auto", "cpu", "cuda"), wanted))
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be 'cpu' or 'auto' here: this machine has no usable GPU.")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Seed torch and set its threads, and leave the process as it was."""
    import os

    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or os.cpu_count() or 1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
