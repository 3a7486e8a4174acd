"""Artifacts that could be served in place of the winner."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.compression.onnx_session import (
    open_session,
    run_session,
    single_row_latency,
)
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.learners.base import Dataset, Model, Task
from ai_assets.lifecycle.learners.lightgbm import LightGbm, LightGbmModel
from ai_assets.lifecycle.training.metrics import metric_value, sign

STUDENT = "student"
STUDENT_TREES = 100
STUDENT_LEAVES = (15, 31, 63)
"""Of the trees of each student that is tried, the smallest first."""
SMALLER_BY = 4


@dataclass(frozen=True)
class Candidate:
    """An artifact.

    Attributes:
        name: `onnx` (the winner as it is), `student_15` (distilled, with the most leaves that one
            of its trees has) or `int8` (quantized).
        family: Family of the model inside.
        onnx: The graph, from `x` float32 [N, F] to `y` float32 [N, K].
        model: The model that the graph was made from; None where it exists as a graph only.
        about: How it was made, for people.
    """

    name: str
    family: str
    onnx: bytes = field(repr=False)
    model: Model | None
    about: str


@dataclass(frozen=True)
class Measurement:
    """What a candidate is like, on validation rows.

    Attributes:
        name: The candidate's name.
        size: Bytes of the graph.
        p50: Median time to score one row on one core, in milliseconds.
        p99: 99th percentile of the same.
        metric: The training metric of the candidate.
        metric_loss: How much worse than the parent's it is; negative where it is better.
        max_difference: Largest difference of an output from the parent's.
        mean_difference: Mean difference of an output from the parent's.
    """

    name: str
    size: int
    p50: float
    p99: float
    metric: float
    metric_loss: float
    max_difference: float
    mean_difference: float


def build_candidates(
    winner: Model,
    train: Dataset,
    validation: Dataset,
    spec: Compression,
    *,
    task: Task,
    seed: int,
    threads: int,
    only: str | None = None,
    enough: Callable[[Candidate], bool] | None = None,
) -> list[Candidate]:
    """The winner's own graph first, then what the declaration and the winner's family allow.

    Students are tried from the smallest on, until one is enough.

    A linear winner has no student: nothing made of trees is smaller. A multiclass winner has none
    either: LightGBM learns no soft labels of several classes.

    Args:
        winner: the model.
        train: rows that a student learns from.
        validation: rows that stop it.
        spec: the declaration.
        task: what is predicted.
        seed: of the student.
        threads: of the student's training.
        only: name of the one to build; the others are left out.
        enough: whether a student is good enough for no larger one to be built. Default: none is.
    """

    def student(leaves: int) -> Candidate:
        made = distil(winner, train, validation, leaves, task=task, seed=seed, threads=threads)
        about = f"{made.iterations} trees of {leaves} leaves that learned the winner's answers"
        return Candidate(f"{STUDENT}_{leaves}", made.family, made.to_onnx(), made, about)

    recipes: dict[str, Callable[[], Candidate]] = {
        "onnx": lambda: Candidate(
            "onnx", winner.family, winner.to_onnx(), winner, "the winner itself"
        )
    }
    if spec.student and winner.family != "linear" and task != "multiclass":
        recipes |= {f"{STUDENT}_{leaves}": partial(student, leaves) for leaves in STUDENT_LEAVES}
    if winner.family == "mlp":
        recipes["int8"] = lambda: Candidate(
            "int8", "mlp", quantize(winner.to_onnx()), None, "hidden layers in 8-bit integers"
        )
    made: list[Candidate] = []
    found = False
    for name, build in recipes.items():
        is_student = name.startswith(STUDENT)
        if only not in (None, name) or (is_student and found):
            continue
        made.append(build())
        found = found or (is_student and enough is not None and enough(made[-1]))
    return made


def distil(
    winner: Model,
    train: Dataset,
    validation: Dataset,
    leaves: int,
    *,
    task: Task,
    seed: int,
    threads: int,
) -> LightGbmModel:
    """Fewer trees, of at most `leaves` leaves, fitted to the winner's answers (Hinton et al. 2015).

    It has a quarter of the trees of a LightGBM winner. Each tree sees half of the features and most
    of the rows: trees that differ miss the winner's answers on new rows by less, together.
    """
    trees = STUDENT_TREES
    if isinstance(winner, LightGbmModel):
        trees = max(1, winner.iterations // SMALLER_BY)
    params = LightGbm().defaults() | {
        # Few trees must take larger steps to arrive at all.
        "learning_rate": float(np.clip(20.0 / trees, 0.05, 0.4)),
        "num_leaves": leaves,
        "min_child_samples": 100,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "lambda_l2": 5.0,
    }
    if task == "binary":
        params |= {"objective": "cross_entropy", "metric": "cross_entropy"}
    student = LightGbm().fit(
        _imitating(winner, train),
        _imitating(winner, validation),
        params | {"iterations": trees},
        task="regression",
        seed=seed,
        threads=threads,
    )
    return replace(student, task=task)


def quantize(model: bytes) -> bytes:
    """Weights of the hidden layers as 8-bit integers, activations quantized as they come.

    The last layer stays as it is: it is tiny, and its rounding would reach the output undamped.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load_from_string(model)
    layers = [node.name for node in graph.graph.node if node.op_type == "MatMul"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            graph,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=layers[:-1],
            weight_type=QuantType.QInt8,
        )
        made = onnx.load(path)
    made.producer_name, made.producer_version, made.doc_string = "ai_assets", "", ""
    return made.SerializeToString(deterministic=True)


def measure(
    candidate: Candidate,
    validation: Dataset,
    parent: np.ndarray,
    *,
    metric: str,
    task: Task,
    repeats: int = 300,
) -> Measurement:
    """Measure a candidate through onnxruntime, as it would be served.

    Args:
        candidate: what to measure.
        validation: rows to measure on.
        parent: the winner's predictions [n, K] of these rows.
        metric: name of the training metric.
        task: what is predicted.
        repeats: single rows to time.
    """
    session: Any = open_session(candidate.onnx)
    predicted = run_session(session, validation.x)
    value = metric_value(metric, task, validation.y, predicted)
    loss = sign(metric) * (value - metric_value(metric, task, validation.y, parent))
    difference = np.abs(predicted - parent)
    p50, p99 = single_row_latency(session, validation.x, repeats)
    return Measurement(
        name=candidate.name,
        size=len(candidate.onnx),
        p50=p50,
        p99=p99,
        metric=value,
        metric_loss=loss,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )


def _imitating(winner: Model, data: Dataset) -> Dataset:
    return replace(data, y=winner.predict(data.x)[:, 0])
