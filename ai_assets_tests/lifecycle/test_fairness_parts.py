"""Rows that groups are compared by: which, what a multiplier does to them, and what is allowed."""

import numpy as np
import pytest

from ai_assets.lifecycle.fairness.groups import Protected
from ai_assets.lifecycle.fairness.parts import Part, compared_parts, parts_of
from ai_assets.lifecycle.fairness.spec import Fairness


def test_a_multiplier_takes_from_its_group_what_it_gives_to_all_that_count() -> None:
    """Of 8 people 4 are positive, 3 of group 5 and 1 of group 9; by hand, from the paper's
    λ_k / P(k, e) - Σλ / P(e)."""
    groups = np.array([5, 5, 5, 9, 5, 9, 9, 9])
    y = np.array([1.0, 1, 1, 1, 0, 0, 0, 0])
    part = Part.of(0, 1.0, groups, y, min_rows=1)

    pulled = part.pull(np.array([0.3, -0.1]))

    of_5, of_9 = 0.3 / (3 / 8) - 0.2 / (4 / 8), -0.1 / (1 / 8) - 0.2 / (4 / 8)
    assert pulled == pytest.approx([of_5] * 3 + [of_9] + [0.0] * 4)
    # some of the rows are pulled by what was counted of all
    assert part.take(np.array([3, 0])).pull(np.array([0.3, -0.1])) == pytest.approx([of_9, of_5])


def test_parts_of_a_criterion_are_all_told_and_those_of_two_groups_compared() -> None:
    groups = np.repeat([[0, 0], [1, 0], [2, 0]], [40, 30, 10], axis=0)
    y = np.tile([1.0, 0.0], 40)
    spec = Fairness(columns=["team", "older"], metric="equalized_odds", min_rows=15)
    protected = Protected(groups, spec)

    told = [(p.column, p.event, p.values.tolist(), p.compares) for p in parts_of(protected, y)]

    assert told == [
        (0, 1.0, [0, 1], True),
        (0, 0.0, [0, 1], True),
        (1, 1.0, [0], False),
        (1, 0.0, [0], False),
    ]
    assert [(p.column, p.event) for p in compared_parts(protected, y)] == [(0, 1.0), (0, 0.0)]


def test_what_is_allowed_leaves_room_for_the_chance_that_so_few_rows_have() -> None:
    """Rates 0.5 of 100 and 0.2 of 400; rows of the first stand for three each, which is no news."""
    groups = np.repeat([0, 1], [100, 400])
    part = Part.of(0, None, groups, np.zeros(500), min_rows=10)
    answered = np.concatenate([np.tile([1.0, 0.0], 50), np.tile([1.0, 0, 0, 0, 0], 80)])
    weight = np.repeat([3.0, 1.0], [100, 400])

    rates = part.rates(answered, weight)
    half = part.rates(answered / 2, weight)

    error = np.sqrt(0.5 * 0.5 / 100 + 0.2 * 0.8 / 400)
    assert rates == pytest.approx([0.5, 0.2]) and half == pytest.approx([0.25, 0.1])
    assert part.allowed(rates, answered, weight, 0.3) == pytest.approx(0.3 - 1.96 * error)
    # shares of thresholds vary by half as much; and a quarter of the limit is always near enough
    assert part.allowed(half, answered / 2, weight, 0.3) == pytest.approx(0.3 - 1.96 * error / 2)
    assert part.allowed(rates, answered, weight, 0.1) == pytest.approx(0.025)
    # rows that stand for unlike numbers tell less
    unlike = weight * np.tile([1.0, 1.0, 3.0, 3.0], 125)
    assert part.allowed(rates, answered, unlike, 0.3) < part.allowed(rates, answered, weight, 0.3)
