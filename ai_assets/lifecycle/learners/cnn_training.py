"""How image networks learn: fresh ones, students of a teacher, and pruned ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.augmentation import Augmentation, augment
from ai_assets.lifecycle.learners.base import Dataset, OnStep
from ai_assets.lifecycle.learners.checkpoints import Checkpoint
from ai_assets.lifecycle.learners.cnn_network import (
    Weights,
    arrays_of,
    forward,
    images_of,
    load_arrays,
    network,
)
from ai_assets.lifecycle.learners.objectives import (
    Targets,
    TargetScale,
    imitation_loss,
    label_loss,
    softened,
)
from ai_assets.lifecycle.learners.torch_runs import choose_device, reproducible
from ai_assets.lifecycle.learners.training_loop import Course, State, Step, Trainee, run

MOST_WATCHED = 1 << 24
"""Pixels that are scored at once."""


@dataclass(frozen=True)
class Lesson:
    """What a network learns from beside the labels, and what it may not change.

    Attributes:
        teacher: the network whose answers are imitated.
        temperature: by which both scores are divided before they are compared.
        imitation: how much the teacher's answers count against the labels, 0 to 1.
        masks: weights that stay 0: bool arrays by name, true where a weight lives.
    """

    teacher: Weights | None = None
    temperature: float = 1.0
    imitation: float = 0.0
    masks: dict[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Trained:
    """The best weights, the epochs that led to them, and the losses."""

    weights: Weights
    iterations: int
    curve: list[dict[str, float]]


def train_cnn(
    start: Weights,
    train: Dataset,
    validation: Dataset | None,
    place: slice,
    course: Course,
    *,
    fresh: bool,
    lesson: Lesson | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train a network on the image that lies at `place` of the matrix.

    Args:
        start: the architecture, and the numbers to begin with.
        train: rows to learn from.
        validation: rows that say when to stop.
        place: columns of the image.
        course: how; of its settings it reads `epochs`, `batch` (rows), `learning_rate`, `warm_up`,
            `weight_decay`, `label_smoothing`, `dropout`, `average` (decay of the moving average of
            the weights, 0 for none) and those of `Augmentation`.
        fresh: whether to begin with random numbers instead of `start`'s.
        lesson: a teacher, masks.
        checkpoint: where the state is kept as the run goes on.
        on_step: called after each epoch.
    """
    with reproducible(course.seed, course.threads):
        pupil = _ImageNetwork(start, train, validation, place, course, lesson or Lesson(), fresh)
        done = run(pupil, course, checkpoint=checkpoint, on_step=on_step)
        return Trained(pupil.weights(), done.iterations, done.curve)


