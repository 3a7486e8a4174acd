"""The gate's limits."""

import polars as pl
import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.evaluate import Evaluation
from ai_assets.lifecycle.gate.limits import judge
from ai_assets.lifecycle.gate.spec import Gate

SLICES = pl.DataFrame(
    {
        "slice": ["carrier"] * 3,
        "value": ["UA", "AA", "(rest)"],
        "rows": [500, 200, 20],
        "positives": [100, 50, 2],
        "roc_auc": [0.75, 0.55, None],
        "roc_auc_difference": [0.05, -0.15, None],
    }
)
FOUND = Evaluation(
    metrics={
        "roc_auc": Estimate(0.7, 0.68, 0.72),
        "log_loss": Estimate(0.5, 0.49, 0.51),
        "precision": Estimate(None, words="undefined: no row is predicted positive"),
    },
    slices=SLICES,
    rows=720,
    positives=152,
    threshold=0.5,
)
COST = {"size": 2_500_000, "p99": 0.8}


def test_what_meets_every_limit_passes() -> None:
    spec = Gate(min={"roc_auc": 0.7}, max={"log_loss": 0.5}, max_size=2.5, max_p99=0.8)

    result = judge(FOUND, COST, spec)

    assert result.passed
    assert result.words == "Passed: all 4 limits are met."
    assert result.rows.rows() == [
        ("roc_auc", 0.7, "at least 0.7", True),
        ("log_loss", 0.5, "at most 0.5", True),
        ("size", 2.5, "at most 2.5 MB", True),
        ("p99", 0.8, "at most 0.8 ms", True),
    ]


def test_every_limit_that_is_not_met_is_named() -> None:
    spec = Gate(min={"roc_auc": 0.8}, max={"log_loss": 0.6}, max_size=2)

    result = judge(FOUND, COST, spec)

    assert not result.passed
    assert result.rows["passed"].to_list() == [False, True, False]
    assert result.words == (
        "2 of 3 limits not met: roc_auc must be at least 0.8, but is 0.7; "
        "size must be at most 2 MB, but is 2.5 MB."
    )


def test_an_undefined_metric_never_passes() -> None:
    for spec in (Gate(min={"precision": 0.0}), Gate(max={"precision": 1.0})):
        result = judge(FOUND, None, spec)

        assert not result.passed
        assert result.words.endswith("but is undefined.")


def test_each_slice_with_enough_rows_must_meet_the_limits_of_slices() -> None:
    result = judge(FOUND, None, Gate.model_validate({"slices": {"min": {"roc_auc": 0.6}}}))

    assert result.rows.select("limit", "passed").rows() == [
        ("roc_auc of carrier=UA", True),
        ("roc_auc of carrier=AA", False),
    ]


def test_no_limits_pass_and_say_so() -> None:
    assert judge(FOUND, None, Gate()).words == "Passed: no limit is declared."


def test_what_is_limited_must_have_been_measured() -> None:
    with pytest.raises(DataError, match="The gate limits p99, but compression did not measure it"):
        judge(FOUND, {"size": 10}, Gate(max_p99=1))
    with pytest.raises(DataError, match=r"a metric of the gate must be one of .* but got 'f1'"):
        judge(FOUND, None, Gate(min={"f1": 0.5}))
    with pytest.raises(DataError, match=r"a metric of slices must be one of 'roc_auc', but got"):
        judge(FOUND, None, Gate.model_validate({"slices": {"max": {"log_loss": 0.5}}}))


def test_an_unknown_metric_in_the_declaration_offers_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"Did you mean 'roc_auc'\?"):
        Gate(min={"roc_acu": 0.6})
    with pytest.raises(ValidationError, match=r"Did you mean 'calibration_error'\?"):
        Gate.model_validate({"slices": {"max": {"calibration_eror": 0.6}}})
