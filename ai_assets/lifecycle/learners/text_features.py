"""What the head of a text model reads: what a text means, and which words it uses."""

import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.features.tokens import PADDING
from ai_assets.lifecycle.learners.transformer import Transformer

ROWS_AT_ONCE = 64
_KEPT = 100_000
_known: OrderedDict[bytes, np.ndarray] = OrderedDict()
"""Embeddings by encoder and text: trials and folds of a tuning ask for the same ones again."""


def tokens_of(x: np.ndarray, vocabulary: int) -> np.ndarray:
    """Numbers of tokens int64 [n, T] of the matrix's columns of a text.

    Raises:
        DataError: a number is beyond the encoder's vocabulary.
    """
    tokens = np.ascontiguousarray(x).astype(np.int64)
    if tokens.size and (tokens.max() >= vocabulary or tokens.min() < 0):
        words = f"from 0 to {vocabulary - 1}, the encoder's vocabulary"
        raise DataError(must_be("tokens", words, f"{tokens.min()} to {tokens.max()}"))
    return tokens


def longest(tokens: np.ndarray) -> int:
    """Tokens of the longest of the texts [n, T], at least 1."""
    used = np.flatnonzero((tokens != PADDING).any(axis=0))
    return int(used[-1]) + 1 if len(used) else 1


def by_length(tokens: np.ndarray, rows: int = ROWS_AT_ONCE) -> list[np.ndarray]:
    """Positions of texts [n, T] in batches, those of a length together: little padding."""
    order = np.argsort((tokens != PADDING).sum(axis=1), kind="stable")
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def rarity(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """How much each token tells, float32 [V]: the logarithm of texts by texts that have it.

    Inverse document frequency (Spärck Jones 1972). What every text has, as the marks of begin and
    end, tells nothing; what none of these texts has tells most; padding is nothing.
    """
    having = np.zeros(vocabulary)
    for text in tokens:
        having[np.unique(text)] += 1
    found = np.log((1 + len(tokens)) / (1 + having)).astype(np.float32)
    found[PADDING] = 0
    return found


def bags(words: np.ndarray, weight: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The weighted sum of the directions of each text's words, float32 [n, D], of length 1.

    Args:
        words: what each token stands for, [V, D].
        weight: of each token, [V].
        tokens: int64 [n, T].
    """
    found = np.empty((len(tokens), words.shape[1]), dtype=np.float32)
    for rows in by_length(tokens):
        part = tokens[rows][:, : longest(tokens[rows])]
        given = words[part]
        unit = given / np.maximum(np.linalg.norm(given, axis=2, keepdims=True), 1e-12)
        total = (weight[part][..., None] * unit).sum(axis=1)
        size = np.linalg.norm(total, axis=1, keepdims=True)
        found[rows] = total / np.maximum(size, 1e-12)
    return found


def meanings(transformer: Transformer, tokens: np.ndarray, threads: int = 1) -> np.ndarray:
    """Embeddings float32 [n, D] of texts int64 [n, T] by an encoder, each computed once."""
    keys = [transformer.digest + text[text != PADDING].tobytes() for text in tokens]
    missing = {key: row for row, key in enumerate(keys) if key not in _known}
    fresh: dict[bytes, np.ndarray] = {}
    if missing:
        part = tokens[list(missing.values())]
        fresh = dict(zip(missing, _embedded(transformer, part, threads), strict=True))
    found = np.empty((len(tokens), transformer.architecture.width), dtype=np.float32)
    for row, key in enumerate(keys):
        found[row] = fresh[key] if key in fresh else _known[key]
    _known.update(fresh)
    while len(_known) > _KEPT:
        _known.popitem(last=False)
    return found


def encoder_graph(transformer: Transformer, columns: int | None = None, start: int = 0) -> bytes:
    """The encoder as an ONNX graph, from a matrix whose tokens begin at `start` to embeddings."""
    from ai_assets.lifecycle.learners.graphs import Graph
    from ai_assets.lifecycle.learners.transformer_graph import (
        add_pooled,
        add_texts,
        add_transformer,
    )

    shape, graph = transformer.architecture, Graph()
    texts = add_texts(graph, start, transformer.weights["words"], shape.positions)
    pooled = add_pooled(graph, add_transformer(graph, transformer, texts), texts)
    graph.add("Identity", pooled, output="y")
    return graph.to_bytes(columns or shape.positions, shape.width)


def run_by_length(session: Any, x: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Answers float64 [n, K] of a session for the rows of a matrix, short texts together."""
    from ai_assets.lifecycle.compression.onnx_session import run_session

    if not len(x):
        return run_session(session, x)
    batches = by_length(tokens)
    parts = [run_session(session, x[rows]) for rows in batches]
    found = np.empty((len(x), parts[0].shape[1]))
    for rows, part in zip(batches, parts, strict=True):
        found[rows] = part
    return found


def _embedded(transformer: Transformer, tokens: np.ndarray, threads: int) -> np.ndarray:
    """Each text by itself, on as many threads: the same numbers whatever else is asked for."""
    from ai_assets.lifecycle.compression.onnx_session import open_session

    whole = np.zeros((len(tokens), transformer.architecture.positions), dtype=np.float32)
    whole[:, : tokens.shape[1]] = tokens
    session = open_session(encoder_graph(transformer))

    def one(row: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run(["y"], {"x": row[None]})[0][0]
        return found

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        return np.stack(list(pool.map(one, whole)))