class _ImageNetwork(Trainee):
    """The layers, their average, and their images."""

    clip = 5.0

    def __init__(
        self,
        start: Weights,
        train: Dataset,
        validation: Dataset | None,
        place: slice,
        course: Course,
        lesson: Lesson,
        fresh: bool,
    ) -> None:
        import torch

        self.course, self.settings, self.lesson = course, course.settings, lesson
        self.architecture = start.architecture
        self.where = choose_device(course.device)
        self.scale = TargetScale.of(course.task, train.y)
        self.layers = network(self.architecture, self.settings.get("dropout", 0.0))
        if not fresh:
            load_arrays(self.layers, _inward(start.arrays, self.scale))
        self.layers.to(self.where, memory_format=torch.channels_last)
        self.teacher = self._teacher()
        masks = (lesson.masks or {}).items()
        self.masks = {name: torch.from_numpy(mask).to(self.where) for name, mask in masks}
        self.average = _copied(self.layers.state_dict())
        self.images = self._images(train, place)
        self.targets = Targets.of(train, self.scale, self.where)
        self.validation = validation
        self.watched = None if validation is None else self._images(validation, place)
        self.augmentation = Augmentation.of(self.settings)
        self.parameters = list(self.layers.parameters())
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.parameters, self.settings["weight_decay"]),
            self.settings["learning_rate"],
        )
        self.batches_an_epoch = -(-len(train) // int(self.settings["batch"]))

    def batches(self) -> Iterable[Any]:
        """Rows, all batches as large but for one."""
        import torch

        self.layers.train()
        order = torch.randperm(len(self.images)).to(self.where)
        return order.tensor_split(self.batches_an_epoch)

    def step(self, batch: Any) -> Step:
        """Images, changed a little, against their labels and the teacher's answers."""
        import torch

        images = augment(
            self.images[batch], self.augmentation, torch.random.default_generator
        ).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.where, torch.bfloat16, enabled=self.where == "cuda"):
            score = forward(self.layers, images)
        losses = self._losses(score.float(), images, self.targets.y[batch])
        return Step(self.targets.mean(losses, batch), len(batch))

    def stepped(self, step: int) -> None:
        """Keep pruned weights at 0, and let the average follow: quickly at first, then slowly."""
        import torch

        state = self.layers.state_dict()
        decay = min(float(self.settings["average"]), (1 + step) / (10 + step))
        followed = [name for name, value in state.items() if value.is_floating_point()]
        with torch.no_grad():
            for name, mask in self.masks.items():
                state[name].mul_(mask)
            torch._foreach_lerp_(
                [self.average[name] for name in followed],
                [state[name] for name in followed],
                1 - decay,
            )
            for name in state.keys() - set(followed):
                self.average[name].copy_(state[name])

    def judge(self) -> float | None:
        """The loss of the averaged weights."""
        import torch

        if self.watched is None or self.validation is None:
            return None
        own = _copied(self.layers.state_dict())
        self.layers.load_state_dict(self.average)
        self.layers.eval()
        pixels = int(np.prod(self.watched.shape[1:]))
        with torch.no_grad():
            parts = self.watched.split(max(1, MOST_WATCHED // pixels))
            scores = torch.cat([forward(self.layers, part) for part in parts])
        self.layers.load_state_dict(own)
        found = scores.cpu().numpy().astype(np.float64)
        return self.scale.loss(self.course.task, self.validation, found)

    def answering(self) -> State:
        """The average."""
        return _copied(self.average)

    def load(self, state: State) -> None:
        """Take these weights for the layers' own."""
        self.layers.load_state_dict(state)

    def parts(self) -> dict[str, State]:
        """The layers and their average."""
        return {"layers": self.layers.state_dict(), "average": self.average}

    def restore(self, parts: dict[str, State]) -> None:
        """Go on from those."""
        self.layers.load_state_dict(parts["layers"])
        self.average = parts["average"]

    def weights(self) -> Weights:
        """The layers' numbers, with the target's scale in the last layer, so that the graph needs
        no step of its own."""
        arrays = _rescaled(arrays_of(self.layers), self.scale.scale, self.scale.shift)
        return Weights(self.architecture, arrays)

    def _losses(self, score: Any, images: Any, y: Any) -> Any:
        import torch

        task, share = self.course.task, self.lesson.imitation
        rows = label_loss(task, score, y, float(self.settings["label_smoothing"]))
        if self.teacher is None:
            return rows
        temperature = self.lesson.temperature
        with torch.no_grad():
            answers = softened(task, forward(self.teacher, images), temperature)
        return (1 - share) * rows + share * imitation_loss(task, score, answers, temperature)

    def _teacher(self) -> Any:
        import torch

        given = self.lesson.teacher
        if given is None:
            return None
        teacher = network(given.architecture)
        load_arrays(teacher, _inward(given.arrays, self.scale))
        return teacher.to(self.where, memory_format=torch.channels_last).eval()

    def _images(self, data: Dataset, place: slice) -> Any:
        import torch

        images = images_of(data.x[:, place], self.architecture.shape)
        return torch.from_numpy(images).to(self.where)


def _parameter_groups(parameters: list[Any], decay: float) -> list[dict[str, Any]]:
    """Kernels shrink; biases and normalisations, which are one-dimensional, do not."""
    kernels = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim <= 1]
    return [
        {"params": kernels, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _inward(arrays: dict[str, np.ndarray], scale: TargetScale) -> dict[str, np.ndarray]:
    """A network that answers in the target's unit as one that answers as it is learned."""
    return _rescaled(arrays, 1 / scale.scale, -scale.shift / scale.scale)


def _rescaled(arrays: dict[str, np.ndarray], factor: float, added: float) -> dict[str, np.ndarray]:
    """The same network with a score of `factor` times, plus `added`."""
    if factor == 1.0 and added == 0.0:
        return arrays
    weight, bias = arrays["head.weight"] * factor, arrays["head.bias"] * factor + added
    return arrays | {
        "head.weight": weight.astype(np.float32),
        "head.bias": bias.astype(np.float32),
    }


def _copied(state: State) -> State:
    return {name: value.detach().clone() for name, value in state.items()}
