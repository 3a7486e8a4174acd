"""The fine-tuned encoder: better than its start, the same each time, and after a kill."""

from dataclasses import replace

import numpy as np
import pytest

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset, Task, loss
from ai_assets.lifecycle.learners.encoder import Encoder
from ai_assets.lifecycle.learners.text_model import TextModel
from ai_assets.lifecycle.learners.transformer_torch import build_module, embed
from ai_assets.lifecycle.training.fitting import declared_family, fit_model
from ai_assets.lifecycle.training.spec import Training
from ai_assets_tests.lifecycle.text_worlds import TOKENS, topics, write_bert

QUICK = {"learning_rate": 3e-3, "head_rate": 1e-2, "C": 0.1, "trained_layers": 1}


class Killed(Exception):
    """The process ends here."""


@pytest.fixture
def encoder(tmp_path) -> str:
    return str(write_bert(tmp_path / "bert"))


def fit(
    encoder: str,
    /,
    data: Dataset | None = None,
    task: Task = "multiclass",
    family: Encoder | None = None,
    on_step=None,
    **params,
) -> TextModel:
    rows = topics(400) if data is None else data
    first = np.arange(len(rows)) < len(rows) * 3 // 4
    return (family or Encoder("cpu")).fit(
        rows.take(first), rows.take(~first), {"encoder": encoder} | QUICK | params,
        task=task, seed=1, threads=1, on_step=on_step,
    )  # fmt: skip


def weights(model: TextModel) -> dict[str, np.ndarray]:
    return model.transformer.weights | {"head": model.head.weight, "bias": model.head.bias}


def same(one: TextModel, other: TextModel) -> bool:
    return all(np.array_equal(v, weights(other)[k]) for k, v in weights(one).items())


def test_fine_tuning_answers_better_than_the_frozen_encoder(encoder):
    settings = {"encoder": encoder, "C": QUICK["C"]}
    probe = get_family("probe").fit(
        topics(400), None, settings, task="multiclass", seed=0, threads=1
    )
    tuned, fresh = fit(encoder), topics(300, seed=8)

    losses = [loss("multiclass", fresh.y, m.predict(fresh.x), None) for m in (probe, tuned)]

    assert losses[1] < 0.8 * losses[0]
    assert tuned.iterations == len(tuned.curve) == 4
    assert tuned.curve[-1]["validation"] < tuned.curve[0]["validation"]


def test_only_the_layers_that_are_named_change(encoder):
    tuned, frozen = fit(encoder, epochs=1), fit(encoder, iterations=0)

    changed = {
        name.split(".")[1]
        for name, value in tuned.transformer.weights.items()
        if not np.array_equal(value, frozen.transformer.weights[name])
    }

    assert changed == {"1"}
    assert not np.array_equal(tuned.head.weight, frozen.head.weight)


def test_the_graph_answers_like_the_module(encoder):
    data = topics(120, number=True)
    model = fit(encoder, data, epochs=1)
    tokens = data.x[:, 1:].astype(np.int64)

    np.testing.assert_allclose(
        model.embed(data.x), embed(build_module(model.transformer), tokens), atol=1e-6
    )
    given = run_session(open_session(model.to_onnx()), data.x)
    assert np.abs(given - model.predict(data.x)).max() < 1e-5
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)
    assert model.importances() == {"n": 0.0, "question": 1.0}


def test_twice_the_same_rows_give_the_same_weights_and_another_seed_others(encoder):
    one = fit(encoder, epochs=2)
    data = topics(400)
    other = Encoder("cpu").fit(
        data.take(np.arange(300)), None, {"encoder": encoder, **QUICK, "epochs": 2},
        task="multiclass", seed=2, threads=1,
    )  # fmt: skip

    assert same(one, fit(encoder, epochs=2))
    assert not same(one, other)


