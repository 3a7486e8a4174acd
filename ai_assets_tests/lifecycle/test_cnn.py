"""The image network learns, exports what torch computes, and gives the same bytes again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.cnn import Cnn, CnnModel
from ai_assets.lifecycle.learners.cnn_network import (
    Weights,
    arrays_of,
    design,
    features,
    forward,
    images_of,
    load_arrays,
    network,
)

SMALL = {"width": 8, "stages": 2, "epochs": 12, "batch": 32, "dropout": 0.0}


def make_images(task: str = "multiclass", rows: int = 240, seed: int = 0) -> Dataset:
    """A bright bar on a dark, noisy ground: where it lies, or how bright it is, is to be learned.

    An ordinary number comes before the image, so that the image does not begin the matrix.
    """
    random = np.random.default_rng(seed)
    where = random.integers(0, 3, rows)
    bright = 0.4 + 0.6 * random.random(rows)
    images = 0.1 * random.random((rows, 8, 8))
    images[np.arange(rows), 1 + 2 * where] += bright[:, None]
    y = {"multiclass": where, "binary": where == 1, "regression": 50 + 10 * bright}[task]
    columns = (EncodedColumn("n", "numeric"), EncodedColumn("image", "image", (), (8, 8, 1)))
    x = np.concatenate([np.full((rows, 1), np.nan), images.clip(0, 1).reshape(rows, -1)], axis=1)
    return Dataset(x.astype(np.float32), y.astype(np.float64), None, Encoding(columns))


def fit(task: str = "multiclass", family: Cnn | None = None, seed: int = 3, **more) -> CnnModel:
    data = make_images(task)
    train, validation = data.take(np.arange(180)), data.take(np.arange(180, 240))
    params = (family or Cnn()).defaults() | SMALL | more
    return (family or Cnn("cpu")).fit(train, validation, params, task=task, seed=seed, threads=1)


def torch_scores(model: CnnModel, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import torch

    layers = network(model.weights.architecture)
    load_arrays(layers, model.weights.arrays)
    layers.eval()
    pixels = x[:, slice(*model.place)]
    images = torch.from_numpy(images_of(pixels, model.weights.architecture.shape))
    with torch.no_grad():
        return forward(layers, images).numpy(), features(layers, images).numpy()


def test_it_learns_and_knows_nothing_but_the_image():
    model, fresh = fit(), make_images(seed=5)
    assert (model.predict(fresh.x).argmax(axis=1) == fresh.y).mean() > 0.95
    assert model.importances() == {"n": 0.0, "image": 1.0}
    assert model.family == "cnn" and get_family("cnn").name == "cnn"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_graph_answers_like_torch_in_any_batch_size(task):
    model, x = fit(task, epochs=4), make_images(seed=9, rows=50).x
    scores, wanted = torch_scores(model, x)
    if task == "binary":
        scores = 1 / (1 + np.exp(-scores))
    if task == "multiclass":
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    size = np.maximum(1, np.abs(scores))
    assert (np.abs(model.predict(x) - scores) / size).max() < 1e-5
    session = open_session(model.to_onnx())
    for rows in (1, 7):
        assert (np.abs(run_session(session, x[:rows]) - scores[:rows]) / size[:rows]).max() < 1e-5
    embedded = model.embed(x)
    assert (embedded.shape, embedded.dtype) == ((50, 16), np.float32)
    assert np.abs(embedded - wanted).max() < 1e-5


def test_a_regression_answers_in_the_unit_of_its_target():
    model, fresh = fit("regression", epochs=15), make_images("regression", seed=5)
    predicted = model.predict(fresh.x)[:, 0]
    assert np.abs(predicted - fresh.y).mean() < fresh.y.std() / 3


@pytest.mark.parametrize(
    ("shape", "stem"),
    [
        ((8, 8, 1), 1), ((8, 12, 3), 2), ((28, 28, 1), 1), ((64, 48, 3), 1), ((224, 224, 3), 1),
    ],
)  # fmt: skip
def test_any_size_of_image_has_a_network_whose_graph_torch_agrees_with(shape, stem):
    import torch

    torch.manual_seed(0)
    made = design(shape, 4, width=4, stages=3, blocks=2, stem_stride=stem)
    layers = network(made)
    for name, value in layers.state_dict().items():  # as if trained: nothing is 0 or 1
        if "norm" in name and value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    columns = int(np.prod(shape))
    weights, place = Weights(made, arrays_of(layers)), (0, columns)
    model = CnnModel("multiclass", weights, ["image"], "image", place, columns, {}, 1, [])
    x = np.random.default_rng(0).random((3, columns), dtype=np.float32)
    scores, wanted = torch_scores(model, x)
    assert np.abs(model.embed(x) - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())
    sides = [min(shape[:2]) // 2**k for k in range(9)]
    assert scores.shape == (3, 4) and made.stem[0][1] == (2 if stem == 2 or sides[0] > 32 else 1)
    assert {name: value.shape for name, value in arrays_of(layers).items()} == made.tensors()


@pytest.mark.parametrize("shape", [(8, 8), (7, 9, 1), (8, 8, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(DataError, match=r"the shape of an image must be \[height, width, 1 or 3\]"):
        design(shape, 2, width=4, stages=1, blocks=1, stem_stride=1)


def test_features_without_an_image_are_refused():
    data = Dataset(
        np.zeros((4, 1), "f4"), np.arange(4) % 2.0, None, Encoding((EncodedColumn("n", "numeric"),))
    )
    with pytest.raises(DataError, match=r"must be an image, but got .?n \(numeric\)"):
        Cnn().fit(data, None, {}, task="binary", seed=0, threads=1)


def test_a_saved_model_comes_back_the_same_and_equal_fits_give_equal_bytes(tmp_path: Path):
    models = [fit(epochs=3), fit(epochs=3)]
    for at, model in enumerate(models):
        model.save(tmp_path / str(at))
    read = [sorted((tmp_path / str(at)).iterdir()) for at in range(2)]
    assert [path.name for path in read[0]] == ["model.json", "weights.safetensors"]
    assert [p.read_bytes() for p in read[0]] == [p.read_bytes() for p in read[1]]
    again, x = Cnn().load(tmp_path / "0"), make_images(seed=9).x
    assert again.to_onnx() == models[0].to_onnx()
    assert np.array_equal(again.predict(x), models[1].predict(x))
    assert (again.iterations, again.curve) == (models[0].iterations, models[0].curve)
    other = fit(epochs=3, seed=4)
    assert other.to_onnx() != again.to_onnx()


def test_a_refit_of_as_many_epochs_walks_the_same_path():
    model = fit(epochs=16, learning_rate=0.05)
    assert 1 <= model.iterations <= len(model.curve)
    params = SMALL | {"epochs": 16, "learning_rate": 0.05, "iterations": model.iterations}
    train = make_images().take(np.arange(180))
    again = Cnn("cpu").fit(train, None, params, task="multiclass", seed=3, threads=1)
    assert again.iterations == model.iterations
    assert again.to_onnx() == model.to_onnx()


def test_it_stops_where_validation_improves_no_more():
    data = make_images()
    noise = replace(data, y=np.random.default_rng(0).integers(0, 3, len(data)).astype(np.float64))
    model = Cnn("cpu").fit(
        data, noise, SMALL | {"epochs": 40}, task="multiclass", seed=0, threads=1
    )
    losses = [entry["validation"] for entry in model.curve]
    assert len(losses) < 40
    assert losses[model.iterations - 1] == min(losses)


def test_weights_of_rows_decide_between_contradicting_labels():
    data = make_images("binary", rows=120)
    twice = replace(
        data,
        x=np.concatenate([data.x, data.x]),
        y=np.concatenate([data.y, 1 - data.y]),
        weight=np.repeat([9.0, 1.0], 120),
    )
    model = Cnn("cpu").fit(
        twice, None, SMALL | {"iterations": 12}, task="binary", seed=0, threads=1
    )
    assert ((model.predict(data.x)[:, 0] > 0.5) == data.y).mean() > 0.9


def test_what_on_step_raises_stops_the_fit():
    def on_step(step: int, value: float) -> None:
        assert step == 1 and value > 0
        raise KeyboardInterrupt

    data = make_images(rows=60)
    with pytest.raises(KeyboardInterrupt):
        Cnn().fit(data, data, SMALL, task="multiclass", seed=0, threads=1, on_step=on_step)
