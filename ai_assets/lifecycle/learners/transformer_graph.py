"""The transformer as nodes of an ONNX graph: operators of the standard alone."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ai_assets.lifecycle.learners.graphs import Graph
from ai_assets.lifecycle.learners.transformer import Transformer

INT64, FLOAT, BOOL = 7, 1, 9
_HIDDEN = np.float32(-1e9)
"""Added to what attention must not see: after softmax it is exactly 0."""

Linear = Callable[[Graph, str, np.ndarray], str]
"""Adds the product of an input [.., in] and a matrix [in, out]; the output's name."""
Rows = Callable[[Graph, np.ndarray, str], str]
"""Adds the rows of a matrix [n, D] with given numbers; the output's name."""


def float_linear(graph: Graph, given: str, matrix: np.ndarray) -> str:
    """The product in float32."""
    return graph.add("MatMul", given, graph.constant(matrix))


def float_rows(graph: Graph, matrix: np.ndarray, numbers: str) -> str:
    """The rows in float32."""
    return graph.add("Gather", graph.constant(matrix), numbers, axis=0)


@dataclass(frozen=True)
class Precision:
    """How a graph stores and multiplies matrices: in float32, or as other functions say."""

    linear: Linear = float_linear
    rows: Rows = float_rows


@dataclass(frozen=True)
class Texts:
    """Nodes that hold the texts of a batch, cut to the longest of them.

    Attributes:
        tokens: int64 [n, t].
        there: float32 [n, t], 1 for a token and 0 for padding.
        words: float32 [n, t, D], what each token's number stands for.
    """

    tokens: str
    there: str
    words: str


@dataclass
class Constants:
    """Small constants that many nodes share: each is stored once."""

    graph: Graph
    names: dict[tuple[str, bytes, tuple[int, ...]], str] = field(default_factory=dict)

    def get(self, value: np.ndarray | np.generic) -> str:
        """The name of a constant of this value."""
        array = np.asarray(value)
        key = (array.dtype.str, array.tobytes(), array.shape)
        if key not in self.names:
            self.names[key] = self.graph.constant(array)
        return self.names[key]

    def whole(self, *values: int) -> str:
        """The name of a list of whole numbers."""
        return self.get(np.array(values, dtype=np.int64))


def add_texts(
    graph: Graph,
    start: int,
    words: np.ndarray,
    length: int,
    precision: Precision | None = None,
    numbers: np.ndarray | None = None,
    least: int = 1,
) -> Texts:
    """Add the tokens of a batch, cut to its longest text: short questions cost what they hold.

    Args:
        graph: the graph, whose input is the matrix float32 [N, F].
        start: where its columns of tokens begin.
        words: what each number of the vocabulary stands for, [V, D]; numbers beyond it count as
            its first or last.
        length: how many columns of tokens there are.
        precision: how it is stored; default: float32.
        numbers: of each number in the matrix the number in `words`; default: the same.
        least: tokens that a batch is not cut below.
    """
    c, vocabulary = Constants(graph), len(words if numbers is None else numbers)
    columns = graph.add("Slice", "x", c.whole(start), c.whole(start + length), c.whole(1))
    whole = graph.add("Cast", columns, to=INT64)
    low, high = c.get(np.int64(0)), c.get(np.int64(vocabulary - 1))
    all_tokens = graph.add("Clip", whole, low, high)
    used = graph.add("Greater", all_tokens, low)
    places = c.get(np.arange(1, length + 1, dtype=np.int64)[None])
    reached = graph.add("Mul", graph.add("Cast", used, to=INT64), places)
    # A row more, of the least: a batch of empty texts, or of none, has a length too.
    fewest = c.get(np.full((1, length), least, dtype=np.int64))
    longest = graph.add("ReduceMax", graph.add("Concat", reached, fewest, axis=0), keepdims=0)
    end = graph.add("Reshape", longest, c.whole(1))
    tokens = graph.add("Slice", all_tokens, c.whole(0), end, c.whole(1))
    if numbers is not None:
        tokens = graph.add("Gather", graph.constant(numbers), tokens, axis=0)
    there = graph.add("Cast", graph.add("Greater", tokens, low), to=FLOAT)
    return Texts(tokens, there, (precision or Precision()).rows(graph, words, tokens))


def add_transformer(
    graph: Graph, transformer: Transformer, texts: Texts, precision: Precision | None = None
) -> str:
    """Add the hidden states float32 [n, t, D] of the texts; the output's name."""
    shape, weights = transformer.architecture, transformer.weights
    graph.inner = max(graph.inner, shape.numbers_of_a_text)
    precision = precision or Precision()
    c = Constants(graph)
    length = graph.add("Shape", texts.tokens, start=1, end=2)
    positions = graph.constant(weights["positions"])
    first = graph.add("Slice", positions, c.whole(0), length, c.whole(0))
    hidden = _norm(graph, transformer, "norm", graph.add("Add", texts.words, first))
    unseen = _unseen(graph, c, texts, length, shape.causal, shape.positions)
    for layer in range(shape.layers):
        hidden = _layer(graph, c, transformer, f"layers.{layer}.", hidden, unseen, precision)
    return hidden


