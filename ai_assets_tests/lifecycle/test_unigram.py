"""What a language model has to be better than."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ai_assets.lifecycle.learners.unigram import unigram_perplexity

# Tokens 3 and 4 are the model's 2 and 3; 5 and 6 it has not learned.
MODEL: Any = SimpleNamespace(numbers=np.array([0, 1, 1, 2, 3, 1, 1]), unknown=4)


def test_frequencies_are_counted_with_one_more_of_each() -> None:
    train = np.array([[9, 3, 3, 4], [9, 3, 0, 0]]) % 7

    found = unigram_perplexity(MODEL, train, np.array([[2, 3, 4, 0]]))

    # Of the unknown, 3 and 4 there are 0, 3 and 1, and one more each: 1, 4 and 2 of 7.
    assert found == pytest.approx(math.exp(-(math.log(4 / 7) + math.log(2 / 7)) / 2))


def test_what_is_unknown_costs_that_and_which_of_them_it_is() -> None:
    train = np.array([[2, 3, 3, 4]])

    found = unigram_perplexity(MODEL, train, np.array([[2, 5, 0, 0]]))

    assert found == pytest.approx(4 * 6 / 1)
