"""A served value in words: its unit, its interval, and whether it was scored alike again."""

from typing import Any

import pytest

from ai_assets.automation.why.words_of_prediction import _again, _answered

VALUE: dict[str, Any] = {"value": 1234567.25, "unit": "dollar"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (VALUE, "1.23457e+06 dollar"),
        ({"value": 12.5, "unit": None}, "12.5"),
        (
            {"value": 12.5, "unit": "minute", "interval": [2.5, 22.5], "coverage": 0.9},
            "12.5 minute, 90% of outcomes from 2.5 to 22.5 minute",
        ),
        (
            {"label": "late", "probability": 0.75, "probabilities": None, "threshold": 0.5},
            "late, probability 0.7500 (positive from 0.5000 on)",
        ),
    ],
)
def test_a_value_is_told_with_unit_and_interval_and_a_probability_with_its_threshold(
    answer: dict[str, Any], words: str
) -> None:
    assert _answered(answer) == words


@pytest.mark.parametrize(
    ("said", "again", "words"),
    [
        (2_000_000.0, 2_000_001.0, "the same"),
        (2_000_000.0, 2_000_010.0, "2.00001e+06: NOT the same"),
        (0.5, 0.5000005, "the same"),
        (0.5, 0.50001, "0.50001: NOT the same"),
        (0.5, None, ""),
    ],
)
def test_large_values_are_the_same_to_the_digits_that_a_model_has(
    said: float, again: float | None, words: str
) -> None:
    assert _again({"scored_again": again, "answer": {"probability": said}}) == words
