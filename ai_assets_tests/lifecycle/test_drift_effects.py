"""Effect sizes of single columns, and what chance does to them."""

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.drift import noise
from ai_assets.lifecycle.drift.effects import cramers_v, population_stability
from ai_assets.lifecycle.drift.numbers import SCHEMA, drift_numbers
from ai_assets.lifecycle.drift.profile import profile
from ai_assets.lifecycle.drift.spec import Drift


def month(rows: int, seed: int, columns: int = 20) -> pl.DataFrame:
    """Independent columns of one distribution, half of them numbers."""
    generator = np.random.default_rng(seed)
    half = columns // 2
    numbers = {f"x{i}": generator.normal(size=rows) for i in range(half)}
    words = {f"c{i}": generator.choice(list("abcdefgh"), rows) for i in range(columns - half)}
    return pl.DataFrame(numbers | words)


def test_cramers_v_equals_its_definition_for_samples_of_one_size() -> None:
    from scipy.stats.contingency import association

    before, now = np.array([30, 50, 20, 0]), np.array([10, 60, 30, 0])

    expected = association(np.array([before, now])[:, :3], method="cramer")
    assert cramers_v(before, now) == pytest.approx(expected)


def test_cramers_v_does_not_depend_on_how_many_rows_the_reference_has() -> None:
    before, now = np.array([300.0, 500, 200]), np.array([10.0, 60, 30])

    assert cramers_v(before * 1_000, now) == pytest.approx(cramers_v(before, now))
    assert cramers_v(np.array([5.0, 0]), np.array([0, 5.0])) == 1
    assert cramers_v(before, before) == 0


def test_only_categories_have_cramers_v_and_only_numbers_wasserstein() -> None:
    frame = month(2_000, 1, 2)
    found = drift_numbers(profile(frame), frame.with_columns(c0=pl.lit("a")))

    assert found.columns == list(SCHEMA)
    assert found["cramers_v"].is_null().to_list() == [True, False]
    assert found["wasserstein"].is_null().to_list() == [False, True]
    share = (frame["c0"] == "a").mean()
    assert found["cramers_v"][1] == pytest.approx(np.sqrt((1 - share) / (1 + share)))


def test_the_noise_of_psi_is_that_of_samples_of_one_distribution() -> None:
    generator = np.random.default_rng(1)
    shares = generator.dirichlet(np.full(12, 5.0))
    drawn = [generator.multinomial(n, shares, 4_000) for n in (3_000, 900)]
    psi = [
        population_stability(a.astype(float), b.astype(float)) for a, b in zip(*drawn, strict=True)
    ]

    limits = noise.psi(drawn[0][0].astype(float), drawn[1][0].astype(float), tests=1)

    # Mean and 95 % quantile of the chi-square law with 11 degrees of freedom.
    assert np.mean(psi) == pytest.approx(11 * (1 / 3_000 + 1 / 900), rel=0.05)
    assert np.quantile(psi, 0.95) == pytest.approx(limits, rel=0.05)


def test_the_noise_of_psi_grows_with_the_tests_and_vanishes_with_the_rows() -> None:
    few, many = np.full(20, 50.0), np.full(20, 50_000.0)

    assert noise.psi(few, few, 100) > noise.psi(few, few, 1) > 0.05
    assert noise.psi(many, many, 100) < 1e-3
    assert noise.psi(np.array([5.0, 0]), np.array([3.0, 0]), 1) == 0


def test_random_halves_of_a_month_are_hardly_ever_called_drifted_whatever_the_limit() -> None:
    # The declared limit is next to nothing, so that chance alone decides.
    spec = Drift(psi=1e-9, missing=1e-9, new_categories=1e-9, min_rows=1)
    alarms = 0
    for seed in range(100):
        frame = month(1_200, seed)
        found = drift_numbers(profile(frame.head(600)), frame.tail(600), spec)
        alarms += found["drifted"].any()

    # 5 % of comparisons may raise one.
    assert alarms <= 10


def test_without_the_correction_the_same_halves_would_raise_alarms() -> None:
    frame = month(1_200, 1)
    found = drift_numbers(profile(frame.head(600)), frame.tail(600), Drift(min_rows=1))

    assert (found["psi"] > 1e-9).all()
    assert (found["limit"] > 0.25).any()
    assert (found["limit"] > 0.2).all()


def test_a_million_rows_are_judged_by_the_size_of_the_change_alone() -> None:
    frame = pl.DataFrame({"x": np.random.default_rng(1).normal(size=1_000_000)})
    small, large = frame.with_columns(pl.col("x") + 0.05), frame.with_columns(pl.col("x") + 0.6)

    found = drift_numbers(profile(frame), small)

    # A Kolmogorov-Smirnov test would give p < 1e-200 here.
    assert found["limit"][0] == pytest.approx(0.2, abs=1e-3)
    assert found["drifted"].to_list() == [False]
    assert drift_numbers(profile(frame), large)["drifted"].to_list() == [True]


def test_ignored_columns_do_not_make_the_others_harder_to_call() -> None:
    frame = month(1_000, 1)
    ignored = [name for name in frame.columns if name != "x0"]

    alone = drift_numbers(profile(frame), frame, Drift(ignore=ignored))
    together = drift_numbers(profile(frame), frame)

    assert alone["limit"][0] < together["limit"][0]


def test_a_rise_of_an_already_high_share_of_missing_values_is_drift() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=9_000)
    half = pl.DataFrame({"x": np.r_[values[:4_500], np.full(4_500, np.nan)]})
    more = pl.DataFrame({"x": np.r_[values[:3_150], np.full(5_850, np.nan)]})

    row = drift_numbers(profile(half), more).row(0, named=True)

    assert row["psi"] < row["limit"]
    assert row["drifted"]
    assert row["words"] == "50% of values were missing, now 65%"
    assert not drift_numbers(profile(half), more, Drift(missing=0.3))["drifted"].any()


def test_new_categories_are_drift_from_their_share_on() -> None:
    old = pl.DataFrame({"c": ["a"] * 900 + ["b"] * 700 + [f"rare{i}" for i in range(100)]})
    new = pl.DataFrame({"c": ["a"] * 900 + ["b"] * 700 + [f"new{i}" for i in range(400)]})

    row = drift_numbers(profile(old), new, Drift(psi=5)).row(0, named=True)

    assert row["drifted"]
    assert row["words"] == "14% of values are new categories"
    assert not drift_numbers(profile(old), new, Drift(psi=5, new_categories=0.2))["drifted"].any()


def test_an_ignored_column_that_is_gone_is_said_and_not_called_drifted() -> None:
    frame = month(1_000, 1, 4)

    found = drift_numbers(profile(frame), frame.drop("x0"), Drift(ignore=["x0"]))

    assert found["words"][0] == "the column is missing"
    assert not found["drifted"].any()
