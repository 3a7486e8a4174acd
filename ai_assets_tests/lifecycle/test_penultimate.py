"""The embedding is what the last product of a served graph reads, however the graph was made."""

from pathlib import Path

import numpy as np
import pytest

from ai_assets.lifecycle.learners.graphs import Graph, add_link
from ai_assets.lifecycle.learners.penultimate import embedder, embedding_name

NUMBERS = np.random.default_rng(0)
FIRST = NUMBERS.normal(size=(6, 5)).astype(np.float32)
LAST = NUMBERS.normal(size=(5, 3)).astype(np.float32)
X = NUMBERS.normal(size=(40, 6)).astype(np.float32)
HIDDEN = np.maximum(X @ FIRST, 0)


def network(*, last: str = "MatMul") -> bytes:
    """Two layers; the answers of three classes."""
    graph = Graph()
    hidden = graph.add("Relu", graph.add("MatMul", "x", graph.constant(FIRST)))
    bias = graph.constant(np.ones(3, np.float32))
    if last == "Gemm":
        score = graph.add("Gemm", hidden, graph.constant(LAST.T.copy()), bias, transB=1)
    else:
        score = graph.add("Add", graph.add("MatMul", hidden, graph.constant(LAST)), bias)
    add_link(graph, "multiclass", score)
    return graph.to_bytes(6, 3)


@pytest.mark.parametrize("last", ["MatMul", "Gemm"])
def test_it_is_what_the_last_layer_reads(last: str) -> None:
    embed = embedder(network(last=last))
    assert embed is not None
    assert embed(X) == pytest.approx(HIDDEN, abs=1e-5)
    assert embed(X[:0]).shape[0] == 0


def test_of_one_layer_it_is_what_that_reads() -> None:
    graph = Graph()
    scaled = graph.add("Mul", "x", graph.constant(np.float32(2)))
    add_link(graph, "multiclass", graph.add("MatMul", scaled, graph.constant(FIRST[:, :3])))
    embed = embedder(graph.to_bytes(6, 3))
    assert embed is not None
    assert embed(X) == pytest.approx(2 * X)


def test_a_quantized_graph_has_one_too(tmp_path: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    (tmp_path / "whole.onnx").write_bytes(network())
    quantize_dynamic(tmp_path / "whole.onnx", tmp_path / "small.onnx")
    content = (tmp_path / "small.onnx").read_bytes()
    assert b"MatMulInteger" in content
    embed = embedder(content)
    assert embed is not None
    assert embed(X) == pytest.approx(HIDDEN, abs=0.1)


def test_products_of_what_is_no_constant_are_not_the_last_layer() -> None:
    graph = Graph()
    hidden = graph.add("MatMul", "x", graph.constant(FIRST))
    # Attention multiplies what rows say with what rows say.
    turned = graph.add("Transpose", hidden, perm=[1, 0])
    mixed = graph.add("MatMul", hidden, graph.add("MatMul", turned, hidden))
    graph.add("ReduceMean", mixed, axes=[1], keepdims=1, output="y")
    assert embedding_name(graph.to_bytes(6, 1)) == "x"


def test_a_graph_without_a_product_has_none() -> None:
    graph = Graph()
    graph.add("ReduceMean", "x", axes=[1], keepdims=1, output="y")
    content = graph.to_bytes(6, 1)
    assert embedding_name(content) is None
    assert embedder(content) is None
