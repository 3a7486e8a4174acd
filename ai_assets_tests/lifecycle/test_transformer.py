"""The encoder: its torch module and its graph give the same numbers, and the right ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.features.tokens import shipped_tokenizer, token_ids
from ai_assets.lifecycle.learners.graphs import Graph
from ai_assets.lifecycle.learners.text_features import bags, encoder_graph, meanings, rarity
from ai_assets.lifecycle.learners.transformer import (
    Architecture,
    Transformer,
    random_transformer,
    read_bert,
    read_weights,
    write_weights,
)
from ai_assets.lifecycle.learners.transformer_graph import (
    add_bag,
    add_texts,
    add_transformer,
)
from ai_assets.lifecycle.learners.transformer_torch import build_module, embed, weights_of
from ai_assets_tests.lifecycle.text_worlds import TINY, TOKENS, VOCABULARY, topics, write_bert


@pytest.fixture
def tiny(tmp_path) -> Transformer:
    return read_bert(write_bert(tmp_path / "bert")).short(TOKENS)


def hidden_graph(transformer: Transformer) -> bytes:
    """From tokens to all hidden states of a text, one after the other."""
    graph, shape = Graph(), transformer.architecture
    texts = add_texts(graph, 0, transformer.weights["words"], shape.positions)
    hidden = add_transformer(graph, transformer, texts)
    flat = graph.constant(np.array([0, -1], dtype=np.int64))
    graph.add("Reshape", hidden, flat, output="y")
    return graph.to_bytes(shape.positions, shape.positions * shape.width)


@pytest.mark.parametrize("causal", [False, True])
def test_graph_and_module_have_the_same_hidden_states(tiny, causal):
    same = Transformer(replace(tiny.architecture, causal=causal), tiny.weights)
    x = topics(40).x
    x[0, :] = 5  # as long as can be, so that nothing is cut
    given = run_session(open_session(hidden_graph(same)), x).reshape(40, TOKENS, -1)

    expected = build_module(same).eval()(torch.from_numpy(x.astype(np.int64))).detach().numpy()

    there = x > 0
    assert np.abs(given - expected)[there].max() < 1e-5


def test_embeddings_do_not_depend_on_the_other_texts_of_a_batch(tiny):
    x = topics(50).x
    session = open_session(encoder_graph(tiny))

    together = run_session(session, x)
    alone = np.concatenate([run_session(session, row[None]) for row in x])

    assert np.abs(together - alone).max() < 1e-6
    assert np.abs(together - embed(build_module(tiny), x.astype(np.int64))).max() < 1e-6
    assert np.abs(together - meanings(tiny, x.astype(np.int64))).max() < 1e-6
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_odd_numbers_are_answered(tiny):
    session, width = open_session(encoder_graph(tiny)), TINY.width
    x = np.zeros((4, TOKENS), dtype=np.float32)
    x[1], x[2], x[3, 0] = np.nan, 1e9, -5

    found = run_session(session, x)

    assert found.shape == (4, width)
    assert np.isfinite(found).all()
    assert np.abs(found[0]).max() == 0
    assert run_session(session, x[:0]).shape == (0, width)


def test_a_causal_state_does_not_see_what_comes_after(tiny):
    causal = Transformer(replace(tiny.architecture, causal=True), tiny.weights)
    x = np.full((2, TOKENS), 5, dtype=np.float32)
    x[1, 6:] = 9

    states = run_session(open_session(hidden_graph(causal)), x).reshape(2, TOKENS, -1)

    np.testing.assert_allclose(states[0, :6], states[1, :6], atol=1e-6)
    assert np.abs(states[0, 6:] - states[1, 6:]).max() > 0.1


def test_the_bag_of_words_is_the_same_in_the_graph(tiny):
    tokens = topics(30).x.astype(np.int64)
    weight, words = rarity(tokens, VOCABULARY), tiny.weights["words"]
    graph = Graph()
    bag = add_bag(graph, add_texts(graph, 0, words, TOKENS), weight)
    graph.add("Identity", bag, output="y")

    given = run_session(open_session(graph.to_bytes(TOKENS, TINY.width)), tokens)

    assert np.abs(given - bags(words, weight, tokens)).max() < 1e-6


def test_rarity_is_the_logarithm_of_texts_by_those_that_have_a_token():
    tokens = np.array([[1, 5, 2, 0], [1, 5, 2, 0], [1, 7, 2, 0]])

    found = rarity(tokens, 10)

    np.testing.assert_allclose(found[[0, 1, 2]], 0)
    np.testing.assert_allclose(found[[5, 7, 9]], np.log([4 / 3, 4 / 2, 4 / 1]), rtol=1e-6)


def test_what_is_known_of_a_text_is_not_computed_again(tiny, monkeypatch):
    from ai_assets.lifecycle.learners import text_features

    tokens = topics(20).x.astype(np.int64)
    before = meanings(tiny, tokens)
    monkeypatch.setattr(text_features, "_embedded", lambda *_: pytest.fail("computed again"))

    np.testing.assert_array_equal(meanings(tiny, tokens[::-1]), before[::-1])


def test_the_installed_encoder_gives_the_embedding_that_others_print_of_it():
    encoder = read_bert().short(32)
    texts = ["This is an example sentence", "A dog runs.", "A puppy is running."]

    found = meanings(encoder, token_ids(shipped_tokenizer(), texts, 32))

    # What sentence-transformers gives for its model card's example, all-MiniLM-L6-v2.
    assert found[0, :3] == pytest.approx([6.76569e-02, 6.34959e-02, 4.87131e-02], abs=1e-6)
    assert found[1] @ found[2] == pytest.approx(0.7902752, abs=1e-5)


def test_layers_can_be_left_out(tiny):
    short = tiny.with_layers((1,))

    assert short.architecture.layers == 1
    name = "mixed.weight"
    np.testing.assert_array_equal(
        short.weights[f"layers.0.{name}"], tiny.weights[f"layers.1.{name}"]
    )
    with pytest.raises(DeclarationError, match="layer must be"):
        tiny.with_layers((2,))


def test_weights_are_written_once_and_come_back(tmp_path):
    made = random_transformer(TINY, 4)
    write_weights(tmp_path / "a", made.weights)
    write_weights(tmp_path / "b", dict(reversed(made.weights.items())))

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read = Transformer(TINY, read_weights(tmp_path / "a"))
    assert read.digest == made.digest
    assert weights_of(build_module(read)).keys() == made.weights.keys()
    numbers = sum(value.size for value in made.weights.values())
    assert len(encoder_graph(made)) < 4 * numbers + 20_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_act": "relu"}, "hidden_act of the encoder must be 'gelu', but got"),
        ({"model_type": "roberta"}, "model_type of the encoder must be 'bert'"),
        ({"hidden_size": 18}, "width must be a multiple of 4"),
        ({"vocab_size": 61}, r"weight 'words' must be of shape \(61, 16\)"),
        ({"num_hidden_layers": 3}, "weight 'encoder.layer.2.attention.self.query.weight'"),
    ],
)
def test_an_encoder_that_is_another_is_refused(tmp_path, change, words):
    import json

    folder = write_bert(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))

    with pytest.raises((DataError, DeclarationError), match=words):
        read_bert(folder)


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(DeclarationError, match=r"must hold config\.json"):
        read_bert(tmp_path)
    folder = write_bert(tmp_path)
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"model\.safetensors cannot be read"):
        read_bert(folder)


def test_texts_longer_than_the_encoder_are_refused(tiny):
    with pytest.raises(DeclarationError, match="tokens must be at most 12, the encoder's"):
        tiny.short(13)
    with pytest.raises(DeclarationError, match="layers must be at least 1"):
        Architecture(10, 4, 8, 0, 2, 8)


def test_a_missing_weight_is_named():
    made = random_transformer(TINY, 0)
    weights = dict(made.weights)
    del weights["norm.bias"]
    with pytest.raises(DataError, match=r"weight 'norm\.bias' is missing"):
        Transformer(TINY, weights)
