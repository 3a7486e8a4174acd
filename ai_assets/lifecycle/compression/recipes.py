"""Ways to compress a model, by its family: one file a way of compressing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from ai_assets.lifecycle.compression.spec import Compression, Method
from ai_assets.lifecycle.learners.base import Dataset, Model, Task

WAYS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "mlp": ("tree_students", "hidden_layers"),
    "cnn": ("image_networks",),
    "probe": ("text",),
    "encoder": ("text",),
}
"""Modules of this package by family, each with `recipes(job)`; families that are not named here
have students made of trees."""
OTHERS = ("tree_students",)


@dataclass(frozen=True)
class Candidate:
    """An artifact.

    Attributes:
        name: `onnx` (the winner as it is) or the recipe's.
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
class Job:
    """What is to be compressed, and what may be used for it.

    Attributes:
        winner: the model.
        train: rows that students learn from and quantization is calibrated on.
        validation: rows that stop a training.
        spec: the declaration.
        task: what is predicted.
        seed: of what is trained.
        threads: of trainings.
        device: where networks train.
    """

    winner: Model
    train: Dataset
    validation: Dataset
    spec: Compression
    task: Task
    seed: int
    threads: int
    device: str = "auto"


@dataclass(frozen=True)
class Recipe:
    """How one candidate is made.

    Attributes:
        name: of the candidate.
        method: what a declaration names to allow it.
        build: makes it.
        ladder: recipes of one ladder are tried from the smallest on, until one is enough.
        form_of: the recipe of which this is another form; left out where that was left out.
    """

    name: str
    method: Method
    build: Callable[[], Candidate]
    ladder: str = ""
    form_of: str = ""


def recipes_of(job: Job) -> list[Recipe]:
    """What the winner's family can be compressed by, of the declared methods, in order."""
    found: list[Recipe] = []
    for way in WAYS.get(job.winner.family, OTHERS):
        found += import_module(f"ai_assets.lifecycle.compression.{way}").recipes(job)
    return [recipe for recipe in found if recipe.method in job.spec.methods]
