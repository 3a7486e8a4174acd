"""language_model: whether it knows more than frequencies, and how much texts surprise it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.tokens import shipped_tokenizer
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.language import Perplexity, perplexity
from ai_assets.lifecycle.learners.language_training import train_language
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages.language_model import (
    FILE,
    better_than_guessing,
    most_surprising,
    vocabulary_of,
)
from ai_assets.stages.surprise import with_surprise
from ai_assets.stages.training_data import TrainingData

LENGTH = 12
ENCODING = Encoding((EncodedColumn("ask", "text", (), (LENGTH,), shipped_tokenizer()),))
TEXTS = [f"what does a {thing} cost" for thing in ("house", "roof", "door", "wall")] * 4
SMALL = {"width": 16, "layers": 1, "heads": 2, "epochs": 8, "batch": 8}


def test_a_model_that_knows_no_more_than_frequencies_is_warned_of() -> None:
    good, bad = better_than_guessing(40.0, 471.7), better_than_guessing(500.0, 471.7)

    assert good.passed
    assert not bad.passed and bad.warn
    assert bad.words == "Perplexity on test texts is 500.0; of frequencies alone 471.7."


@pytest.mark.parametrize("personal", [False, True])
def test_the_texts_expected_least_are_shown_unless_they_are_personal(personal: bool) -> None:
    texts = ["a roof", "roof a a", "a wall"]
    rows = pl.DataFrame({"ask": [*texts, None], "split": ["test", "test", "train", "test"]})
    whole = Dataset(ENCODING.transform(rows), np.zeros(4), None, ENCODING)
    data = TrainingData(rows, ENCODING, whole, "1")
    told = Perplexity(2.0, np.array([3.0, 9.0, np.nan]), 4)
    columns = {"ask": Column(type="text", tokens=LENGTH, personal=personal)}

    found = most_surprising(data, told, columns)

    assert found["perplexity"].to_list() == [9.0, 3.0, None]
    assert found.to_dict(as_series=False).get("text") == (
        None if personal else [texts[1], texts[0], None]
    )


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
