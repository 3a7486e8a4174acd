"""Families that are fitted at the same time: the same models, and an end for both when told."""

import threading
import time

import numpy as np
import pytest

from ai_assets.lifecycle.training.fitting import fit_together, refit_model
from ai_assets.lifecycle.training.lanes import side_by_side
from ai_assets.lifecycle.training.spec import Training
from ai_assets_tests.lifecycle.test_learners import make_data, odd_rows, quick

FAMILIES = ["linear", "lightgbm", "extra_trees", "mlp"]
A_WHILE = 30.0


@pytest.mark.parametrize(
    ("families", "threads", "each"),
    [
        (["linear", "lightgbm", "mlp"], 2, [1, 1, 1]),
        (["linear", "lightgbm", "mlp"], 5, [1, 4, 1]),
        (["linear", "lightgbm", "extra_trees"], 5, [1, 2, 2]),
        (["extra_trees", "lightgbm"], 8, [4, 4]),
    ],
)
def test_trees_are_fitted_beside_all_others_which_leave_them_all_threads_but_one(
    families: list[str], threads: int, each: list[int]
):
    together = threading.Barrier(2)

    def fit(name: str, training: Training) -> tuple[str, int]:
        if name in families[:2]:
            together.wait(A_WHILE)
        return name, training.threads

    found = side_by_side(families, fit, Training(threads=threads))
    assert found == list(zip(families, each, strict=True))


def test_who_is_done_with_the_others_helps_with_the_trees():
    second = threading.Event()
    where = {}

    def fit(name: str, training: Training) -> int:
        where[name] = threading.current_thread() is threading.main_thread()
        if name == "lightgbm":
            assert second.wait(A_WHILE)
        if name == "extra_trees":
            second.set()
        return training.threads

    assert side_by_side(["linear", "lightgbm", "extra_trees"], fit, Training(threads=2)) == [1] * 3
    assert where == {"linear": True, "lightgbm": False, "extra_trees": True}


@pytest.mark.parametrize(
    ("families", "threads"), [(FAMILIES, 1), (["linear", "mlp"], 2), (["lightgbm"], 2)]
)
def test_what_cannot_be_fitted_beside_anything_keeps_all_threads(families: list[str], threads: int):
    here = threading.get_ident()

    def fit(name: str, training: Training) -> tuple[str, int, bool]:
        return name, training.threads, threading.get_ident() == here

    found = side_by_side(families, fit, Training(threads=threads))
    assert found == [(name, threads, True) for name in families]


def test_a_blend_is_the_same_as_of_fits_that_follow_each_other():
    data, weights = make_data(), dict.fromkeys(FAMILIES, 1 / 4)
    params = {name: quick(name) for name in FAMILIES}
    made = []
    for threads in (1, 2):
        training = Training(threads=threads, seed=3)
        blend = fit_together(weights, data, data, params, training=training, task="binary")
        again = refit_model(blend, make_data(seed=1), params, training=training, task="binary")
        made.append([model.predict(odd_rows()) for model in (blend, again)])
    assert (made[0][0] != made[0][1]).any()
    np.testing.assert_array_equal(made[0], made[1])


def stopped_by(error: type[BaseException]) -> list[type[BaseException]]:
    """What ends the fits in other threads where one of the caller's ends with an error."""
    ended: list[type[BaseException]] = []
    running = threading.Barrier(2)

    def fit(name: str, training: Training) -> str:
        if name == "linear":
            running.wait(A_WHILE)
            raise error("linear has no rows")
        try:
            running.wait(A_WHILE)
            until = time.monotonic() + A_WHILE
            while time.monotonic() < until:
                time.sleep(0.01)
        except BaseException as told:
            ended.append(type(told))
            raise
        return name

    with pytest.raises(error, match="linear has no rows"):
        side_by_side(["linear", "lightgbm"], fit, Training(threads=2))
    return ended


def test_a_fit_that_fails_ends_those_beside_it():
    assert stopped_by(ValueError) == [InterruptedError]


def test_who_interrupts_waits_for_no_fit():
    assert stopped_by(KeyboardInterrupt) == [KeyboardInterrupt]


def test_a_fit_that_fails_in_another_thread_tells_why():
    def fit(name: str, training: Training) -> str:
        if name == "lightgbm":
            raise ValueError("lightgbm has no rows")
        return name

    with pytest.raises(ValueError, match="lightgbm has no rows"):
        side_by_side(["linear", "lightgbm"], fit, Training(threads=2))
