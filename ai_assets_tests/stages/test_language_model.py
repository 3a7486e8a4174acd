"""language_model: whether it knows more than frequencies, and how much texts surprise it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.tokens import shipped_tokenizer
from ai_assets.lifecycle.learners.language import perplexity
from ai_assets.lifecycle.learners.language_training import train_language
from ai_assets.stages.language_model import FILE, better_than_guessing, vocabulary_of
from ai_assets.stages.surprise import with_surprise

LENGTH = 12
ENCODING = Encoding((EncodedColumn("ask", "text", (), (LENGTH,), shipped_tokenizer()),))
TEXTS = [f"what does a {thing} cost" for thing in ("house", "roof", "door", "wall")] * 4
SMALL = {"width": 16, "layers": 1, "heads": 2, "epochs": 8, "batch": 8}


def test_a_model_that_knows_no_more_than_frequencies_is_warned_of() -> None:
    good, bad = better_than_guessing(40.0, 471.7), better_than_guessing(500.0, 471.7)

    assert good.passed
    assert not bad.passed and bad.warn
    assert bad.words == "Perplexity on test texts is 500.0; of frequencies alone 471.7."


def test_texts_of_another_kind_surprise_the_model_in_the_bundle(tmp_path: Path) -> None:
    tokens = ENCODING.transform(pl.DataFrame({"ask": TEXTS})).astype(np.int64)
    model = train_language(
        tokens, None, vocabulary_of(ENCODING), seed=1, threads=1, settings=SMALL, device="cpu"
    )
    (tmp_path / FILE).write_bytes(model.to_onnx())
    rows = pl.DataFrame({"ask": [TEXTS[0], "cost roof does what the", None], "_row_id": [1, 2, 3]})

    found = with_surprise(tmp_path, ENCODING, rows)

    usual, shuffled, missing = found["ask_perplexity"].to_list()
    x = ENCODING.transform(rows)[:2].astype(np.int64)
    assert [usual, shuffled] == pytest.approx(perplexity(model, x).texts.tolist())
    assert shuffled > 3 * usual
    # Nothing was said: its mark of end alone is told.
    assert missing is None or missing > 0
    assert found.drop("ask_perplexity").equals(rows)


def test_a_bundle_without_a_language_model_changes_nothing(tmp_path: Path) -> None:
    rows = pl.DataFrame({"ask": TEXTS})

    assert with_surprise(tmp_path, ENCODING, rows) is rows
