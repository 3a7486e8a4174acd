"""Smaller forms of an image network: students, pruned ones, and 8-bit ones of each."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from ai_assets.lifecycle.compression.pruning import masked, prune_channels, sparsity_masks
from ai_assets.lifecycle.compression.quantization import (
    dynamic_int8,
    int8_weights,
    sparse_weights,
    static_int8,
)
from ai_assets.lifecycle.compression.recipes import Candidate, Job, Recipe
from ai_assets.lifecycle.compression.spec import Method
from ai_assets.lifecycle.learners.cnn import CnnModel
from ai_assets.lifecycle.learners.cnn_network import DENSE, Architecture, Weights
from ai_assets.lifecycle.learners.training_loop import Course

STUDENT = "student"
STUDENT_WIDTHS = (8, 16, 24, 32, 40)
"""Channels of the first layer of each student that is tried, the smallest first."""
DENSE_UNITS = (64, 96, 128)
"""Units of each student that is one layer of all pixels: where images are small, the quickest. One
of 32 units lost a point and a half over folds, which few validation rows may not tell."""
STUDENT_EPOCHS = 60
DENSE_EPOCHS = 100
"""What convolutions know of neighbouring pixels, a dense layer learns from many changed images."""
LAST_SIDE = 3
"""Pixels of the shorter side that a student halves down to."""
PRUNED = (50, 75)
"""Percent of the channels that go."""
SPARSE = (80, 90)
"""Percent of the weights that become 0."""
TUNING_EPOCHS = 30
TEMPERATURE = 2.0
IMITATION = 0.9
STATIC_KINDS = ("Conv", "Add", "GlobalAveragePool")
DYNAMIC_KINDS = ("Conv", "MatMul")


def recipes(job: Job) -> list[Recipe]:
    """8-bit forms of the winner, students, pruned networks, and 8-bit forms of those."""
    assert isinstance(job.winner, CnnModel)
    winner, architecture = job.winner, job.winner.weights.architecture
    found = _forms(job, "", lambda: winner, "the winner")
    dynamic = partial(_dynamic, job, winner)
    found.append(Recipe("int8_dynamic", "int8_dynamic", dynamic))
    for width in STUDENT_WIDTHS:
        name = f"{STUDENT}_{width}"
        about = f"a network of {width} channels at first that learned the winner's answers"
        student = partial(distil, job, student_of(architecture, width), STUDENT_EPOCHS)
        found += _networks(job, name, "student", student, about, STUDENT)
    for units in DENSE_UNITS:
        dense = dense_of(architecture, units)
        if weights_in(dense) > weights_in(architecture):
            break
        about = f"a layer of {units} units over all pixels that learned the winner's answers"
        student = partial(distil, job, dense, DENSE_EPOCHS)
        found += _networks(job, f"{DENSE}_{units}", "student", student, about, DENSE)
    for percent in PRUNED:
        name = f"pruned_{percent}"
        about = f"the winner without {percent} % of its channels, trained on"
        found += _networks(job, name, "pruning", partial(_pruned, job, percent), about, "")
    for percent in SPARSE:
        found.append(Recipe(f"sparse_{percent}", "sparsity", partial(_sparse, job, percent)))
    return found


def distil(job: Job, architecture: Architecture, epochs: int) -> CnnModel:
    """A smaller network that learns the winner's softened answers (Hinton et al. 2015).

    Images change as they did for the winner, and the winner answers for each changed one.
    """
    assert isinstance(job.winner, CnnModel)
    settings = job.winner.settings | {"epochs": epochs, "dropout": 0.0}
    return _trained(job, Weights(architecture, {}), settings, fresh=True)


def student_of(architecture: Architecture, width: int) -> Architecture:
    """Convolutions that each halve the sides, until each pixel left has seen most of the image.

    Channels double up to four times the width. There are no blocks: what is slow in a small network
    is the number of its steps.
    """
    stem: list[tuple[int, int]] = []
    side = min(architecture.shape[:2])
    while side > LAST_SIDE:
        stem.append((min(width * 2 ** len(stem), 4 * width), 2))
        side = -(-side // 2)
    return Architecture(architecture.shape, tuple(stem), (), architecture.outputs)


def dense_of(architecture: Architecture, units: int) -> Architecture:
    """A layer of some units that reads all pixels at once, and the last layer."""
    return Architecture(architecture.shape, (), (), architecture.outputs, units)


def weights_in(architecture: Architecture) -> int:
    """How many numbers a network has."""
    return sum(math.prod(shape) for shape in architecture.tensors().values())


def _networks(
    job: Job, name: str, method: Method, make: Callable[[], CnnModel], about: str, ladder: str
) -> list[Recipe]:
    """A network and its 8-bit forms; it is trained once."""
    made = cache(make)

    def build() -> Candidate:
        return Candidate(name, "cnn", made().to_onnx(), made(), about)

    forms = _forms(job, name, made, about, convolves=ladder != DENSE)
    return [Recipe(name, method, build, ladder), *forms]


def _forms(
    job: Job, of: str, made: Callable[[], CnnModel], about: str, *, convolves: bool = True
) -> list[Recipe]:
    """8-bit forms; only convolutions are also computed in integers."""
    start = f"{of}_" if of else ""

    def weights() -> Candidate:
        words = f"{about}, weights stored in 8-bit integers"
        graph = int8_weights(made().to_onnx())
        return Candidate(f"{start}int8_weights", "cnn", graph, None, words)

    def static() -> Candidate:
        words = f"{about}, weights and activations in 8-bit integers"
        graph = static_int8(made().to_onnx(), job.train.x, STATIC_KINDS)
        return Candidate(f"{start}int8_static", "cnn", graph, None, words)

    found = [Recipe(f"{start}int8_weights", "int8_weights", weights, form_of=of)]
    if convolves:
        found.append(Recipe(f"{start}int8_static", "int8_static", static, form_of=of))
    return found


def _dynamic(job: Job, winner: CnnModel) -> Candidate:
    words = "the winner, activations quantized as they come"
    graph = dynamic_int8(winner.to_onnx(), DYNAMIC_KINDS)
    return Candidate("int8_dynamic", "cnn", graph, None, words)


def _pruned(job: Job, percent: int) -> CnnModel:
    assert isinstance(job.winner, CnnModel)
    smaller = prune_channels(job.winner.weights, percent / 100)
    return _trained(job, smaller, _tuning(job.winner), fresh=False)


def _sparse(job: Job, percent: int) -> Candidate:
    assert isinstance(job.winner, CnnModel)
    masks = sparsity_masks(job.winner.weights, percent / 100)
    start = masked(job.winner.weights, masks)
    made = _trained(job, start, _tuning(job.winner), fresh=False, masks=masks)
    words = f"the winner with {percent} % of its weights at 0, trained on; as slow as before"
    return Candidate(f"sparse_{percent}", "cnn", sparse_weights(made.to_onnx()), made, words)


def _tuning(winner: CnnModel) -> dict[str, Any]:
    """Settings of training on, at the full rate: most of the way back is a long way."""
    return winner.settings | {"epochs": TUNING_EPOCHS, "dropout": 0.0}


def _trained(
    job: Job,
    start: Weights,
    settings: dict[str, Any],
    *,
    fresh: bool,
    masks: dict[str, np.ndarray] | None = None,
) -> CnnModel:
    from ai_assets.lifecycle.learners.cnn_training import Lesson, train_cnn

    assert isinstance(job.winner, CnnModel)
    course = Course(
        task=job.task,
        settings=settings,
        seed=job.seed,
        threads=job.threads,
        device=job.device,
        patience=settings["epochs"],
    )
    lesson = Lesson(job.winner.weights, TEMPERATURE, IMITATION, masks)
    place = slice(*job.winner.place)
    trained = train_cnn(start, job.train, job.validation, place, course, fresh=fresh, lesson=lesson)
    return replace(
        job.winner,
        weights=trained.weights,
        iterations=trained.iterations,
        curve=trained.curve,
    )
