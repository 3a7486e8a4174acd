"""8-bit and sparse forms of a graph: how much smaller, and how near to it they answer."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.quantization import (
    dynamic_int8,
    int8_weights,
    sparse_weights,
    static_int8,
)
from ai_assets.lifecycle.learners.cnn_graph import to_onnx
from ai_assets.lifecycle.learners.cnn_network import Weights, arrays_of, design, network
from ai_assets.lifecycle.learners.graphs import Graph

X = np.random.default_rng(0).random((60, 64), dtype=np.float32)


@pytest.fixture(scope="module")
def weights() -> Weights:
    import torch

    torch.manual_seed(0)
    made = design((8, 8, 1), 4, width=16, stages=2, blocks=1, stem_stride=1)
    layers = network(made)
    for name, value in layers.state_dict().items():
        if name.endswith("norm.weight"):
            value.fill_(1.0)
    return Weights(made, arrays_of(layers))


@pytest.fixture(scope="module")
def plain(weights: Weights) -> bytes:
    return to_onnx(weights, "multiclass", slice(0, 64), 64)


def answers(graph: bytes) -> np.ndarray:
    return run_session(open_session(graph), X)


def operators(graph: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]


def constants(graph: bytes) -> dict[str, np.ndarray]:
    found = onnx.load_from_string(graph).graph.initializer
    return {each.name: numpy_helper.to_array(each) for each in found}


def test_stored_8_bit_weights_are_a_quarter_and_each_is_off_by_half_a_step_at_most(plain):
    small = int8_weights(plain)

    assert len(small) < 0.35 * len(plain)
    assert np.abs(answers(small) - answers(plain)).max() < 0.02
    before = {
        c.name: numpy_helper.to_array(c) for c in onnx.load_from_string(plain).graph.initializer
    }
    after = {
        c.name: numpy_helper.to_array(c) for c in onnx.load_from_string(small).graph.initializer
    }
    changed = [name for name in before if name not in after]
    assert len(changed) == 5
    for name in changed:
        restored = after[f"{name}q"].astype(np.float32) * after[f"{name}s"]
        assert (np.abs(restored - before[name]) <= after[f"{name}s"] * 0.5001).all()
        assert after[f"{name}s"].size == before[name].shape[0]
    assert int8_weights(plain) == small


def test_a_scale_for_each_column_of_a_product_and_each_row_of_a_table():
    graph = Graph()
    table = np.arange(1, 41, dtype=np.float32)[:, None] * np.ones((40, 8), dtype=np.float32)
    wide = np.ones((8, 50), dtype=np.float32) * 10.0 ** np.arange(-5, 45, dtype=np.float32)[:50]
    wide = np.minimum(wide, 1e4)
    index = graph.add("Cast", "x", to=7)
    rows = graph.add("Gather", graph.constant(table), index, axis=0)
    flat = graph.add("Reshape", rows, graph.constant(np.array([-1, 8], dtype=np.int64)))
    graph.add("MatMul", flat, graph.constant(wide), output="y")
    plain = graph.to_bytes(1, 50)
    x = np.arange(40, dtype=np.float32)[:, None]
    expected, given = (run_session(open_session(g), x) for g in (plain, int8_weights(plain)))
    # Constant columns and rows lose nothing but float32's own rounding.
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_static_int8_computes_in_integers_and_answers_alike(plain):
    small = static_int8(plain, X, ("Conv", "Add", "GlobalAveragePool"))
    assert "QuantizeLinear" in operators(small) and "DequantizeLinear" in operators(small)
    assert len(small) < 0.6 * len(plain)
    assert 0 < np.abs(answers(small) - answers(plain)).max() < 0.1
    assert static_int8(plain, X, ("Conv", "Add", "GlobalAveragePool")) == small


def test_dynamic_int8_leaves_the_last_layer_as_it_is(plain):
    small = dynamic_int8(plain, ("Conv", "MatMul"))
    found = operators(small)
    assert found.count("ConvInteger") == 6 and found.count("MatMul") == 1
    assert 0 < np.abs(answers(small) - answers(plain)).max() < 0.1


def test_a_row_in_dynamic_int8_is_answered_alike_alone_and_among_others(plain):
    session = open_session(dynamic_int8(plain, ("Conv", "MatMul")))
    bright = X * np.linspace(0.1, 5, len(X), dtype=np.float32)[:, None]
    alone = np.concatenate([run_session(session, row[None]) for row in bright])
    assert np.abs(alone - run_session(session, bright)).max() < 1e-6


def test_sparse_weights_answer_the_same_and_are_smaller_where_most_are_0(weights, plain):
    random = np.random.default_rng(1)
    emptied = {
        name: value * (random.random(value.shape) < 0.1) if name.endswith("conv.weight") else value
        for name, value in weights.arrays.items()
    }
    arrays = {name: value.astype(np.float32) for name, value in emptied.items()}
    dense = to_onnx(Weights(weights.architecture, arrays), "multiclass", slice(0, 64), 64)
    small = sparse_weights(dense)
    assert len(small) < 0.5 * len(dense)
    assert np.array_equal(answers(small), answers(dense))
    # Weights that are not 0 are not blown up.
    assert len(sparse_weights(plain)) <= len(plain)
