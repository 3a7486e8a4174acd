"""Families that answer together: the mean of their logits, in one graph, when it pays."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.learners.blend import BlendModel, pool
from ai_assets.lifecycle.training.blending import blend_weights
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.compete import compete
from ai_assets.lifecycle.training.fitting import load_model, refit_model
from ai_assets.lifecycle.training.metrics import metric_value
from ai_assets.lifecycle.training.spec import Training
from ai_assets_tests.lifecycle.test_learners import fit, make_data, odd_rows, quick

MEMBERS = ("linear", "lightgbm", "mlp")
RANDOM = np.random.default_rng(0)
SCORE = RANDOM.normal(size=4000)
Y = (RANDOM.random(4000) < 1 / (1 + np.exp(-SCORE))).astype(float)


def blend(task: str = "binary") -> BlendModel:
    return BlendModel(task, [fit(name, task) for name in MEMBERS], [0.5, 0.3, 0.2])


def noisy(seed: int, scale: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=4000) * scale
    return (1 / (1 + np.exp(-(SCORE + noise))))[:, None]


def test_pooled_probabilities_are_the_mean_of_logits_and_pooled_values_of_values():
    odds = pool("binary", [np.array([[0.8]]), np.array([[0.2]])], [0.75, 0.25])
    assert odds[0, 0] == pytest.approx(2 / 3)  # logits 1.386 * 0.75 - 1.386 * 0.25 = log(2)
    values = pool("regression", [np.array([[10.0]]), np.array([[20.0]])], [0.75, 0.25])
    assert values[0, 0] == 12.5
    many = pool("multiclass", [np.array([[0.5, 0.4, 0.1]]), np.array([[0.5, 0.1, 0.4]])], [0.5] * 2)
    assert many.sum() == pytest.approx(1)
    assert many[0, 1] == many[0, 2] == pytest.approx(0.2 / (0.5 + 2 * 0.2))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "count"])
def test_the_graph_answers_like_the_members_together(task):
    model, x = blend(task), odd_rows()
    given, expected = run_session(open_session(model.to_onnx()), x), model.predict(x)
    assert expected.shape == (200, 3 if task == "multiclass" else 1)
    assert (np.abs(given - expected) / np.maximum(1, np.abs(expected))).max() < 1e-5


def test_a_saved_blend_comes_back_the_same(tmp_path: Path):
    model, x = blend(), odd_rows()
    model.save(tmp_path)
    again = load_model("blend", tmp_path, Training())
    assert (again.predict(x) == model.predict(x)).all()
    assert again.to_onnx() == model.to_onnx()
    assert sum(again.importances().values()) == pytest.approx(1)


def test_a_refitted_blend_keeps_its_weights_and_each_members_rounds():
    model = blend()
    params = {name: quick(name) for name in MEMBERS}
    again = refit_model(
        model, make_data(), params, training=Training(threads=1, seed=3), task="binary"
    )
    assert again.weights == model.weights
    rounds = [[m.iterations for m in b.members[1:]] for b in (again, model)]
    assert rounds[0] == rounds[1]
    assert (again.predict(odd_rows()) != model.predict(odd_rows())).any()


def test_a_family_that_only_adds_noise_gets_no_weight():
    def loss(p: np.ndarray) -> float:
        # Uncalibrated, noise would have a use: it makes members that are too sure less so.
        return metric_value("log_loss", "binary", Y, fit_calibration("sigmoid", p, Y).apply(p))

    good, other, noise = noisy(1), noisy(2), np.random.default_rng(3).random((4000, 1))
    weights = blend_weights({"a": good, "b": other, "c": noise}, task="binary", loss=loss)
    assert set(weights) == {"a", "b"}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["a"] == pytest.approx(0.5, abs=0.15)


def test_a_blend_wins_where_it_is_clearly_better():
    result = compete(
        Y, {"a": noisy(1), "b": noisy(2)}, metric="log_loss", task="binary", seed=0, blend=True
    )
    assert result.winner == "blend"
    assert set(result.weights) == {"a", "b"}
    assert result.table["family"][0] == "blend"
    assert result.table["clear"].to_list() == [None, True, True]


def test_a_blend_that_is_not_clearly_better_leaves_the_best_family():
    best = noisy(1, 0.2)
    nearly = np.clip(best + np.random.default_rng(5).normal(size=best.shape) * 0.003, 0.01, 0.99)
    result = compete(
        Y, {"a": best, "b": nearly}, metric="log_loss", task="binary", seed=0, blend=True
    )
    assert result.winner in ("a", "b")
    assert result.weights == {result.winner: 1.0}
    if result.table["family"][0] == "blend":
        assert "would cost more" in result.why


def test_without_leave_no_blend_takes_part():
    result = compete(Y, {"a": noisy(1), "b": noisy(2)}, metric="log_loss", task="binary", seed=0)
    assert result.table["family"].to_list() == [result.winner, "b" if result.winner == "a" else "a"]


def test_declared_parameters_must_exist():
    given = {"lightgbm": {"min_child_sampels": 10}}
    with pytest.raises(ValidationError, match="min_child_samples"):
        Training(parameters=given)
    with pytest.raises(ValidationError, match="lightgbm"):
        Training(parameters={"lightgmb": {}})
