"""The frozen encoder with a linear head."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.learners import get_family, probe
from ai_assets.lifecycle.learners.base import Dataset, Task
from ai_assets.lifecycle.learners.text_model import TextModel
from ai_assets_tests.lifecycle.text_worlds import TINY, topics, write_bert


@pytest.fixture
def encoder(tmp_path) -> str:
    return str(write_bert(tmp_path / "bert"))


def fit(data: Dataset, encoder: str, task: Task = "multiclass", **params) -> TextModel:
    half = np.arange(len(data)) < len(data) // 2
    return get_family("probe").fit(
        data.take(half), data.take(~half), {"encoder": encoder, **params},
        task=task, seed=0, threads=1,
    )  # fmt: skip


def share_right(model: TextModel, data: Dataset) -> float:
    return float((model.predict(data.x).argmax(axis=1) == data.y).mean())


def test_topics_are_told_by_their_words(encoder):
    model = fit(topics(400), encoder)

    assert share_right(model, topics(200, seed=5)) > 0.9
    assert model.iterations == 1
    assert model.curve[0]["train"] < model.curve[0]["validation"] < 0.7


def test_the_graph_is_the_head_on_embedding_and_bag(encoder):
    data = topics(100, number=True)
    model = fit(data, encoder)
    tokens = data.x[:, 1:].astype(np.int64)
    start = probe.Start(model.transformer, model.head, tokens)
    scores = start.inputs(tokens, 1).astype(np.float64) @ model.head.weight + model.head.bias
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))

    given = run_session(open_session(model.to_onnx()), data.x)

    assert np.abs(given - powers / powers.sum(axis=1, keepdims=True)).max() < 1e-5
    assert np.abs(given - model.predict(data.x)).max() < 1e-5
    assert model.predict(data.x[:0]).shape == (0, 3)
    assert model.embed(data.x).shape == (100, TINY.width)
    np.testing.assert_allclose(model.embed(data.x), start.inputs(tokens, 1)[:, :16], atol=1e-5)


def test_all_that_it_knows_it_knows_from_the_text(encoder):
    assert fit(topics(60, number=True), encoder).importances() == {"n": 0.0, "question": 1.0}


def test_a_saved_model_comes_back_and_has_the_same_bytes(encoder, tmp_path):
    for name in ("a", "b"):
        fit(topics(100), encoder).save(tmp_path / name)
    model, read = fit(topics(100), encoder), get_family("probe").load(tmp_path / "a")

    def digests(folder: Path) -> list[str]:
        files = sorted(folder.iterdir())
        return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert read.to_onnx() == model.to_onnx()
    assert replace(read, transformer=model.transformer, head=model.head) == model


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_other_tasks_are_learned_too(encoder, task):
    data = topics(600, classes=2)
    model = fit(data, encoder, task)

    found = model.predict(topics(100, classes=2, seed=3).x)

    assert found.shape == (100, 1)
    assert ((found[:, 0] > 0.5) == topics(100, classes=2, seed=3).y).mean() > 0.85


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_without_a_row_is_never_likely(encoder, classes):
    data = replace(topics(600, classes=classes), classes=classes + 2)

    found = fit(data, encoder).predict(data.x)

    assert found.shape == (600, classes + 2)
    assert found[:, classes:].max() < 1e-6
    assert (found.argmax(axis=1) == data.y).mean() > 0.9


def test_weights_of_rows_count(encoder):
    data = topics(200)
    heavy = replace(data, weight=np.where(data.y == 0, 20.0, 1.0))

    plain, weighted = (fit(d, encoder, C=1.0).predict(data.x) for d in (data, heavy))

    assert weighted[:, 0].mean() > plain[:, 0].mean() + 0.1


def test_what_cannot_be_learned_from_is_refused(encoder):
    data = topics(60)
    with pytest.raises(DeclarationError, match="C must be above 0, but got 0"):
        fit(data, encoder, C=0)
    with pytest.raises(DataError, match="tokens must be from 0 to 59, the encoder's vocabulary"):
        fit(replace(data, x=data.x + 10), encoder)
    numbers = Encoding((EncodedColumn("n", "numeric"),))
    with pytest.raises(DataError, match="one of the features must be a text, but got"):
        fit(Dataset(data.x[:, :1], data.y, None, numbers), encoder)
