"""Whether a model of items withstands what is declared, in words."""

import polars as pl

from ai_assets.lifecycle.evaluation.robustness import Robustness
from ai_assets.lifecycle.evaluation.spec import Withstands
from ai_assets.stages.evaluation_items import Attacked, withstands

CURVE = pl.DataFrame(
    {"corruption": ["blur", "word_order"], "severity": [1, 1], "accuracy": [0.9, 0.5]}
)
ROBUST = Robustness(40, 0.95, CURVE, {"blur": "a", "word_order": "b"})
ATTACKED = Attacked(30, 0.9, {"fgsm": 0.6, "pgd": 0.4}, "each pixel a little")


def test_without_a_limit_the_figures_are_told():
    found = withstands(ROBUST, ATTACKED, Withstands())
    assert found.passed
    assert found.words == (
        "Accuracy 0.950, on average 0.700 under corruptions (least under word order); 0.400 of "
        "0.900 remains under an adversary (each pixel a little); no limit is declared."
    )
    assert found.metadata == {"corrupted": 0.7, "attacked": 0.4}


def test_a_limit_that_is_not_met_warns_and_one_that_is_met_passes():
    low = withstands(ROBUST, ATTACKED, Withstands(min_corrupted=0.8))
    assert not low.passed and low.warn and low.words.endswith("declared: min_corrupted 0.8.")
    assert not withstands(ROBUST, ATTACKED, Withstands(min_attacked=0.5)).passed
    assert withstands(ROBUST, ATTACKED, Withstands(min_corrupted=0.6, min_attacked=0.3)).passed


def test_of_large_pictures_no_adversary_is_tried_and_it_says_so():
    found = withstands(ROBUST, None, Withstands(min_attacked=0.5))
    assert found.passed and "no adversary was tried" in found.words
