"""Text models made smaller: their matrices in 8-bit integers, and with fewer layers."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.lifecycle.compression.recipes import Candidate, Job, Recipe
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.encoder import FAMILY as ENCODER
from ai_assets.lifecycle.learners.text_model import TextModel, text_graph
from ai_assets.lifecycle.learners.training_loop import Course

if TYPE_CHECKING:
    from ai_assets.lifecycle.learners.graphs import Graph

LARGEST = 127
IMITATION = 0.5
"""How much the winner's answers count against the labels where layers are left out."""
TUNING = ENCODER.defaults() | {"epochs": 6}


def recipes(job: Job) -> list[Recipe]:
    """The winner in 8-bit integers; fewer layers of it, the fewest first, and those in 8 bits."""
    assert isinstance(job.winner, TextModel)
    winner = job.winner
    whole = partial(_as_int8, "int8_dynamic", lambda: winner, "the winner")
    found = [Recipe("int8_dynamic", "int8_dynamic", whole)]
    there = winner.transformer.architecture.layers
    for layers in sorted({there // 2, there - there // 3} - {0, there}):
        name, about = f"layers_{layers}", f"{layers} of {there} layers that learned its answers"
        short = cache(partial(_shortened, job, winner, layers))
        found.append(Recipe(name, "student", partial(_as_is, name, short, about), ladder="layers"))
        small = partial(_as_int8, f"{name}_int8", short, about)
        found.append(Recipe(f"{name}_int8", "int8_dynamic", small, form_of=name))
    return found


def _shortened(job: Job, winner: TextModel, layers: int) -> TextModel:
    return with_fewer_layers(
        winner,
        job.train,
        job.validation,
        layers,
        seed=job.seed,
        threads=job.threads,
        device=job.device,
    )


def _as_is(name: str, made: Callable[[], TextModel], about: str) -> Candidate:
    model = made()
    return Candidate(name, model.family, model.to_onnx(), model, about)


def _as_int8(name: str, made: Callable[[], TextModel], about: str) -> Candidate:
    model = made()
    return Candidate(name, model.family, in_int8(model), None, f"{about}, in 8-bit integers")


def in_int8(model: TextModel) -> bytes:
    """The model's graph with the encoder's matrices in 8-bit integers.

    A column of a matrix, or a token of the vocabulary, has a scale of its own: with one scale for
    all, a third of the texts would get other neighbours. Activations are quantized as they
    come, each token's by itself, so that no text changes what another is answered. The head stays
    as it is: it is tiny, and its rounding would reach the output undamped.
    """
    from ai_assets.lifecycle.learners.transformer_graph import Precision

    return text_graph(model, Precision(linear=int8_linear, rows=int8_rows))


def int8_linear(graph: "Graph", given: str, matrix: np.ndarray) -> str:
    """The product of an input, quantized token by token, and int8 weights; summed in int32."""
    from ai_assets.lifecycle.compression.quantization import quantized_by_row

    numbers, scale = int8_of(matrix, axis=0)
    place = len(graph.nodes)
    whole, step, zero = (f"{kind}{place}" for kind in ("whole", "step", "zero"))
    nodes, constants = quantized_by_row(given, whole, step, zero)
    graph.nodes += nodes
    graph.constants += constants
    summed = graph.add("MatMulInteger", whole, graph.constant(numbers), zero)
    columns = graph.add("Mul", graph.add("Cast", summed, to=1), graph.constant(scale[0]))
    return graph.add("Mul", columns, step)


def int8_rows(graph: "Graph", matrix: np.ndarray, numbers: str) -> str:
    """Rows of an int8 matrix, each times its own scale."""
    stored, scale = int8_of(matrix, axis=1)
    rows = graph.add("Gather", graph.constant(stored), numbers, axis=0)
    factors = graph.add("Gather", graph.constant(scale), numbers, axis=0)
    return graph.add("Mul", graph.add("Cast", rows, to=1), factors)


def int8_of(matrix: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers int8 from -127 to 127 and the scales, each of one along `axis`."""
    most = np.abs(matrix).max(axis=axis, keepdims=True)
    scale = (np.maximum(most, 1e-12) / LARGEST).astype(np.float32)
    return np.rint(matrix / scale).astype(np.int8), scale


def with_fewer_layers(
    winner: TextModel,
    train: Dataset,
    validation: Dataset | None,
    layers: int,
    *,
    seed: int,
    threads: int,
    settings: dict[str, Any] | None = None,
    device: str = "auto",
) -> TextModel:
    """Some of the winner's layers, fine-tuned to its answers and to the labels.

    The first and the last are kept and those between at even distances; of one, the first.

    Args:
        winner: the model.
        train: rows to learn from.
        validation: rows that say when to stop.
        layers: how many are kept.
        seed: of the fine-tuning.
        threads: of the CPU; 0 is every core.
        settings: of the fine-tuning, where others than `TUNING`'s.
        device: where it is trained.

    Raises:
        DataError: there are no fewer layers than the winner has, or none.
    """
    from ai_assets.lifecycle.learners.encoder_training import Texts, fine_tune
    from ai_assets.lifecycle.learners.probe import Start, fit_head
    from ai_assets.lifecycle.learners.text_features import tokens_of

    there = winner.transformer.architecture.layers
    if not 0 < layers < there:
        raise DataError(f"layers must be from 1 to {there - 1}, but got {layers}.")
    kept = np.rint(np.linspace(0, there - 1, layers)).astype(int).tolist()
    short = winner.transformer.with_layers(tuple(kept))
    chosen = TUNING | (settings or {}) | {"trained_layers": layers}
    vocabulary = short.architecture.vocabulary

    def texts(data: Dataset, taught: bool) -> Texts:
        tokens = tokens_of(data.x[:, slice(*winner.place)], vocabulary)
        answers = winner.predict(data.x) if taught else None
        return Texts(tokens, data.y, data.weight, answers, IMITATION)

    learned = texts(train, taught=True)
    start = Start(short, winner.head, learned.tokens)
    head = fit_head(start, train, chosen["C"], winner.task, threads)
    tuned = fine_tune(
        replace(start, head=head),
        learned,
        None if validation is None else texts(validation, taught=False),
        Course(
            task=winner.task,
            settings=chosen,
            seed=seed,
            threads=threads,
            device=device,
            patience=None if validation is None else ENCODER.patience,
        ),
    )
    return replace(
        winner,
        transformer=tuned.transformer,
        head=tuned.head,
        iterations=tuned.iterations,
        curve=tuned.curve,
    )
