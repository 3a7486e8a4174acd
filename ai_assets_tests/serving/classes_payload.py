"""The small payload with several classes: a softmax over the same four features."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import small_payload as small

from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.resources.signer import Signer

# Words that are no names of GraphQL, need more than one byte a letter, and hold a comma.
CLASSES = ("früh", "pünktlich, fast", "遅い")
MANY = tuple(f"Klasse №{at} – {'äöüß'[at % 4]}" for at in range(39))
TEMPERATURE = 0.9
FACTS = {**small.FACTS, "task": "multiclass"}


def weights(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [4, K] and shifts [K] of so many classes."""
    steps = np.linspace(-1.0, 1.0, count)
    return np.outer(small.WEIGHTS, steps), 2 * np.cos(2 * np.arange(count))


def expected(seen: Sequence[Sequence[float]], count: int = len(CLASSES)) -> np.ndarray:
    """The calibrated probabilities [n, K] of rows of the encoded matrix, as one computes them."""
    factors, shifts = weights(count)
    powers = np.exp(TEMPERATURE * (np.asarray(seen) @ factors + shifts))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def model(count: int, always: int | None = None) -> bytes:
    """A softmax over K classes; an unknown number counts as 0, as -1 does for texts.

    Args:
        count: K.
        always: the number of the class that it answers whatever it is asked; None for any.
    """
    from onnx import TensorProto, helper, numpy_helper

    factors, shifts = weights(count)
    if always is not None:
        shifts[always] += 10
    nodes = [
        helper.make_node("IsNaN", ["x"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "x"], ["filled"]),
        helper.make_node("MatMul", ["filled", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    constants = {"w": factors, "b": shifts, "zero": np.zeros(1)}
    graph = helper.make_graph(
        nodes,
        "trips",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(small.WEIGHTS)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, count])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def turn(folder: Path, classes: Sequence[str] = CLASSES, always: int | None = None) -> None:
    """Let an unsigned payload tell classes apart; `always` as of `model`."""
    (folder / "model.onnx").write_bytes(model(len(classes), always))
    decision = Decision("multiclass", classes=tuple(classes))
    (folder / "decision.json").write_text(decision.to_json(), encoding="utf-8")
    calibration = Calibration("sigmoid", TEMPERATURE)
    (folder / "calibration.json").write_text(calibration.to_json(), encoding="utf-8")


def signed_payload(folder: Path, keys: Path, classes: Sequence[str] = CLASSES) -> Path:
    """A payload as the asset `bundle` makes it of a product with classes."""
    small.write_payload(folder)
    turn(folder, classes)
    Signer(key_path=str(keys / "key.pem")).sign(folder, FACTS)
    return folder
