"""Split conformal intervals: by hand, by simulation, and the check that can fail."""

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.estimation.values import as_promised, estimated_values
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.gate.compatible import incompatible
from ai_assets.lifecycle.product import Table
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.interval import Interval, rank_of
from ai_assets.lifecycle.training.conformal import (
    chance_of_coverage,
    coverage_words,
    expected_coverage,
    fit_interval,
)


def test_the_half_width_is_the_error_of_its_rank() -> None:
    # Of 9 rows 0.8 * 10 = the 8th smallest absolute error.
    y, p = np.zeros(9), np.array([1.0, -2, 3, -4, 5, -6, 7, -8, 9])
    found = fit_interval(y, p, 0.8)
    assert found == Interval(0.8, 8.0, 9)
    low, high = found.ends(np.array([100.0]))
    assert (low[0], high[0]) == (92.0, 108.0)
    assert fit_interval(y, p, 0.9).half_width == 9.0
    assert str(found) == "80% of outcomes within 8 of the prediction, measured on 9 rows"


def test_the_rank_is_not_moved_by_rounding() -> None:
    assert rank_of(0.9, 9) == 9
    assert rank_of(0.9, 99) == 90
    assert rank_of(0.7, 9) == 7  # 0.7 * 10 is 7.000000000000001 or 6.999999999999999 elsewhere
    assert rank_of(0.95, 10) == 11


def test_too_few_rows_say_how_many_it_takes() -> None:
    with pytest.raises(DataError, match=r"holds 0.95 of the outcomes needs at least 19 .* got 10"):
        fit_interval(np.zeros(10), np.ones(10), 0.95)
    assert fit_interval(np.zeros(19), np.ones(19), 0.95).rank == 19


def test_coverage_is_as_promised_whatever_the_distribution() -> None:
    numbers = np.random.default_rng(0)
    for draw in (numbers.standard_normal, numbers.standard_cauchy, numbers.standard_exponential):
        held = []
        for _ in range(400):
            found = fit_interval(draw(50), np.zeros(50), 0.8)
            held.append(np.mean(np.abs(draw(200)) <= found.half_width))
        # 41 / 51 exactly; 400 draws of a standard deviation of 0.06 are within 0.01.
        assert np.mean(held) == pytest.approx(41 / 51, abs=0.012)


def test_the_chance_of_so_few_inside_is_that_of_a_simulation() -> None:
    numbers, interval, rows = np.random.default_rng(1), Interval(0.9, 1.0, 100), 80
    cover = numbers.beta(interval.rank, interval.rows + 1 - interval.rank, 40_000)
    inside = numbers.binomial(rows, cover)
    for count in (62, 68, 72):
        assert chance_of_coverage(count, rows, interval) == pytest.approx(
            np.mean(inside <= count), abs=0.006
        )
    low, high = expected_coverage(rows, interval)
    assert np.mean(inside < low * rows) <= 0.03 and np.mean(inside > high * rows) <= 0.03
    assert low < 0.9 < high


def test_coverage_that_is_too_small_fails_and_chance_does_not() -> None:
    interval = Interval(0.9, 1.0, 200)
    assert coverage_words(90, 100, interval) == (
        True,
        "90.0% of 100 outcomes lie in their interval, declared are 90.0%.",
    )
    assert coverage_words(85, 100, interval)[0]
    holds, words = coverage_words(75, 100, interval)
    assert not holds
    assert words.startswith("75.0% of 100 outcomes lie in their interval, declared are 90.0%; chan")
    assert coverage_words(100, 100, interval)[0]


def test_an_interval_must_make_sense() -> None:
    with pytest.raises(DataError, match="coverage of an interval must be above 0, below 1"):
        Interval(1.0, 2.0, 9)
    with pytest.raises(DataError, match="half width of an interval must be 0 or more"):
        Interval(0.9, -2.0, 9)


def test_a_decision_carries_the_interval_and_others_are_written_as_before() -> None:
    decision = Decision("regression", classes=(), interval=Interval(0.9, 2.5, 40))
    assert Decision.from_json(decision.to_json()) == decision
    assert "interval" not in Decision("binary").to_json()
    assert Decision.from_json(Decision("binary").to_json()).interval is None


def test_before_labels_only_the_coverage_is_estimated() -> None:
    assert set(estimated_values(100, None)) == {"rmse", "mae"}
    found = estimated_values(100, Interval(0.9, 1.0, 100))
    assert found["rmse"].value is None
    assert str(found["rmse"]) == "not estimated: a value does not tell how far off it is"
    assert found["coverage"].value == 0.9
    assert found["coverage"].low < 0.9 < found["coverage"].high


def test_promises_are_kept_or_not() -> None:
    numbers = np.random.default_rng(0)
    p, noise = np.zeros(300), numbers.normal(0, 1, 300)
    interval = fit_interval(numbers.normal(0, 1, 300), np.zeros(300), 0.9)
    usual, larger = Estimate(1.0, 0.9, 1.1), Estimate(2.0, 1.8, 2.2)
    kept, words = as_promised(noise, p, interval, usual, 1.0)
    assert kept and "on the bundle's test rows 1.0000. " in words and "declared are 90.0%" in words
    assert not as_promised(2 * noise, p, interval, usual, 1.0)[0]  # intervals hold too few
    broken, words = as_promised(noise, p, None, larger, 1.0)
    assert not broken and words.endswith(
        "on the bundle's test rows 1.0000: the interval lies above."
    )
    assert as_promised(noise, p, None, larger, None)[0]


def test_callers_that_read_an_interval_miss_it() -> None:
    table = Table.model_validate({"source": {"csv": "x.csv"}, "columns": {"a": {"type": "int64"}}})
    bare = Decision("regression", classes=())
    beside = Decision("regression", classes=(), interval=Interval(0.9, 2.5, 40))
    assert incompatible((table, beside), (table, bare)) == ["answers have no interval, had one"]
    assert incompatible((table, bare), (table, beside)) == []
