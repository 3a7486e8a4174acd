"""One piece of work ahead of who uses it, so that two cores have something to do."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def one_ahead(make: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """What is made of each item, in order; of the next one while the caller works on this one.

    Two of them are held at a time: for what is small.

    Args:
        make: is called in one other thread, with one item after the other.
        items: what things are made of.

    Raises:
        Exception: what `make` raised, when it is the item's turn.
    """
    if not items:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        following = pool.submit(make, items[0])
        for item in items[1:]:
            made, following = following.result(), pool.submit(make, item)
            yield made
        yield following.result()
