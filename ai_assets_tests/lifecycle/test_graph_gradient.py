"""The gradient of a served graph: by finite differences, through 8 bits, and what PGD finds."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from ai_assets.lifecycle.compression.image_networks import DYNAMIC_KINDS, STATIC_KINDS
from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.quantization import (
    dynamic_int8,
    int8_weights,
    sparse_weights,
    static_int8,
)
from ai_assets.lifecycle.evaluation import attacks
from ai_assets.lifecycle.evaluation.graph_gradient import GraphGradient, graph_gradient
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.graphs import Graph
from ai_assets_tests.lifecycle.test_cnn import fit, make_images

EPSILON = 0.08
STEP = 2.0**-12
FORMS = {
    "whole": lambda graph: graph,
    "int8_weights": int8_weights,
    "sparse": sparse_weights,
    "int8_static": lambda graph: static_int8(graph, rows().x, STATIC_KINDS),
    "int8_dynamic": lambda graph: dynamic_int8(graph, DYNAMIC_KINDS),
}


def rows(task: str = "multiclass", count: int = 60, seed: int = 5) -> Dataset:
    """Images, and before them a number that is known, so that families of tables read them too."""
    data = make_images(task, count, seed)
    data.x[:, 0] = 1.0
    return data


@cache
def network(task: str = "multiclass") -> bytes:
    return fit(task, epochs=6).to_onnx()


@cache
def of_family(name: str, task: str = "multiclass") -> bytes:
    family = get_family(name)
    given = rows(task, 180, 0), rows(task, 60, 1), family.defaults()
    return family.fit(*given, task=task, seed=1, threads=1).to_onnx()


def slope_of(graph: bytes) -> GraphGradient:
    found = graph_gradient(graph)
    assert found is not None
    return found


def lead(slope: GraphGradient, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    scores, at = slope.scores(x), np.arange(len(x))
    right = scores[at, y].copy()
    scores[at, y] = -np.inf
    return scores.max(axis=1) - right


def difference(
    slope: GraphGradient, x: np.ndarray, y: np.ndarray, column: int, step: float
) -> np.ndarray:
    """How much the lead grows to one side, by as much of the column."""
    moved = x.copy()
    moved[:, column] += step
    wide = moved[:, column].astype(np.float64) - x[:, column]
    return (lead(slope, moved, y) - lead(slope, x, y)) / wide


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("cnn", "multiclass"), ("cnn", "binary"), ("linear", "multiclass"), ("linear", "binary"),
        ("mlp", "multiclass"),
    ],
)  # fmt: skip
def test_the_gradient_is_that_of_finite_differences(name, task):
    graph = network(task) if name == "cnn" else of_family(name, task)
    data = rows(task)
    y, slope = data.y.astype(np.int64), replace(slope_of(graph), precision="float64")

    found = slope(data.x, y)

    assert slope.exact and found.shape == data.x.shape
    assert slope_of(graph)(data.x, y) == pytest.approx(found, rel=1e-2, abs=1e-4)
    assert np.abs(found[:, 1:]).max(axis=1).min() > 0
    for column in (1, 10, 20, 37, 50, 64):
        after, before = (difference(slope, data.x, y, column, by) for by in (STEP, -STEP))
        # Between some of them lies a kink of a rectifier or a limit of the preparation.
        smooth = np.isclose(after, before, rtol=1e-3, atol=1e-5)
        assert smooth.mean() > 0.5
        wanted = ((after + before) / 2)[smooth]
        assert found[smooth, column] == pytest.approx(wanted, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_it_computes_what_the_runtime_computes_in_every_form(form):
    graph, x = FORMS[form](network()), rows().x
    slope = slope_of(graph)

    scores = slope.scores(x)

    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    assert np.abs(chances - run_session(open_session(graph), x)).max() < 1e-5
    assert slope.exact == (form not in ("int8_static", "int8_dynamic"))


def test_through_8_bits_the_gradient_is_nearly_that_of_the_whole_network():
    data, y = rows(), rows().y.astype(np.int64)
    whole = slope_of(network())(data.x, y)[:, 1:]
    for form in ("int8_static", "int8_dynamic"):
        small = slope_of(FORMS[form](network()))(data.x, y)[:, 1:]
        alike = (whole * small).sum() / np.linalg.norm(whole) / np.linalg.norm(small)
        assert alike > 0.9


def test_pieces_of_a_batch_give_the_same(monkeypatch):
    from ai_assets.lifecycle.evaluation import graph_gradient as module

    data, slope = rows(), slope_of(network())
    y = data.y.astype(np.int64)
    whole = slope(data.x, y)
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 7 * data.x.shape[1])
    assert slope(data.x, y) == pytest.approx(whole, abs=1e-6)


def test_where_a_model_is_entirely_sure_there_is_a_slope_all_the_same():
    graph = Graph()
    weight = np.array([[900.0, -900.0], [0.0, 0.0]], dtype=np.float32)
    graph.add("Softmax", graph.add("MatMul", "x", graph.constant(weight)), output="y", axis=1)
    made = graph.to_bytes(2, 2)
    x, y = np.ones((1, 2), dtype=np.float32), np.array([0])

    assert run_session(open_session(made), x)[0, 0] == 1.0
    assert slope_of(made)(x, y).tolist() == [[-1800.0, 0.0]]


def test_probabilities_without_a_link_have_a_gradient_too():
    graph = Graph()
    weight = np.array([[0.2, 0.0], [0.0, 0.4]], dtype=np.float32)
    graph.add("MatMul", "x", graph.constant(weight), output="y")
    x, y = np.ones((1, 2), dtype=np.float32), np.array([0])
    # log(0.4 b) - log(0.2 a)
    assert slope_of(graph.to_bytes(2, 2))(x, y) == pytest.approx(np.array([[-1.0, 1.0]]))


def test_trees_have_none():
    assert graph_gradient(of_family("lightgbm")) is None


@pytest.mark.parametrize("form", FORMS)
def test_pgd_leaves_no_more_than_fgsm_and_both_stay_in_bounds(form):
    graph, data = FORMS[form](network()), rows(count=120)
    y, slope, session = data.y.astype(np.int64), slope_of(graph), open_session(graph)

    def whole(pixels: np.ndarray) -> np.ndarray:
        return np.concatenate([data.x[:, :1], pixels], axis=1).astype(np.float32)

    def loss(pixels: np.ndarray) -> np.ndarray:
        return attacks.margin_loss(run_session(session, whole(pixels)), y)

    def gradient(pixels: np.ndarray) -> np.ndarray:
        return slope(whole(pixels), y)[:, 1:]

    x = data.x[:, 1:]
    once = attacks.fgsm(x, gradient, EPSILON)
    walked = attacks.pgd(x, gradient, loss, EPSILON, 20)
    guessed = attacks.fgsm(x, attacks.estimated_gradient(loss, 1), EPSILON)

    right = [float(np.mean(loss(rows) <= 0)) for rows in (x, once, walked, guessed)]
    assert right[2] <= right[1] < right[0] - 0.1
    assert right[2] <= right[3]
    assert (loss(walked) >= np.maximum(loss(once), loss(x))).all()
    for moved in (once, walked):
        assert np.abs(moved.astype(np.float64) - x).max() <= EPSILON + 1e-6
        assert moved.min() >= 0 and moved.max() <= 1