def add_pooled(graph: Graph, hidden: str, texts: Texts) -> str:
    """Add the mean of each text's tokens [n, D], of length 1; the output's name."""
    c = Constants(graph)
    there = graph.add("Unsqueeze", texts.there, c.whole(1))
    total = graph.add("Squeeze", graph.add("MatMul", there, hidden), c.whole(1))
    counted = graph.add("ReduceSum", texts.there, c.whole(1), keepdims=1)
    mean = graph.add("Div", total, graph.add("Max", counted, c.get(np.float32(1))))
    return _unit(graph, c, mean, axis=1)


def add_bag(graph: Graph, texts: Texts, weight: np.ndarray) -> str:
    """Add the weighted sum of the directions of each text's words [n, D], of length 1.

    Args:
        graph: the graph.
        texts: the texts.
        weight: of each token of the vocabulary, float32 [V]; padding has 0.
    """
    c = Constants(graph)
    each = graph.add("Gather", graph.constant(weight), texts.tokens, axis=0)
    each = graph.add("Unsqueeze", each, c.whole(1))
    total = graph.add("MatMul", each, _unit(graph, c, texts.words, axis=2))
    return _unit(graph, c, graph.add("Squeeze", total, c.whole(1)), axis=1)


def _unit(graph: Graph, c: Constants, given: str, axis: int) -> str:
    """Vectors along an axis, made 1 long; what is nothing stays nothing."""
    size = graph.add("ReduceL2", given, axes=[axis], keepdims=1)
    return graph.add("Div", given, graph.add("Max", size, c.get(np.float32(1e-12))))


def _unseen(
    graph: Graph, c: Constants, texts: Texts, length: str, causal: bool, positions: int
) -> str:
    """What is added to attention before softmax, [n, 1, 1 or t, t]."""
    empty = graph.add("Equal", graph.add("ReduceMax", texts.there, axes=[1]), c.get(np.float32(0)))
    visible = graph.add("Max", texts.there, graph.add("Cast", empty, to=FLOAT))
    padding = graph.add("Sub", c.get(np.float32(1)), visible)
    padding = graph.add("Unsqueeze", padding, c.whole(1, 2))
    unseen = graph.add("Mul", padding, c.get(_HIDDEN))
    if not causal:
        return unseen
    later = graph.constant(np.triu(np.full((positions, positions), _HIDDEN), k=1))
    ends = graph.add("Concat", length, length, axis=0)
    cut = graph.add("Slice", later, c.whole(0, 0), ends, c.whole(0, 1))
    return graph.add("Min", unseen, cut)


def _layer(
    graph: Graph,
    c: Constants,
    transformer: Transformer,
    prefix: str,
    hidden: str,
    unseen: str,
    precision: Precision,
) -> str:
    shape, weights = transformer.architecture, transformer.weights
    d, size = shape.width, shape.width // shape.heads

    def dense(name: str, given: str, scale: np.ndarray | None = None) -> str:
        matrix, bias = weights[f"{prefix}{name}.weight"].T, weights[f"{prefix}{name}.bias"]
        if scale is not None:
            matrix, bias = matrix * scale, bias * scale
        product = precision.linear(graph, given, np.ascontiguousarray(matrix))
        return graph.add("Add", product, graph.constant(bias))

    # Attention divides queries by the root of their width: done once, in their matrix.
    scale = np.ones(3 * d, dtype=np.float32)
    scale[:d] = 1 / np.sqrt(size)
    split = graph.add(
        "Reshape", dense("attention", hidden, scale), c.whole(0, 0, 3 * shape.heads, size)
    )
    heads = graph.add("Transpose", split, perm=[0, 2, 1, 3])
    query, key, value = (
        graph.add("Slice", heads, c.whole(at), c.whole(at + shape.heads), c.whole(1))
        for at in (0, shape.heads, 2 * shape.heads)
    )
    turned = graph.add("Transpose", key, perm=[0, 1, 3, 2])
    scores = graph.add("Add", graph.add("MatMul", query, turned), unseen)
    found = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    joined = graph.add("Transpose", found, perm=[0, 2, 1, 3])
    joined = graph.add("Reshape", joined, c.whole(0, 0, d))
    mixed = graph.add("Add", hidden, dense("mixed", joined))
    hidden = _norm(graph, transformer, f"{prefix}mixed_norm", mixed)
    outer = dense("outer", _gelu(graph, c, dense("inner", hidden)))
    return _norm(graph, transformer, f"{prefix}outer_norm", graph.add("Add", hidden, outer))


def _norm(graph: Graph, transformer: Transformer, name: str, given: str) -> str:
    weight, bias = (transformer.weights[f"{name}.{kind}"] for kind in ("weight", "bias"))
    epsilon = transformer.architecture.epsilon
    return graph.add(
        "LayerNormalization",
        given,
        graph.constant(weight),
        graph.constant(bias),
        axis=-1,
        epsilon=epsilon,
    )


def _gelu(graph: Graph, c: Constants, given: str) -> str:
    """x/2 (1 + erf(x/√2)), in the order that ONNX Runtime makes one operator of."""
    scaled = graph.add("Div", given, c.get(np.float32(np.sqrt(2))))
    risen = graph.add("Add", graph.add("Erf", scaled), c.get(np.float32(1)))
    return graph.add("Mul", graph.add("Mul", given, risen), c.get(np.float32(0.5)))
