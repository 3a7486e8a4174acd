"""Reads texts: a UTF-8 file, a text a line. WordPiece (Wu et al. 2016) as BERT's, without case."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

LONGEST_WORD = 100


def read(path: str, about: dict[str, Any]) -> np.ndarray:
    """The numbers of the tokens of each text [n, tokens], 0 after the end."""
    vocabulary = json.loads((Path(__file__).parent / "vocabulary.json").read_text(encoding="utf-8"))
    length = about["columns"][0]["shape"][0]
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    found = np.zeros((len(lines), length))
    for row, line in enumerate(lines):
        pieces = [p for word in words(line) for p in cut(word, vocabulary)][: length - 2]
        numbers = [vocabulary[p] for p in ("[CLS]", *pieces, "[SEP]")]
        found[row, : len(numbers)] = numbers
    return found


def words(text: str) -> list[str]:
    """Words and marks in small letters without accents."""
    known = "".join(c for c in text if c in "\t\n\r" or unicodedata.category(c)[0] != "C")
    known = known.replace("\ufffd", "")
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFC", known)).lower()
    kept = (c for c in plain if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if is_mark(c) or is_ideograph(c) else c for c in kept).split()


def is_mark(c: str) -> bool:
    """Whether a character stands alone: punctuation, or any ASCII that is no letter or digit."""
    return unicodedata.category(c)[0] == "P" or ("!" <= c <= "~" and not c.isalnum())


def is_ideograph(c: str) -> bool:
    """Whether a character is a word of its own."""
    spans = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAFF), (0x20000, 0x2CEAF))
    return any(first <= ord(c) <= last for first, last in spans)


def cut(word: str, vocabulary: dict[str, int]) -> list[str]:
    """The longest known pieces of a word, from its beginning; one unknown where there are none."""
    pieces: list[str] = []
    start = 0
    while start < len(word) <= LONGEST_WORD:
        ends = range(len(word), start, -1)
        tries = (("##" if start else "") + word[start:end] for end in ends)
        piece = next((p for p in tries if p in vocabulary), None)
        if piece is None:
            break
        pieces.append(piece)
        start += len(piece) - (2 if start else 0)
    return pieces if start == len(word) else ["[UNK]"]
