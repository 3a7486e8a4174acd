"""Accuracy by language, and when people are warned."""

import numpy as np
import pytest

from ai_assets.lifecycle.evaluation.languages import by_language, languages_ok

ENGLISH = "What does it cost to build a new house near the water in spring?"
SWEDISH = "Vad kostar det att bygga ett nytt hus nära vattnet på våren?"
GERMAN = "Was kostet es, im Frühling ein neues Haus am Wasser zu bauen?"


def test_each_language_has_its_accuracy_and_wilsons_interval():
    texts = [ENGLISH] * 60 + [SWEDISH] * 40
    right = np.array([True] * 54 + [False] * 6 + [True] * 20 + [False] * 20)
    english, swedish = by_language(texts, right, ["en"]).to_dicts()
    assert (english["language"], english["texts"], english["share"]) == ("en", 60, 0.6)
    assert (english["known"], swedish["known"]) == (True, False)
    assert (english["accuracy"], swedish["accuracy"]) == (0.9, 0.5)
    # by the formula of Wilson's score interval, by hand: p = 0.5, n = 40, z = 1.959964
    assert swedish["low"] == pytest.approx(0.351991, abs=1e-4)
    assert swedish["high"] == pytest.approx(0.648009, abs=1e-4)


def test_a_language_of_few_texts_is_one_of_others_which_nothing_is_said_to_know():
    texts = [ENGLISH] * 20 + [GERMAN] * 9
    found = by_language(texts, np.ones(29, dtype=bool), ["en", "de"])
    assert found["language"].to_list() == ["en", "others"]
    assert found["known"].to_list() == [True, False]


@pytest.mark.parametrize(
    ("swedish", "passed"),
    [(4, True), (50, False)],
)
def test_people_are_warned_where_enough_texts_are_in_unknown_languages(swedish, passed):
    texts = [ENGLISH] * (100 - swedish) + [SWEDISH] * swedish
    found = by_language(texts, np.arange(100) % 4 != 0, ["en"])
    assert languages_ok(found, ["en"])[0] is passed


def test_the_warning_tells_the_accuracy_beside_that_of_what_the_encoder_knows():
    texts = [ENGLISH] * 50 + [SWEDISH] * 50
    found = by_language(
        texts, np.array([True] * 45 + [False] * 5 + [True] * 30 + [False] * 20), ["en"]
    )
    passed, words = languages_ok(found, ["en"])
    assert not passed
    assert "trained for en" in words
    assert "sv 50.0%, accuracy 0.600 (0.462 to 0.724); in what it knows 0.900." in words
    only = by_language([SWEDISH] * 20, np.ones(20, dtype=bool), ["en"])
    assert "no text is in a language that it knows" in languages_ok(only, ["en"])[1]
    assert languages_ok(only.with_columns(known=True), ["sv"])[0]
