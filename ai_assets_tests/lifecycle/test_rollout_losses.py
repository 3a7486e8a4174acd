"""Losses of a candidate against the stable bundle's, looked at every few seconds."""

import numpy as np
import pytest

from ai_assets.lifecycle.rollout.losses import (
    ERROR,
    Rows,
    estimated_loss,
    reach_of_all_looks,
    realised_loss,
    row_losses,
)

LOOKS = 60


def rows(scores: list[float], labels: list[float], units: list[int] | None = None) -> Rows:
    found = np.arange(len(scores)) if units is None else np.array(units)
    return Rows(np.array(scores), np.array(labels, dtype=float), found)


def world(
    seed: int, *, a_look: float, share: float, again: int, told: float = 1.0, sure: float = 1
):
    """Whether any look of a step finds the candidate surely worse, and how many looks it took.

    Args:
        a_look: rows that come between two looks.
        share: of them to the candidate.
        again: how often each row is asked.
        told: share of rows whose outcome becomes known.
        sure: the candidate's scores are so many times too sure, on the scale of logits.
    """
    random = np.random.default_rng(seed)
    arms = []
    for mean, factor in ((a_look * share, sure), (a_look * (1 - share), 1.0)):
        ends = np.cumsum(random.poisson(mean / again, LOOKS))
        p = random.beta(1, 4, ends[-1])
        y = (random.random(len(p)) < p).astype(float)
        y[random.random(len(p)) >= told] = np.nan
        scores = 1 / (1 + ((1 - p) / p) ** factor)
        arms.append((scores, y, ends))
    for look in range(LOOKS):
        both = [
            Rows(*(np.repeat(v[: e[look]], again) for v in (s, y, np.arange(len(s)))))
            for s, y, e in arms
        ]
        compare = realised_loss if told == 1 else estimated_loss
        found = compare(*both)
        if found is not None and found.low > 0:
            return look + 1
    return None


@pytest.mark.parametrize(
    ("share", "again", "told"),
    [(0.05, 1, 1.0), (0.5, 1, 1.0), (0.05, 10, 1.0), (0.5, 10, 1.0), (0.5, 1, 0.3)],
)
def test_of_two_bundles_that_are_one_hardly_any_is_taken_back_over_all_looks(
    share: float, again: int, told: float
) -> None:
    found = [world(i, a_look=40, share=share, again=again, told=told) for i in range(200)]

    assert sum(look is not None for look in found) <= 4


def test_a_candidate_that_is_worse_is_found_so_before_its_step_is_over() -> None:
    found = [world(i, a_look=120, share=0.5, again=1, sure=3.0) for i in range(20)]

    assert sum(look is not None for look in found) == 20
    assert np.median([look for look in found if look]) < LOOKS / 2


def test_a_bundle_that_is_too_sure_loses_though_its_scores_promise_otherwise() -> None:
    found = [world(i, a_look=240, share=0.5, again=1, told=0.3, sure=3.0) for i in range(20)]

    assert sum(look is not None for look in found) == 20


def test_losses_of_rows() -> None:
    assert row_losses([0.8, 0.8, 0.0], [1, 0, 1]) == pytest.approx(
        [-np.log(0.8), -np.log(0.2), -np.log(1e-15)]
    )
    assert row_losses([0.5, 0.9], [0.5, 0.9]) == pytest.approx([np.log(2), 0.32508], abs=1e-5)


def test_losses_of_rows_of_several_classes() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
    own = [-np.log(0.2), -np.log(1e-15)]
    assert row_losses(p, [1, 0]) == pytest.approx(own)
    entropy = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
    assert row_losses(p, p) == pytest.approx([entropy, np.log(2)])


def test_a_worse_candidate_of_several_classes_is_found_by_its_losses() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(3), 2_000)
    of = (random.random((2_000, 1)) > np.cumsum(p, axis=1)).sum(axis=1).astype(float)
    units = np.arange(2_000)
    good, bad = Rows(p, of, units), Rows(p[:, ::-1], of, units)

    found, same = realised_loss(bad, good), realised_loss(good, good)

    assert found is not None and found.low > 0.1
    assert same is not None and same.low < 0 < same.high
    promised = estimated_loss(bad, good)
    assert promised is not None and promised.value == pytest.approx(found.value)


def test_the_difference_of_realised_losses_and_its_interval() -> None:
    one = rows([0.5, 0.8] * 200, [1, 1] * 200)
    two = rows([0.9, 0.8] * 50, [1, 1] * 50)

    found = realised_loss(one, two)

    value = (np.log(2) + np.log(0.9)) / 2
    first, second = (np.log(2) + np.log(0.8)) / 2, (np.log(0.9) - np.log(0.8)) / 2
    reach = reach_of_all_looks(first**2 / 399 + second**2 / 99)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx(
        (value, value - reach, value + reach)
    )


def test_rows_of_one_key_count_as_one() -> None:
    scores, labels = [0.5] * 30, [1.0] * 30
    thirty = rows(scores, labels)

    assert realised_loss(thirty, thirty) is not None
    assert realised_loss(rows(scores, labels, [*range(29), 28]), thirty) is None
    asked_again = rows([0.5, 0.9] + [0.5] * 29, [1.0] * 31, [0, 0, *range(1, 30)])
    found = realised_loss(asked_again, thirty)
    assert found is not None
    assert found.value == pytest.approx(
        (-np.log(0.5) - np.log(0.9)) / 2 / 30 - np.log(2) * -29 / 30 - np.log(2)
    )


def test_the_estimate_is_what_scores_promise_and_what_outcomes_cost_beyond_that() -> None:
    told, untold = [1.0] * 100 + [0.0] * 100, [np.nan] * 300
    honest = rows([0.5] * 500, told + untold)
    boasting = rows([0.9] * 500, told + untold)

    found = estimated_loss(boasting, honest)

    assert found is not None
    assert found.value == pytest.approx(-(np.log(0.9) + np.log(0.1)) / 2 - np.log(2))
    few = rows([0.9] * 500, [1.0] * 199 + [np.nan] * 301)
    assert estimated_loss(few, honest) is None and estimated_loss(honest, few) is None


def test_the_reach_of_all_looks_is_wider_than_that_of_one_and_misses_seldom() -> None:
    one_look = 2.576 * 0.02
    assert one_look < reach_of_all_looks(0.02**2) < 1.5 * one_look
    assert reach_of_all_looks(0.0) == 0.0
    random = np.random.default_rng(3)
    times = np.arange(30, 6000, 30)
    steps = random.normal(size=(2000, len(times))) * np.sqrt(np.diff(times, prepend=0))
    means = np.cumsum(steps, axis=1) / times
    bound = np.array([reach_of_all_looks(1 / n) for n in times])
    assert np.mean((np.abs(means) > bound).any(axis=1)) <= ERROR
