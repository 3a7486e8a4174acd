"""Language models of small texts whose perplexity is known."""

import hashlib

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.learners import language_training
from ai_assets.lifecycle.learners.language import (
    UNKNOWN,
    LanguageModel,
    load_language,
    own_numbers,
    perplexity,
)
from ai_assets.lifecycle.learners.language_training import train_language
from ai_assets.lifecycle.learners.transformer_torch import build_module

VOCABULARY, TOKENS = 100, 12
BEGIN, END, FIRST, WORDS = 1, 2, 10, 20
SMALL = {"width": 16, "heads": 2, "layers": 1, "epochs": 12, "learning_rate": 1e-2, "dropout": 0.0}


def chain(rows: int, seed: int, choices: int = 2) -> np.ndarray:
    """Texts of 8 words, each one of so many that may follow the one before: so much is chance."""
    random = np.random.default_rng(seed)
    tokens = np.zeros((rows, TOKENS), dtype=np.int64)
    tokens[:, 0], tokens[:, 9] = BEGIN, END
    word = random.integers(WORDS, size=rows)
    for at in range(1, 9):
        tokens[:, at] = FIRST + word
        word = (3 * word + 1 + random.integers(choices, size=rows)) % WORDS
    return tokens


# The first word is one of 20, seven are one of 2 each, and the end is certain.
KNOWN = float(np.exp((np.log(WORDS) + 7 * np.log(2)) / 9))


def train(held_out: np.ndarray | None = None, seed: int = 0, **more) -> LanguageModel:
    return train_language(
        chain(600, 0), held_out, VOCABULARY, seed=seed, threads=1,
        settings=SMALL | more, device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return train()


def test_the_perplexity_is_that_of_the_chance_in_the_texts(model):
    found = perplexity(model, chain(300, 1))

    assert found.overall == pytest.approx(KNOWN, rel=0.06)
    assert found.tokens == 300 * 9
    assert found.texts.shape == (300,)
    assert np.exp(np.log(found.texts).mean()) == pytest.approx(found.overall, rel=1e-6)
    assert model.curve[-1]["train"] < model.curve[0]["train"]
    assert model.iterations == 12


def test_texts_of_another_kind_are_dearer(model):
    strange = chain(300, 1)
    random = np.random.default_rng(0)
    for row in strange:
        row[1:9] = random.permutation(row[1:9])

    assert perplexity(model, strange).overall > 3 * KNOWN


def test_an_unknown_token_is_one_of_all_that_are_unknown(model):
    text = np.array([[BEGIN, 90, END]])
    session = model._session
    x = np.zeros((1, TOKENS), dtype=np.float32)
    x[0, :3] = text
    module = build_module(model.transformer).eval()
    import torch

    own = torch.from_numpy(model.numbers[text])
    scores = (module(own) @ module.words.T).detach().numpy()[0] + model.bias
    likely = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    expected = -likely[0, UNKNOWN] + np.log(VOCABULARY - 1 - WORDS - 2) - likely[1, own[0, 2]]

    nats, told = session.run(["y"], {"x": x})[0][0]

    assert told == 2
    assert nats == pytest.approx(expected, abs=1e-4)
    assert model.unknown == VOCABULARY - 1 - WORDS - 2


def test_the_graph_says_what_the_module_says(model):
    import torch

    fresh = chain(70, 4)
    fresh[:35, 5:] = 0
    module, bias = build_module(model.transformer), torch.from_numpy(model.bias)

    nats = language_training.mean_nats(module, bias, model.numbers[fresh])

    assert np.log(perplexity(model, fresh).overall) == pytest.approx(nats, abs=1e-5)


def test_short_texts_and_none_at_all(model):
    tokens = np.zeros((3, TOKENS), dtype=np.int64)
    tokens[0, :2], tokens[1, 0] = [BEGIN, END], BEGIN

    found = perplexity(model, tokens)

    assert found.tokens == 1
    assert np.isnan(found.texts).tolist() == [False, True, True]
    with pytest.raises(DataError, match="needs texts with at least two tokens"):
        perplexity(model, tokens[1:])
    with pytest.raises(DataError, match="needs texts with at least two tokens"):
        perplexity(model, tokens[:0])
    with pytest.raises(DataError, match="texts must be at most 12 tokens long, but got 13"):
        perplexity(model, np.zeros((1, 13), dtype=np.int64))


def test_held_out_texts_stop_the_training():
    steps: list[tuple[int, float]] = []
    few = chain(24, 0)

    stopped = train_language(
        few, chain(50, 5), VOCABULARY, seed=0, threads=1, device="cpu",
        settings=SMALL | {"epochs": 60, "batch": 4}, on_step=lambda *at: steps.append(at),
    )  # fmt: skip
    again = train_language(
        few, None, VOCABULARY, seed=0, threads=1, device="cpu",
        settings=SMALL | {"epochs": 60, "batch": 4, "iterations": stopped.iterations},
    )  # fmt: skip

    assert stopped.iterations == len(steps) - 5 < 55
    assert min(steps, key=lambda step: step[1])[0] == stopped.iterations
    assert again.to_onnx() == stopped.to_onnx()


def test_a_saved_model_comes_back_and_has_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        train(epochs=1).save(tmp_path / name)
    read = load_language(tmp_path / "a")

    digests = [
        [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((tmp_path / n).iterdir())]
        for n in ("a", "b")
    ]
    assert digests[0] == digests[1]
    assert read.to_onnx() == train(epochs=1).to_onnx()
    assert read.to_onnx() != train(epochs=1, seed=1).to_onnx()


def test_only_tokens_of_two_texts_are_learned():
    numbers = own_numbers(np.array([[1, 5, 5, 2, 0], [1, 7, 2, 0, 0]]), 10)

    assert numbers.tolist() == [0, 2, 3, 1, 1, 1, 1, 1, 1, 1]


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(DataError, match="texts that have tokens in common"):
        own_numbers(np.array([[5, 6], [7, 8]]), 10)
    with pytest.raises(DataError, match="tokens must be from 0 to 9, but got '12'"):
        own_numbers(np.array([[5, 12]]), 10)
    with pytest.raises(DeclarationError, match="width must be a multiple of 3"):
        train(heads=3)
    with pytest.raises(DeclarationError, match="epochs and batch must be at least 1"):
        train(epochs=0)
