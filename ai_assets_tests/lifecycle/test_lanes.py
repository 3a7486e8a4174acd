"""Families that are fitted at the same time: the same models, and an end for both when told."""

import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from ai_assets.lifecycle.fairness.groups import Protected
from ai_assets.lifecycle.fairness.spec import Fairness
from ai_assets.lifecycle.training import lanes
from ai_assets.lifecycle.training.fitting import fit_together, refit_model
from ai_assets.lifecycle.training.lanes import fit_in_lanes
from ai_assets.lifecycle.training.spec import Training
from ai_assets_tests.lifecycle.test_learners import make_data, odd_rows, quick

FAMILIES = ["linear", "lightgbm", "extra_trees", "mlp"]
DATA = make_data()
A_WHILE = 30.0


@pytest.mark.parametrize(
    ("families", "threads", "each"),
    [
        (["linear", "lightgbm", "mlp"], 2, [1, 1, 1]),
        (["lightgbm", "linear"], 5, [4, 1]),
        (["linear", "lightgbm", "extra_trees"], 5, [1, 4, 4]),
    ],
)
def test_trees_are_fitted_beside_others_which_leave_them_all_threads_but_one(
    families: list[str], threads: int, each: list[int]
):
    together = threading.Barrier(2)

    def fit(name: str, training: Training) -> tuple[str, int]:
        if name in families[:2]:
            together.wait(A_WHILE)
        return name, training.threads

    found = fit_in_lanes(families, fit, Training(threads=threads), DATA)
    assert found == list(zip(families, each, strict=True))


def test_two_forests_are_never_fitted_at_once():
    busy, where = threading.Lock(), {}

    def fit(name: str, training: Training) -> str:
        where[name] = threading.current_thread()
        if name != "linear":
            assert busy.acquire(blocking=False)
            time.sleep(0.1)
            busy.release()
        return name

    fit_in_lanes(["lightgbm", "linear", "extra_trees"], fit, Training(threads=8), DATA)
    assert where["lightgbm"] is where["extra_trees"] is not where["linear"]
    assert where["linear"] is threading.current_thread()


def test_no_number_of_threads_is_every_core(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)

    def fit(name: str, training: Training) -> int:
        return training.threads

    assert fit_in_lanes(["linear", "lightgbm"], fit, Training(threads=0), DATA) == [1, 5]


@pytest.mark.parametrize(
    ("families", "threads"),
    [
        (FAMILIES, 1),
        (["linear", "mlp"], 2),
        (["lightgbm", "extra_trees"], 2),
        (["lightgbm"], 2),
        (["lightgbm", "cnn"], 4),
    ],
)
def test_what_gains_nothing_beside_another_keeps_all_threads(families: list[str], threads: int):
    found = fit_in_lanes(families, told_where, Training(threads=threads), DATA)
    assert found == [(name, threads, True) for name in families]


@pytest.mark.parametrize(("mitigation", "here"), [("reductions", True), ("reweighing", False)])
def test_where_each_fit_fits_linear_models_first_all_stay_in_the_callers_thread(
    mitigation: str, here: bool
):
    groups = np.arange(len(DATA))[:, None] % 2
    spec = Fairness(columns=["team"], mitigation=mitigation)
    data = replace(DATA, protected=Protected(groups, spec))
    found = fit_in_lanes(["linear", "lightgbm"], told_where, Training(threads=2), data)
    threads = 2 if here else 1
    assert found == [("linear", threads, True), ("lightgbm", threads, here)]


def told_where(name: str, training: Training) -> tuple[str, int, bool]:
    """The family, its threads, and whether it is fitted in the caller's thread."""
    return name, training.threads, threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_blend_is_the_same_as_of_fits_that_follow_each_other(task: str, monkeypatch):
    # As of a table that is large enough for more than one thread.
    monkeypatch.setattr("ai_assets.lifecycle.learners.lightgbm.CELLS_A_THREAD", 1)
    data, weights = make_data(task), dict.fromkeys(FAMILIES, 1 / 4)
    params = {name: quick(name) | {"iterations": 20} for name in FAMILIES}
    made = []
    for threads in (1, 3):
        training = Training(threads=threads, seed=3)
        blend = fit_together(weights, data, data, params, training=training, task=task)
        again = refit_model(blend, make_data(task, seed=1), params, training=training, task=task)
        made.append([blend, again])
        assert [m.threads for m in (*blend.members[1:3], *again.members[1:3])] == [threads] * 4
    for one_by_one, in_lanes in zip(*made, strict=True):
        given, expected = (model.predict(odd_rows()) for model in (in_lanes, one_by_one))
        np.testing.assert_allclose(given, expected, rtol=1e-6, atol=1e-9)
        if task != "multiclass":
            assert one_by_one.to_onnx() == in_lanes.to_onnx()


def stopped_by(error: type[BaseException]) -> list[type[BaseException]]:
    """What ends the fits in the other thread where one of the caller's ends with an error."""
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
        fit_in_lanes(["linear", "lightgbm"], fit, Training(threads=2), DATA)
    return ended


def test_a_fit_that_fails_ends_that_beside_it():
    assert stopped_by(ValueError) == [InterruptedError]


def test_who_interrupts_waits_for_no_fit():
    assert stopped_by(KeyboardInterrupt) == [KeyboardInterrupt]


def test_a_fit_that_is_ended_may_tell_so(monkeypatch):
    monkeypatch.setattr(lanes, "SECONDS_TO_END", 2.0)
    running, told = threading.Event(), []

    def fit(name: str, training: Training) -> str:
        if name == "linear":
            assert running.wait(A_WHILE)
            raise ValueError("linear has no rows")
        try:
            running.set()
            while True:
                time.sleep(0.01)
        finally:
            time.sleep(0.5)
            told.append(name)

    with pytest.raises(ValueError, match="linear has no rows"):
        fit_in_lanes(["linear", "lightgbm"], fit, Training(threads=2), DATA)
    assert told == ["lightgbm"]


def test_a_fit_that_fails_in_the_other_thread_tells_why_before_the_next_one_begins():
    begun, linear, failed = [], threading.Event(), threading.Event()

    def fit(name: str, training: Training) -> str:
        begun.append(name)
        if name == "lightgbm":
            assert linear.wait(A_WHILE)
            failed.set()
            raise ValueError("lightgbm has no rows")
        linear.set()
        assert failed.wait(A_WHILE)
        time.sleep(0.2)
        return name

    with pytest.raises(ValueError, match="lightgbm has no rows"):
        fit_in_lanes(["linear", "mlp", "lightgbm"], fit, Training(threads=2), DATA)
    assert sorted(begun) == ["lightgbm", "linear"]
