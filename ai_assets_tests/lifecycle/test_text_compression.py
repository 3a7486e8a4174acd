"""Text models in 8-bit integers and with fewer layers."""

from dataclasses import replace

import numpy as np
import pytest

from ai_assets.lifecycle.compression.candidates import build_candidates
from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.recipes import Job
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.compression.text import in_int8, int8_of, with_fewer_layers
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.text_model import TextModel
from ai_assets.lifecycle.learners.transformer import Architecture
from ai_assets_tests.lifecycle.text_worlds import topics, write_bert

WIDE = Architecture(60, 16, width=64, layers=3, heads=4, inner=256)


@pytest.fixture(scope="module")
def winner(tmp_path_factory) -> TextModel:
    folder = write_bert(tmp_path_factory.mktemp("bert"), WIDE)
    return get_family("probe").fit(
        topics(300), None, {"encoder": str(folder)}, task="multiclass", seed=0, threads=1
    )


def test_int8_is_off_by_half_a_step_of_each_column_at_most():
    matrix = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32) * np.logspace(
        -4, 2, 6
    )
    matrix[:, 2] = 0

    numbers, scale = int8_of(matrix.astype(np.float32), axis=0)

    assert numbers.dtype == np.int8
    assert scale.shape == (1, 6)
    assert np.abs(numbers[:, [0, 1, 3, 4, 5]]).max(axis=0).tolist() == [127] * 5
    assert (np.abs(numbers * scale - matrix) <= scale / 2 * 1.001).all()


def test_int8_is_smaller_and_answers_alike(winner):
    x, made = topics(200, seed=4).x, in_int8(winner)
    expected = winner.predict(x)

    given = run_session(open_session(made), x)

    assert len(winner.to_onnx()) / len(made) > 3
    assert np.abs(given - expected).max() < 0.015
    assert (given.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.97
    assert made == in_int8(winner)


def test_the_matrices_of_the_graph_are_multiplied_as_integers(winner):
    import onnx

    nodes = [node.op_type for node in onnx.load_from_string(in_int8(winner)).graph.node]

    # Query, key and value as one, what is mixed, inner, outer: four of each of three layers.
    assert nodes.count("MatMulInteger") == nodes.count("QuantizeLinear") == 12


def test_a_text_in_int8_is_answered_alike_alone_and_among_others(winner):
    x, session = topics(200, seed=4).x, open_session(in_int8(winner))

    together = run_session(session, x)

    alone = np.concatenate([run_session(session, row[None]) for row in x])
    assert np.abs(alone - together).max() < 1e-6


def test_fewer_layers_learn_the_answers_of_the_winner(winner):
    train, fresh = topics(300), topics(200, seed=4)
    settings = {"learning_rate": 3e-3, "head_rate": 1e-2}

    made = with_fewer_layers(winner, train, None, 2, seed=0, threads=1, settings=settings)

    assert made.transformer.architecture.layers == 2
    assert made.family == "probe"
    assert len(made.curve) == 6
    assert made.curve[-1]["train"] < made.curve[0]["train"]
    right = [(m.predict(fresh.x).argmax(axis=1) == fresh.y).mean() for m in (winner, made)]
    assert right[1] > right[0] - 0.02
    again = with_fewer_layers(winner, train, None, 2, seed=0, threads=1, settings=settings)
    assert again.to_onnx() == made.to_onnx()


def test_validation_stops_the_fine_tuning_of_fewer_layers(winner):
    train = topics(60)
    made = with_fewer_layers(
        winner, train, topics(60, seed=3), 1, seed=0, threads=1,
        settings={"learning_rate": 0.3, "epochs": 20, "head_rate": 0.5},
    )  # fmt: skip

    assert made.iterations < len(made.curve) < 20


@pytest.mark.parametrize("layers", [0, 3])
def test_as_many_layers_as_there_are_is_not_fewer(winner, layers):
    with pytest.raises(DataError, match=f"layers must be from 1 to 2, but got {layers}"):
        with_fewer_layers(winner, topics(20), None, layers, seed=0, threads=1)


def test_the_search_tries_int8_and_fewer_layers_from_the_fewest_on(winner):
    train, validation = topics(60), topics(40, seed=3)
    job = Job(winner, train, validation, Compression(), "multiclass", 0, 1, "cpu")

    every = build_candidates(job)
    enough = build_candidates(job, enough=lambda candidate: candidate.name == "layers_1")
    alone = build_candidates(job, only="layers_1_int8")

    names = ["onnx", "int8_dynamic", "layers_1", "layers_1_int8", "layers_2", "layers_2_int8"]
    assert [candidate.name for candidate in every] == names
    assert [candidate.name for candidate in enough] == names[:4]
    assert every[1].onnx == in_int8(winner)
    assert [len(c.onnx) for c in every[2:4]] < [len(c.onnx) for c in every[4:]]
    assert [candidate.onnx for candidate in alone] == [every[3].onnx]
    only_int8 = replace(job, spec=Compression(methods=["int8_dynamic"]))
    assert [c.name for c in build_candidates(only_int8)] == names[:2]