def test_a_refit_of_as_many_epochs_walks_the_same_path(encoder):
    steps: list[tuple[int, float]] = []
    chance = replace(topics(400), y=np.random.default_rng(77).integers(0, 3, 400).astype(float))
    stopped = fit(encoder, chance, on_step=lambda *at: steps.append(at), epochs=8)

    again = fit(encoder, chance, iterations=stopped.iterations, epochs=8)

    assert stopped.iterations < len(stopped.curve) == len(steps) < 8
    assert steps[-1] == (len(steps), stopped.curve[-1]["validation"])
    assert same(stopped, again)


@pytest.mark.parametrize("cached", [True, False])
def test_a_killed_fit_goes_on_and_ends_with_the_same_weights(
    encoder, tmp_path, monkeypatch, cached
):
    from ai_assets.lifecycle.learners import encoder_training

    if not cached:
        monkeypatch.setattr(encoder_training, "MOST_KEPT", 0)
    whole = fit(encoder, family=Encoder("cpu"))
    family = Encoder("cpu", checkpoint=tmp_path / "state")

    def kill(step: int, value: float) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        fit(encoder, family=family, on_step=kill)
    assert (tmp_path / "state").exists()
    steps: list[int] = []
    resumed = fit(encoder, family=family, on_step=lambda step, _: steps.append(step))

    assert steps == [3, 4]
    assert same(whole, resumed)
    assert resumed.curve == whole.curve
    assert not (tmp_path / "state").exists()


def test_a_declared_fit_that_was_stopped_goes_on(encoder, tmp_path):
    training = Training(families=["encoder"], device="cpu", threads=1)
    rows, steps = topics(120), []

    def declared(on_step) -> None:
        fit_model(
            "encoder", rows, rows, {"encoder": encoder} | QUICK, training=training,
            task="multiclass", on_step=on_step, checkpoint=tmp_path / "kept",
        )  # fmt: skip

    def kill(step: int, value: float) -> None:
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        declared(kill)
    declared(lambda step, _: steps.append(step))

    assert steps == [3, 4]


def test_the_declared_device_is_where_it_trains():
    assert declared_family("encoder", Training(device="cuda")).device == "cuda"


def test_the_state_of_another_fit_is_not_gone_on_from(encoder, tmp_path):
    family = Encoder("cpu", checkpoint=tmp_path / "state")

    def kill(step: int, value: float) -> None:
        raise Killed

    with pytest.raises(Killed):
        fit(encoder, family=family, on_step=kill)
    steps: list[int] = []
    fit(encoder, family=family, on_step=lambda step, _: steps.append(step), dropout=0.2)

    assert steps[0] == 1


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_other_tasks_are_learned_too(encoder, task):
    data = topics(400, classes=2)
    data = replace(data, y=data.y * 10 + 100) if task == "regression" else data
    fresh, middle = topics(200, classes=2, seed=9), 105 if task == "regression" else 0.5

    found = fit(encoder, data, task).predict(fresh.x)

    assert found.shape == (200, 1)
    assert ((found[:, 0] > middle) == fresh.y).mean() > 0.9


def test_a_saved_model_comes_back(encoder, tmp_path):
    model = fit(encoder, epochs=1)
    model.save(tmp_path / "model")

    read = get_family("encoder").load(tmp_path / "model")

    assert read.family == "encoder"
    assert read.to_onnx() == model.to_onnx()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"trained_layers": 0},
            "trained_layers of encoder must be a whole number of at least 1, but got 0",
        ),
        ({"dropout": 1.0}, "dropout of encoder must be a number from 0 to below 1, but got 1.0"),
        ({"encoder": "/nowhere"}, r"an encoder's folder must hold config\.json"),
    ],
)
def test_settings_that_cannot_be_are_refused(encoder, change, words):
    with pytest.raises(DeclarationError, match=words):
        fit(encoder, **change)


def test_texts_that_say_nothing_are_answered(encoder):
    model = fit(encoder, epochs=1)

    found = model.predict(np.zeros((2, TOKENS), dtype=np.float32))

    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
