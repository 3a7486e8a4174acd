"""A small language model of a product's own texts, and how much new texts surprise it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be
from ai_assets.lifecycle.features.tokens import PADDING
from ai_assets.lifecycle.learners.base import read_json, write_json
from ai_assets.lifecycle.learners.text_features import run_by_length
from ai_assets.lifecycle.learners.transformer import (
    Architecture,
    Transformer,
    read_weights,
    write_weights,
)

UNKNOWN = 1
"""The model's own number of every token that it has not learned."""
LEAST_TEXTS = 2
"""A token that fewer of the texts have is not learned: from these, the model learns what to expect
of tokens that it has never seen."""
WEIGHTS = "weights.safetensors"
SETTINGS: dict[str, Any] = {
    "width": 64,
    "layers": 2,
    "heads": 4,
    "epochs": 30,
    "batch": 32,
    "learning_rate": 3e-3,
    "warm_up": 0.1,
    "weight_decay": 0.1,
    "dropout": 0.2,
}


@dataclass(frozen=True)
class LanguageModel:
    """A causal transformer that tells each token of a text from those before it.

    Attributes:
        transformer: over the tokens that it has learned; their embeddings are the head's too.
        bias: of each of them, float32 [V].
        numbers: its own number of each token of the tokenizer's vocabulary, int64; of those that
            it has not learned `UNKNOWN`.
        iterations: epochs that led to it.
        curve: losses by step, in nats a token.
    """

    transformer: Transformer
    bias: np.ndarray
    numbers: np.ndarray
    iterations: int
    curve: list[dict[str, float]]

    @property
    def unknown(self) -> int:
        """Tokens that share the number of the unknown, at least 1."""
        return max(1, int((self.numbers == UNKNOWN).sum()))

    def to_onnx(self) -> bytes:
        """From `x` float32 [N, T], tokens, to `y` float32 [N, 2]: nats, and tokens told."""
        return language_graph(self)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `weights.safetensors`; the same model gives the same bytes."""
        about = {"architecture": self.transformer.architecture.to_dict()}
        write_json(
            folder / "model.json", about | {"iterations": self.iterations, "curve": self.curve}
        )
        own = {"bias": self.bias, "numbers": self.numbers.astype(np.float32)}
        write_weights(folder / WEIGHTS, self.transformer.weights | own)

    @cached_property
    def _session(self) -> Any:
        from ai_assets.lifecycle.compression.onnx_session import open_session

        return open_session(self.to_onnx())


@dataclass(frozen=True)
class Perplexity:
    """How much texts surprise a model: among how many tokens it hesitates, so to say.

    Attributes:
        overall: exp of the mean nats a token.
        texts: the same of each text, [n]; NaN where it has no token to tell.
        tokens: how many were told.
    """

    overall: float
    texts: np.ndarray
    tokens: int


def perplexity(model: LanguageModel, tokens: np.ndarray) -> Perplexity:
    """The model's perplexity on texts, by onnxruntime alone.

    The first token of a text, its mark of begin, is given; the mark of end is to be told. A token
    that the model has not learned is told as unknown, and then as one of all that are: so the
    perplexity is over the whole vocabulary, and texts of another language are dear.

    Args:
        model: the model.
        tokens: [n, T], at most as long as the model's; 0 after the end.

    Raises:
        DataError: there is no token to tell, or the texts are longer than the model's.
    """
    longest = model.transformer.architecture.positions
    if tokens.shape[1] > longest:
        raise DataError(must_be("texts", f"at most {longest} tokens long", tokens.shape[1]))
    x = np.zeros((len(tokens), longest), dtype=np.float32)
    x[:, : tokens.shape[1]] = tokens
    found = run_by_length(model._session, x, x)
    nats, told = found[:, 0], found[:, 1]
    if not told.sum():
        raise DataError("perplexity needs texts with at least two tokens, but there is none.")
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.exp(nats / told)
    return Perplexity(float(np.exp(nats.sum() / told.sum())), each, int(told.sum()))


def own_numbers(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """The model's own number of each token, int64 [vocabulary]: from 2 in the order of theirs.

    Raises:
        DataError: a number is beyond the vocabulary, or no token is in two texts.
    """
    if tokens.size and (tokens.max() >= vocabulary or tokens.min() < 0):
        raise DataError(must_be("tokens", f"from 0 to {vocabulary - 1}", f"{tokens.max()}"))
    having = np.zeros(vocabulary, dtype=np.int64)
    for text in tokens:
        having[np.unique(text)] += 1
    having[PADDING] = 0
    learned = np.flatnonzero(having >= LEAST_TEXTS)
    if not len(learned):
        raise DataError("a language model needs texts that have tokens in common.")
    numbers = np.full(vocabulary, UNKNOWN, dtype=np.int64)
    numbers[PADDING] = PADDING
    numbers[learned] = np.arange(UNKNOWN + 1, UNKNOWN + 1 + len(learned))
    return numbers


def design(numbers: np.ndarray, length: int, settings: dict[str, Any]) -> Architecture:
    """The transformer of so many tokens a text.

    Raises:
        DeclarationError: a size is not possible.
    """
    if settings["epochs"] < 1 or settings["batch"] < 1:
        raise DeclarationError("epochs and batch must be at least 1.")
    width = int(settings["width"])
    return Architecture(
        vocabulary=int(numbers.max()) + 1,
        positions=length,
        width=width,
        layers=int(settings["layers"]),
        heads=int(settings["heads"]),
        inner=4 * width,
        epsilon=1e-5,
        causal=True,
    )


def load_language(folder: Path) -> LanguageModel:
    """Read what `LanguageModel.save` wrote.

    Raises:
        DataError: the weights are not those of the architecture.
    """
    about = read_json(folder / "model.json")
    architecture = Architecture(**about.pop("architecture"))
    read = read_weights(folder / WEIGHTS)
    bias, numbers = read.pop("bias"), read.pop("numbers").astype(np.int64)
    return LanguageModel(Transformer(architecture, read), bias, numbers, **about)


def language_graph(model: LanguageModel) -> bytes:
    """The model as an ONNX graph; see `LanguageModel.to_onnx`."""
    from ai_assets.lifecycle.learners.graphs import Graph
    from ai_assets.lifecycle.learners.transformer_graph import (
        Constants,
        Precision,
        add_texts,
        add_transformer,
    )

    graph = Graph()
    c = Constants(graph)
    length, stored = model.transformer.architecture.positions, model.transformer.weights["words"]
    words = graph.constant(stored)
    # The embeddings are the head too, and are stored once.
    shared = Precision(rows=lambda made, _, numbers: made.add("Gather", words, numbers, axis=0))
    texts = add_texts(graph, 0, stored, length, shared, model.numbers, least=2)
    hidden = add_transformer(graph, model.transformer, texts, shared)
    graph.inner += 3 * length * len(stored)
    scores = graph.add("MatMul", hidden, graph.add("Transpose", words, perm=[1, 0]))
    likely = graph.add("LogSoftmax", graph.add("Add", scores, graph.constant(model.bias)), axis=-1)
    before = graph.add("Slice", likely, c.whole(0), c.whole(-1), c.whole(1))
    told = graph.add("Slice", texts.tokens, c.whole(1), c.whole(length), c.whole(1))
    counted = graph.add("Slice", texts.there, c.whole(1), c.whole(length), c.whole(1))
    chosen = graph.add("GatherElements", before, graph.add("Unsqueeze", told, c.whole(2)), axis=2)
    each = graph.add("Neg", graph.add("Squeeze", chosen, c.whole(2)))
    strange = graph.add("Cast", graph.add("Equal", told, c.get(np.int64(UNKNOWN))), to=1)
    dearer = graph.add("Mul", strange, c.get(np.float32(np.log(model.unknown))))
    paid = graph.add("Mul", graph.add("Add", each, dearer), counted)
    sums = [graph.add("ReduceSum", part, c.whole(1), keepdims=1) for part in (paid, counted)]
    graph.add("Concat", *sums, axis=1, output="y")
    return graph.to_bytes(length, 2)
