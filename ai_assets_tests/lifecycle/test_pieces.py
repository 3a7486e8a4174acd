"""Rows are scored some at a time: what a graph holds for them within fits into memory."""

import numpy as np
import pytest

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.learners.blend import _blended
from ai_assets.lifecycle.learners.graphs import Graph, add_link
from ai_assets.lifecycle.learners.text_features import encoder_graph
from ai_assets.lifecycle.learners.transformer import Architecture, random_transformer
from ai_assets.lifecycle.schema.pieces import rows_at_once

LONG = Architecture(60, 512, width=24, layers=1, heads=12, inner=1536)


def product(columns: int, inner: int = 0) -> bytes:
    graph = Graph(inner=inner)
    ones = graph.constant(np.ones((columns, 1), np.float32))
    add_link(graph, "binary", graph.add("MatMul", "x", ones))
    return graph.to_bytes(columns, 1)


@pytest.mark.parametrize(("columns", "rows"), [(20, 8192), (224 * 224 * 3, 27), (10_000_000, 1)])
def test_of_wide_rows_fewer_are_scored_at_once(columns: int, rows: int) -> None:
    assert rows_at_once(open_session(product(columns))) == rows


def test_of_long_texts_fewer_are_scored_at_once_than_their_tokens_would_say() -> None:
    session = open_session(encoder_graph(random_transformer(LONG, 0)))

    # 512 tokens, 3 x 1,536 numbers each, and attention of 12 heads to all of them, twice.
    assert rows_at_once(session) == (1 << 25) // (512 * (3 * 1536 + 2 * 12 * 512)) == 3


def test_a_blend_is_as_large_within_as_its_largest_member() -> None:
    members = [product(4), product(4, inner=1 << 20), product(4, inner=1 << 15)]

    assert rows_at_once(open_session(_blended(members, [0.2, 0.3, 0.5], "binary"))) == 32


def test_more_rows_are_answered_piece_by_piece_in_their_order() -> None:
    session, sizes = open_session(product(4, inner=1 << 24)), []

    class Watched:
        get_inputs, get_modelmeta = session.get_inputs, session.get_modelmeta

        def run(self, names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
            sizes.append(len(given["x"]))
            return session.run(names, given)

    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)

    found = run_session(Watched(), x)

    assert sizes == [2, 2, 1]
    assert found[:, 0] == pytest.approx(1 / (1 + np.exp(-x.sum(axis=1))), abs=1e-6)
