"""A changed concept of a regression: each detector where it must speak and where it must not."""

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.verdict.concept import Calibrated
from ai_assets.lifecycle.verdict.concept_values import (
    LABELLED,
    LabelledValues,
    slope_of_values,
)
from ai_assets.lifecycle.verdict.decide import Signals, decide_cause
from ai_assets.lifecycle.verdict.spec import Causes

ROWS = 2000
USUAL = Calibrated(residual=0.0, slope=1.0, error=5.0)
SPEC = Causes()


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions around 50, noise of standard deviation 5, and 20 days."""
    numbers = np.random.default_rng(seed)
    p, noise = numbers.normal(50, 10, ROWS), numbers.normal(0, 5, ROWS)
    return p, noise, np.arange(ROWS) * 20 // ROWS


def kinds(y: np.ndarray, p: np.ndarray, days: np.ndarray, **columns: object) -> list[str]:
    found = LabelledValues(y, p, pl.DataFrame(columns), days).evidence(SPEC, USUAL)
    return [e.kind for e in found]


def test_outcomes_as_usual_are_no_evidence() -> None:
    for seed in range(5):
        p, noise, days = world(seed)
        assert kinds(p + noise, p, days, shop=np.resize(["a", "b"], ROWS)) == []


def test_a_shift_of_all_outcomes_is_a_bias_in_their_own_unit() -> None:
    p, noise, days = world()
    (found,) = LabelledValues(p + noise + 4, p, pl.DataFrame(), days).evidence(SPEC, USUAL)
    assert (found.cause, found.kind) == ("concept_drift", "bias")
    assert found.value == pytest.approx(4, abs=0.4)
    assert found.words.startswith(f"outcomes are {(p + noise + 4).mean():.4g} in the mean")
    # A tenth of the usual error is the least; chance of so many rows is less than that.
    assert kinds(p + noise + 0.3, p, days) == []


def test_the_unit_does_not_matter() -> None:
    p, noise, days = world()
    for factor in (1e-4, 1.0, 1e5):
        usual = Calibrated(0.0, 1.0, 5.0 * factor)
        rows = LabelledValues((p + noise + 4) * factor, p * factor, pl.DataFrame(), days)
        (found,) = rows.evidence(SPEC, usual)
        assert found.kind == "bias"
        assert found.severity == pytest.approx(4 / (4 + found.limit / factor), abs=0.03)


def test_a_usual_residual_is_no_evidence() -> None:
    p, noise, days = world()
    rows = LabelledValues(p + noise + 4, p, pl.DataFrame(), days)
    assert rows.evidence(SPEC, Calibrated(4.0, 1.0, 5.0)) == []


def test_errors_that_have_grown_are_told() -> None:
    p, noise, days = world()
    (found,) = LabelledValues(p + 2 * noise, p, pl.DataFrame(), days).evidence(SPEC, USUAL)
    assert found.kind == "error"
    assert found.value == pytest.approx(10, rel=0.05)
    assert found.words.endswith("on the bundle's test rows 5")
    assert kinds(p + 1.2 * noise, p, days) == []


def test_predictions_that_no_longer_tell_the_outcome_are_told() -> None:
    p, noise, days = world()
    assert "relation" in kinds(50 + 0.2 * (p - 50) + noise, p, days)
    assert "relation" not in kinds(50 + 0.8 * (p - 50) + noise, p, days)


def test_a_segment_that_came_out_otherwise_is_named() -> None:
    p, noise, days = world()
    shop = np.resize(["a", "b", "c", "d", "e", "f", "g", "h"], ROWS)
    y = p + noise + np.where(shop == "c", 6, 0)
    rows = LabelledValues(y, p, pl.DataFrame({"shop": shop}), days)
    segments = [e for e in rows.evidence(SPEC, USUAL) if e.kind == "segment"]
    assert [e.subject for e in segments] == ["shop"]
    assert segments[0].words.startswith("where shop is c, outcomes are")
    assert kinds(p + noise + np.where(shop == "c", 1, 0), p, days, shop=shop) == []


def test_nothing_is_judged_without_a_reference_or_of_few_rows() -> None:
    p, noise, days = world()
    far = LabelledValues(p + noise + 100, p, pl.DataFrame(), days)
    assert far.evidence(SPEC) == [] and far.evidence(SPEC, Calibrated()) == []
    few = LabelledValues(p[:150] + 100, p[:150], pl.DataFrame(), days[:150])
    assert few.evidence(SPEC, USUAL) == []


def test_what_a_bundle_keeps_is_measured_on_its_test_rows() -> None:
    kept = LabelledValues(
        np.array([1.0, 2.0, 6.0, np.nan]), np.array([1.0, 2.0, 3.0, 9.0]), pl.DataFrame()
    ).calibrated()
    # Residuals 0, 0 and 3; the slope of 1, 2, 6 on 1, 2, 3 is 5 / 2.
    assert kept.residual == 1.0
    assert kept.error == pytest.approx(np.sqrt(3))
    assert kept.slope == pytest.approx(2.5)
    assert LabelledValues(np.array([]), np.array([]), pl.DataFrame()).calibrated() == Calibrated()


def test_the_slope_is_that_of_least_squares_with_its_standard_error() -> None:
    p, noise, _ = world()
    slope, influence = slope_of_values(0.5 * p + noise, p)
    assert slope == pytest.approx(np.polyfit(p, 0.5 * p + noise, 1)[0])
    # Noise 5 over predictions of standard deviation 10, of 2,000 rows.
    assert np.sqrt((influence**2).sum()) == pytest.approx(0.5 / np.sqrt(ROWS), rel=0.1)


def test_the_verdict_of_values_is_a_changed_concept() -> None:
    p, noise, days = world()
    for shift, cause in ((0.0, "none"), (5.0, "concept_drift")):
        rows = LABELLED["regression"](p + noise + shift, p, pl.DataFrame(), days)
        signals = Signals(tables={}, request="orders", labelled=rows, calibrated=USUAL)
        assert decide_cause("orders", "2024-03-01", "b", signals).cause == cause
