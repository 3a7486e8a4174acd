"""What is told of a text in numbers and words."""

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.features.tokens import shipped_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

NUMBERS = {
    "characters": "how many characters it has",
    "words": "how many words it has",
    "pieces_a_word": "tokens for each word: many where the encoder does not know the language",
    "unknown_share": "share of tokens that the encoder does not know at all",
    "capitals": "share of letters that are capitals",
    "digits": "share of characters that are digits",
    "marks": "share of characters that are neither letters, digits nor spaces",
    "not_ascii": "share of characters beyond ASCII",
    "damaged": "share of characters that tell of a wrong encoding",
    "ends": "whether it ends as a sentence does",
}
WAYS = {
    "characters": ("shorter", "longer"),
    "words": ("of fewer words", "of more words"),
    "pieces_a_word": ("of commoner words", "of words that the encoder does not know"),
    "unknown_share": ("with fewer unknown tokens", "with more unknown tokens"),
    "capitals": ("with fewer capitals", "with more capitals"),
    "digits": ("with fewer digits", "with more digits"),
    "marks": ("with fewer marks", "with more marks"),
    "not_ascii": ("with fewer characters beyond ASCII", "with more characters beyond ASCII"),
    "damaged": ("less damaged in encoding", "damaged in encoding"),
    "ends": ("cut off", "more often ended"),
    "language": ("in other languages", "in other languages"),
}
"""What is said of texts whose number is less, and of those whose number is more."""
WORDS = {"language": "language that it is most likely in (ISO 639-1)"}
# What UTF-8 read as Latin-1 looks like, and what stands for what could not be read.
_DAMAGE = frozenset("\ufffdÃÂâ€¢¤¶¥Ð")
_ENDS = (".", "?", "!", "…", ":", ")")
_LANGUAGE_OF = 1000
"""Characters: more do not change the guess."""


def describe(texts: "Sequence[str | None]") -> "dict[str, Any]":
    """Numbers about texts, float64 [n] each by the names of `NUMBERS`, and `language`, texts [n].

    Of a missing text they are NaN and None.
    """
    import numpy as np

    numbers = np.full((len(texts), len(NUMBERS)), np.nan)
    given = [(place, text) for place, text in enumerate(texts) if text]
    pieces = _pieces([text for _, text in given])
    for (place, text), (count, unknown) in zip(given, pieces, strict=True):
        numbers[place] = _numbers(text, count, unknown)
    found: dict[str, Any] = dict(zip(NUMBERS, numbers.T, strict=True))
    return found | {"language": [language(text) if text else None for text in texts]}


@lru_cache(maxsize=65_536)
def language(text: str) -> str:
    """The language that a text is most likely in (py3langid, after Lui and Baldwin 2012)."""
    import py3langid

    return str(py3langid.classify(text[:_LANGUAGE_OF])[0])


def _numbers(text: str, pieces: int, unknown: int) -> "np.ndarray":
    import numpy as np

    size, words = len(text), max(len(text.split()), 1)
    letters = sum(map(str.isalpha, text))
    digits = sum(map(str.isdigit, text))
    spaces = sum(map(str.isspace, text))
    damaged = sum(c in _DAMAGE or unicodedata.category(c) in ("Cc", "Co", "Cn") for c in text)
    return np.array(
        [
            size,
            words,
            pieces / words,
            unknown / max(pieces, 1),
            sum(map(str.isupper, text)) / max(letters, 1),
            digits / size,
            (size - letters - digits - spaces) / size,
            sum(c > "\x7f" for c in text) / size,
            damaged / size,
            float(text.endswith(_ENDS)),
        ]
    )


def _pieces(texts: list[str]) -> list[tuple[int, int]]:
    """How many tokens each text has, and how many of them are unknown."""
    if not texts:
        return []
    opened = _tokenizer()
    unknown = opened.token_to_id("[UNK]")
    encoded = opened.encode_batch(texts, add_special_tokens=False)
    return [(len(each.ids), each.ids.count(unknown)) for each in encoded]


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    opened = Tokenizer.from_str(shipped_tokenizer())
    opened.no_truncation()
    opened.no_padding()
    return opened
