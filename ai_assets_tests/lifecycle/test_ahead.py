"""Work that is one item ahead."""

import threading

import pytest

from ai_assets.lifecycle.ahead import one_ahead


@pytest.mark.parametrize("items", [[], [1], [1, 2, 3]])
def test_all_is_made_in_order(items):
    assert list(one_ahead(lambda n: n * 10, items)) == [n * 10 for n in items]


def test_the_next_is_made_meanwhile_and_no_more():
    begun = {n: threading.Event() for n in (1, 2, 3)}

    def make(n):
        begun[n].set()
        return n

    made = one_ahead(make, [1, 2, 3])

    assert next(made) == 1
    assert begun[2].wait(5)
    assert not begun[3].is_set()
    assert list(made) == [2, 3]


def test_what_went_wrong_is_raised_in_its_turn():
    made = one_ahead(lambda n: 10 // n, [5, 0, 1])

    assert next(made) == 2
    with pytest.raises(ZeroDivisionError):
        next(made)
