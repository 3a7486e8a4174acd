"""An image network's smaller forms: which are tried, and that they answer like the winner."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from ai_assets.lifecycle.compression import image_networks
from ai_assets.lifecycle.compression.candidates import Measurement, build_candidates
from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.parity import onnx_parity_ok
from ai_assets.lifecycle.compression.plot import frontier, pareto
from ai_assets.lifecycle.compression.recipes import Candidate, Job, recipes_of
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.learners.cnn import CnnModel
from ai_assets.lifecycle.learners.cnn_graph import to_onnx
from ai_assets.lifecycle.learners.cnn_network import (
    Architecture,
    Weights,
    design,
    forward,
    images_of,
    load_arrays,
    network,
)
from ai_assets_tests.lifecycle.test_cnn import fit, make_images

FRESH = make_images(seed=8)


@pytest.fixture(scope="module")
def winner() -> CnnModel:
    return fit(width=16)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(image_networks, "STUDENT_EPOCHS", 20)
    monkeypatch.setattr(image_networks, "DENSE_EPOCHS", 60)
    monkeypatch.setattr(image_networks, "DENSE_UNITS", (32,))
    monkeypatch.setattr(image_networks, "TUNING_EPOCHS", 6)
    monkeypatch.setattr(image_networks, "STUDENT_WIDTHS", (8, 16))
    yield


def job(winner: CnnModel, *methods: str) -> Job:
    data = make_images()
    train, validation = data.take(np.arange(180)), data.take(np.arange(180, 240))
    spec = Compression(methods=list(methods)) if methods else Compression()
    return Job(winner, train, validation, spec, "multiclass", 0, 1, "cpu")


def hits(graph: bytes) -> float:
    found = run_session(open_session(graph), FRESH.x)
    return float((found.argmax(axis=1) == FRESH.y).mean())


def test_every_way_is_tried_once_and_answers_like_the_winner(winner):
    made = {c.name: c for c in build_candidates(job(winner))}

    networks = ["student_8", "student_16", "pruned_50", "pruned_75"]
    forms = [f"{name}{form}" for name in networks for form in ("", "_int8_weights", "_int8_static")]
    forms += ["dense_32", "dense_32_int8_weights"]
    alone = ["onnx", "int8_weights", "int8_static", "int8_dynamic", "sparse_80", "sparse_90"]
    assert sorted(made) == sorted(forms + alone)
    size = {name: len(candidate.onnx) for name, candidate in made.items()}
    assert size["int8_weights"] < size["onnx"] / 3 and size["student_8"] < size["student_16"]
    assert size["pruned_75"] < size["pruned_50"] < size["onnx"] / 2
    assert size["sparse_90"] < size["sparse_80"] < size["onnx"]
    for name, candidate in made.items():
        assert hits(candidate.onnx) > 0.85, name
        if candidate.model is not None:
            assert onnx_parity_ok(candidate.model, candidate, HeldOut(FRESH))[0], name
    zeros = np.concatenate(
        [
            value.ravel() == 0
            for name, value in made["sparse_90"].model.weights.arrays.items()
            if name.endswith("conv.weight")
        ]
    )
    assert zeros.mean() == pytest.approx(0.9, abs=0.01)


def test_one_candidate_can_be_built_alone_and_is_the_same(winner):
    wanted = job(winner, "student", "int8_weights")
    made = {c.name: c.onnx for c in build_candidates(wanted)}
    name = "student_8_int8_weights"
    (alone,) = build_candidates(wanted, only=name)
    assert (alone.name, alone.onnx) == (name, made[name])


def test_once_a_student_is_enough_no_larger_one_is_trained_in_any_form(winner):
    asked: list[str] = []

    def enough(candidate: Candidate) -> bool:
        asked.append(candidate.name)
        return True

    made = build_candidates(job(winner, "student", "int8_weights"), enough=enough)
    assert asked == ["student_8", "dense_32"]
    names = [candidate.name for candidate in made]
    students = ["student_8", "student_8_int8_weights", "dense_32", "dense_32_int8_weights"]
    assert names == ["onnx", "int8_weights", *students]


def test_forms_of_what_is_not_declared_are_left_out(winner):
    found = [recipe.name for recipe in recipes_of(job(winner, "pruning", "int8_static"))]
    assert "student_8_int8_static" in found  # as a recipe; of what is not built it is no candidate
    only = build_candidates(job(winner, "int8_static"))
    assert [candidate.name for candidate in only] == ["onnx", "int8_static"]


def test_a_student_imitates_its_teacher_rather_than_wrong_labels(winner):
    wrong = job(winner, "student")
    labels = np.random.default_rng(0).permutation(wrong.train.y)
    wrong.train.y[:] = labels
    architecture = image_networks.student_of(winner.weights.architecture, 16)
    student = image_networks.distil(wrong, architecture, 40)
    assert hits(student.to_onnx()) > 0.85


@pytest.mark.parametrize(
    ("shape", "stem"),
    [
        ((8, 8, 1), ((6, 2), (12, 2))),
        ((28, 40, 1), ((6, 2), (12, 2), (24, 2), (24, 2))),
        ((64, 64, 3), ((6, 2), (12, 2), (24, 2), (24, 2), (24, 2))),
    ],
)
def test_a_student_halves_the_sides_until_little_is_left(shape, stem):
    teacher = design(shape, 5, width=16, stages=3, blocks=2, stem_stride=1)
    student = image_networks.student_of(teacher, 6)
    assert (student.stem, student.blocks, student.outputs) == (stem, (), 5)


def test_a_dense_student_is_not_tried_where_it_is_larger_than_the_winner(winner, monkeypatch):
    monkeypatch.setattr(image_networks, "DENSE_UNITS", (32, 10**6, 64))
    names = [recipe.name for recipe in recipes_of(job(winner, "student"))]
    assert [name for name in names if name.startswith("dense")] == ["dense_32"]


def test_a_dense_layer_reads_colours_as_torch_does_wherever_the_image_lies():
    import torch

    shape, random = (8, 9, 3), np.random.default_rng(0)
    architecture = image_networks.dense_of(Architecture(shape, (), (), 4), 5)
    drawn = {
        name: random.normal(scale=0.3, size=size) for name, size in architecture.tensors().items()
    }
    drawn["dense.norm.running_var"] = np.full(5, 4.0)
    weights = Weights(architecture, {name: v.astype(np.float32) for name, v in drawn.items()})
    x = random.random((6, 2 + 8 * 9 * 3), dtype=np.float32)
    graph = to_onnx(weights, "multiclass", slice(2, 2 + 8 * 9 * 3), x.shape[1])
    layers = network(Architecture.from_json(architecture.to_json())).eval()
    load_arrays(layers, weights.arrays)
    with torch.no_grad():
        wanted = forward(layers, torch.from_numpy(images_of(x[:, 2:], shape))).softmax(1).numpy()
    assert np.abs(run_session(open_session(graph), x) - wanted).max() < 1e-5
    assert np.ptp(wanted, axis=0).max() > 0.01


def measured(name: str, size: int, p50: float, loss: float) -> Measurement:
    return Measurement(name, size, p50, 2 * p50, 0.5 + loss, loss, 0.0, 0.0)


ROWS = [
    measured("onnx", 300_000, 0.03, 0.0),
    measured("small", 20_000, 0.01, 0.01),
    measured("smallest", 10_000, 0.02, 0.05),
    measured("worse", 20_000, 0.02, 0.02),
]


def test_the_frontier_leaves_out_what_another_beats_in_everything():
    assert frontier(ROWS) == ["onnx", "small", "smallest"]
    assert frontier(ROWS[:1] * 2) == ["onnx", "onnx"]


def test_the_picture_is_a_small_png_that_never_changes():
    draw = partial(pareto, ROWS, "log_loss", "small")
    assert draw().startswith(b"\x89PNG") and 2_000 < len(draw()) < 60_000
    assert draw() == draw()
    assert pareto(ROWS, "log_loss", "onnx") != draw()
    assert pareto(ROWS[:1], "log_loss", "onnx").startswith(b"\x89PNG")
