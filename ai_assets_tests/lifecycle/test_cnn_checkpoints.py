"""A fit that was killed goes on from its checkpoint; a fit may start from given weights."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.learners.checkpoints import Checkpoint, Progress
from ai_assets.lifecycle.learners.cnn import Cnn
from ai_assets.lifecycle.training.fitting import fit_model
from ai_assets.lifecycle.training.spec import Training
from ai_assets_tests.lifecycle.test_cnn import SMALL, fit, make_images

LONG = {"epochs": 18, "learning_rate": 3e-3}
CHILD = """
import sys, time
from pathlib import Path
from ai_assets_tests.lifecycle.test_cnn_checkpoints import LONG, Cnn, SMALL, make_images
def on_step(step, value):
    print(step, flush=True)
    time.sleep(0.1)
data = make_images()
Cnn("cpu", Path(sys.argv[1])).fit(
    data, data, SMALL | LONG, task="multiclass", seed=3, threads=1, on_step=on_step
)
"""


def test_after_a_kill_the_fit_goes_on_and_ends_with_the_same_weights(tmp_path: Path):
    kept = tmp_path / "state" / "cnn.safetensors"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(kept)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 13:
            break
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(timeout=20) == -signal.SIGKILL
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]

    steps: list[int] = []
    data = make_images()
    arguments = {"task": "multiclass", "seed": 3, "threads": 1}
    resumed = Cnn("cpu", kept).fit(
        data, data, SMALL | LONG, on_step=lambda step, _: steps.append(step), **arguments
    )
    whole = Cnn("cpu").fit(data, data, SMALL | LONG, **arguments)

    assert steps[0] in (11, 16) and steps[-1] == len(whole.curve)
    assert resumed.curve == whole.curve
    for name, value in whole.weights.arrays.items():
        assert np.array_equal(resumed.weights.arrays[name], value), name
    assert not kept.exists()


def test_a_declared_fit_that_was_stopped_goes_on(tmp_path: Path):
    kept, data, seen = tmp_path / "kept", make_images(), []

    def stop(step: int, value: float) -> None:
        if step == 7:
            raise KeyboardInterrupt

    def declared(on_step) -> None:
        fit_model(
            "cnn", data, data, SMALL, training=Training(families=["cnn"], device="cpu", threads=1),
            task="multiclass", on_step=on_step, checkpoint=kept,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        declared(stop)
    declared(lambda step, _: seen.append(step))
    assert seen[0] == 6


def test_a_checkpoint_of_another_fit_or_a_damaged_one_is_not_gone_on_from(tmp_path: Path):
    import torch

    path = tmp_path / "state.safetensors"
    kept = Checkpoint(path, "one", every=3)
    assert kept.read() is None
    kept.write(Progress({"a": torch.ones(2)}, {"done": 3, "best": 0.1}))
    found = kept.read()
    assert found is not None and found.about["best"] == 0.1
    assert found.tensors["a"].tolist() == [1, 1]
    assert Checkpoint(path, "another").read() is None
    path.write_bytes(path.read_bytes()[:20])
    assert kept.read() is None
    assert [kept.due(epoch) for epoch in (1, 3, 4, 6)] == [False, True, False, True]


def test_a_fit_starts_from_given_weights(tmp_path: Path):
    first = fit(epochs=15)
    first.save(tmp_path)
    given = {"weights": str(tmp_path / "weights.safetensors"), "learning_rate": 1e-4}
    started = fit(epochs=1, **given)
    fresh = fit(epochs=1, learning_rate=1e-4)
    assert started.curve[0]["validation"] < 0.5 * fresh.curve[0]["validation"]


def test_a_regression_starts_where_its_weights_left_off(tmp_path: Path):
    first = fit("regression", epochs=12)
    first.save(tmp_path)
    given = {"weights": str(tmp_path / "weights.safetensors"), "learning_rate": 1e-7, "shift": 0.0}
    given |= {"rotation": 0.0, "scale": 0.0, "erase": 0.0, "brightness": 0.0, "contrast": 0.0}
    again = fit("regression", epochs=1, **given)
    best = min(entry["validation"] for entry in first.curve)
    assert again.curve[0]["validation"] == pytest.approx(best, rel=0.5)


def test_the_last_layer_may_be_missing_in_the_given_weights(tmp_path: Path):
    from safetensors.numpy import save_file

    arrays = fit(epochs=2).weights.arrays
    body = {name: value for name, value in arrays.items() if not name.startswith("head.")}
    save_file(body, tmp_path / "body.safetensors")
    model = fit("binary", epochs=2, weights=str(tmp_path / "body.safetensors"))
    assert model.weights.arrays["head.weight"].shape == (1, 16)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path):
    from safetensors.numpy import save_file

    arrays = dict(fit(epochs=1).weights.arrays)
    arrays["extra"] = arrays.pop("stem.0.conv.weight")
    arrays["head.bias"] = np.zeros(7, dtype=np.float32)
    path = tmp_path / "wrong.safetensors"
    save_file(arrays, path)
    with pytest.raises(DataError) as raised:
        fit(weights=str(path))
    assert str(raised.value) == (
        f"weights '{path}' must fit the network, but stem.0.conv.weight is missing; extra is "
        "unknown; head.bias is [7] instead of [3]."
    )
    with pytest.raises(DataError, match="weights must be a safetensors file, but got"):
        fit(weights=str(tmp_path / "none.safetensors"))


def test_only_a_text_names_the_weights_and_only_numbers_the_rest():
    assert Training(parameters={"cnn": {"weights": "a.safetensors", "width": 24}}).parameters
    for given, words in (
        ({"weights": 1}, "weights of cnn must be a text, but got 1"),
        ({"width": "wide"}, "width of cnn must be a whole number of at least 1, but got 'wide'"),
    ):
        with pytest.raises(ValueError, match=words):
            Training(parameters={"cnn": given})
