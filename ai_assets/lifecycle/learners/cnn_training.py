"""The training loop of image networks: fresh ones, students of a teacher, and pruned ones."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.augmentation import Augmentation, augment
from ai_assets.lifecycle.learners.base import Dataset, OnStep, Task, link, loss
from ai_assets.lifecycle.learners.checkpoints import Checkpoint, Progress
from ai_assets.lifecycle.learners.cnn_network import (
    Weights,
    arrays_of,
    forward,
    images_of,
    load_arrays,
    network,
)
from ai_assets.lifecycle.learners.torch_runs import choose_device, reproducible

MOST_WATCHED = 1 << 24
"""Pixels that are scored at once."""


@dataclass(frozen=True)
class Course:
    """How a network is trained.

    Attributes:
        task: what is predicted.
        settings: `epochs`, `batch` (rows), `learning_rate`, `warm_up` (share of the steps),
            `weight_decay`, `label_smoothing`, `dropout`, `average` (decay of the moving average of
            the weights, 0 for none) and those of `Augmentation`.
        seed: of the weights, the order, the changes.
        threads: of the CPU; 0 is every core.
        device: `auto`, `cpu` or `cuda`.
        iterations: epochs to run of those that the schedule is made for; None runs them all.
        patience: epochs without improvement on validation before stopping; None runs them all.
        teacher: the network whose answers are imitated.
        temperature: by which both scores are divided before they are compared.
        imitation: how much the teacher's answers count against the labels, 0 to 1.
        masks: weights that stay 0: bool arrays by name, true where a weight lives.
    """

    task: Task
    settings: dict[str, Any]
    seed: int
    threads: int
    device: str = "auto"
    iterations: int | None = None
    patience: int | None = None
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
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train a network on the image that lies at `place` of the matrix.

    Everything random of an epoch comes from the seed and the epoch's number. A run that goes on
    from a checkpoint therefore ends with the very weights of one that was never stopped.

    Args:
        start: the architecture, and the numbers to begin with.
        train: rows to learn from.
        validation: rows that say when to stop.
        place: columns of the image.
        course: how.
        fresh: whether to begin with random numbers instead of `start`'s.
        checkpoint: where the state is kept as the run goes on.
        on_step: called after each epoch.
    """
    with reproducible(course.seed, course.threads):
        loop = _Loop(start, train, validation, place, course, fresh)
        if checkpoint is not None and (kept := checkpoint.read()) is not None:
            loop.resume(kept)
        return loop.run(checkpoint, on_step)


class _Loop:
    """The state of a run."""

    def __init__(
        self,
        start: Weights,
        train: Dataset,
        validation: Dataset | None,
        place: slice,
        course: Course,
        fresh: bool,
    ) -> None:
        import torch

        self.course, self.settings = course, course.settings
        self.architecture = start.architecture
        self.where = choose_device(course.device)
        self.layers = network(self.architecture, self.settings.get("dropout", 0.0))
        self.shift, self.scale = _target_scale(course.task, train.y)
        if not fresh:
            load_arrays(
                self.layers, _rescaled(start.arrays, 1 / self.scale, -self.shift / self.scale)
            )
        self.layers.to(self.where, memory_format=torch.channels_last)
        self.masks = {
            k: torch.from_numpy(v).to(self.where) for k, v in (course.masks or {}).items()
        }
        self.average = {k: v.detach().clone() for k, v in self.layers.state_dict().items()}
        self.rows = _Rows(train, place, self.architecture.shape, self.where, self.shift, self.scale)
        self.validation = validation
        self.watched = (
            None
            if validation is None
            else _Rows(validation, place, self.architecture.shape, self.where)
        )
        self.objective = _Objective(course, self.shift, self.scale, self.where)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.layers, self.settings["weight_decay"]),
            self.settings["learning_rate"],
        )
        self.augmentation = Augmentation.of(self.settings)
        self.epochs = int(self.settings["epochs"])
        self.last = self.epochs if course.iterations is None else course.iterations
        self.batches = -(-len(train) // int(self.settings["batch"]))
        self.done, self.best, self.best_epoch = 0, math.inf, 0
        self.kept: dict[str, Any] | None = None
        self.curve: list[dict[str, float]] = []

    def run(self, checkpoint: Checkpoint | None, on_step: OnStep | None) -> Trained:
        import torch

        while self.done < self.last and not self._stalled():
            epoch = self.done + 1
            torch.manual_seed(_seed_of(self.course.seed, epoch))
            entry = {"step": float(epoch), "train": self._epoch()}
            self.curve.append(entry)
            self.done = epoch
            if self.watched is not None and self.validation is not None:
                entry["validation"] = value = self._judge(self.watched, self.validation)
                if value < self.best and self.course.patience is not None:
                    self.best, self.best_epoch = value, epoch
                    self.kept = _copied(self.average)
                if on_step is not None:
                    on_step(epoch, value)
            if checkpoint is not None and checkpoint.due(epoch):
                checkpoint.write(self.progress())
        self.layers.load_state_dict(self.average if self.kept is None else self.kept)
        # The target's scale goes into the last layer, so that the graph needs no step of its own.
        arrays = _rescaled(arrays_of(self.layers), self.scale, self.shift)
        if checkpoint is not None:
            checkpoint.remove()
        epochs = self.done if self.kept is None else self.best_epoch
        return Trained(Weights(self.architecture, arrays), epochs, self.curve)

    def progress(self) -> Progress:
        """All that the next epoch depends on."""
        parts = {"layers": self.layers.state_dict(), "average": self.average}
        parts |= {"kept": self.kept} if self.kept is not None else {}
        for at, state in self.optimizer.state_dict()["state"].items():
            parts[f"optimizer.{at}"] = state
        tensors = {f"{k}/{name}": v.cpu() for k, part in parts.items() for name, v in part.items()}
        best = None if math.isinf(self.best) else self.best
        about = {"done": self.done, "best": best, "best_epoch": self.best_epoch}
        return Progress(tensors, about | {"curve": self.curve})

    def resume(self, kept: Progress) -> None:
        """Go on from what `progress` gave."""
        parts: dict[str, dict[str, Any]] = {}
        for name, value in kept.tensors.items():
            part, _, key = name.partition("/")
            # The optimizer itself knows which of its numbers belong on the device.
            own = part.startswith("optimizer.")
            parts.setdefault(part, {})[key] = value if own else value.to(self.where)
        self.layers.load_state_dict(parts["layers"])
        self.average, self.kept = parts["average"], parts.get("kept")
        state = self.optimizer.state_dict()
        state["state"] = {
            int(part.partition(".")[2]): values
            for part, values in parts.items()
            if part.startswith("optimizer.")
        }
        self.optimizer.load_state_dict(state)
        about = kept.about
        self.done, self.best_epoch, self.curve = about["done"], about["best_epoch"], about["curve"]
        self.best = math.inf if about["best"] is None else about["best"]

    def _stalled(self) -> bool:
        patience = self.course.patience
        return patience is not None and self.done - self.best_epoch >= patience

    def _epoch(self) -> float:
        import torch

        self.layers.train()
        total = 0.0
        order = torch.randperm(len(self.rows.y)).to(self.where)
        for at, batch in enumerate(order.tensor_split(self.batches)):
            step = self.done * self.batches + at
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(step)
            images = augment(
                self.rows.images[batch], self.augmentation, torch.random.default_generator
            ).contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.where, torch.bfloat16, enabled=self.where == "cuda"):
                score = forward(self.layers, images)
            value = self.objective(
                score.float(), images, self.rows.y[batch], self.rows.weight[batch]
            )
            self.optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.layers.parameters(), 5.0)
            self.optimizer.step()
            self._follow(step)
            total += float(value.detach()) * len(batch)
        return total / len(self.rows.y)

    def _rate(self, step: int) -> float:
        """Up in a line, then down along half a cosine wave to nothing."""
        total, most = self.epochs * self.batches, float(self.settings["learning_rate"])
        warm = max(1, round(total * float(self.settings["warm_up"])))
        if step < warm:
            return most * (step + 1) / warm
        gone = min(1.0, (step - warm) / max(1, total - warm))
        return most * 0.5 * (1 + math.cos(math.pi * gone))

    def _follow(self, step: int) -> None:
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

    def _judge(self, watched: "_Rows", validation: Dataset) -> float:
        """The loss of the averaged weights on validation rows."""
        import torch

        own = _copied(self.layers.state_dict())
        self.layers.load_state_dict(self.average)
        self.layers.eval()
        with torch.no_grad():
            scores = torch.cat([forward(self.layers, part) for part in watched.parts()])
        self.layers.load_state_dict(own)
        found = scores.cpu().numpy().astype(np.float64) * self.scale + self.shift
        return loss(
            self.course.task, validation.y, link(self.course.task, found), validation.weight
        )


class _Rows:
    """Images as tensors on the device, with what is to be learned of them."""

    def __init__(
        self,
        data: Dataset,
        place: slice,
        shape: tuple[int, int, int],
        where: str,
        shift: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        import torch

        weight = np.ones(len(data)) if data.weight is None else data.weight / data.weight.mean()
        self.images = torch.from_numpy(images_of(data.x[:, place], shape)).to(where)
        self.y = torch.from_numpy(((data.y - shift) / scale).astype(np.float32)).to(where)
        self.weight = torch.from_numpy(weight.astype(np.float32)).to(where)

    def parts(self) -> Any:
        """The images, as many at once as memory takes."""
        pixels = int(np.prod(self.images.shape[1:]))
        return self.images.split(max(1, MOST_WATCHED // pixels))


class _Objective:
    """What a batch is judged by: its labels, its teacher's answers, or both."""

    def __init__(self, course: Course, shift: float, scale: float, where: str) -> None:
        import torch

        self.course, self.teacher = course, None
        if course.teacher is not None:
            self.teacher = network(course.teacher.architecture)
            load_arrays(self.teacher, _rescaled(course.teacher.arrays, 1 / scale, -shift / scale))
            self.teacher.to(where, memory_format=torch.channels_last).eval()

    def __call__(self, score: Any, images: Any, y: Any, weight: Any) -> Any:
        import torch

        share = self.course.imitation
        rows = _label_loss(self.course, score, y)
        if self.teacher is not None:
            with torch.no_grad():
                wanted = forward(self.teacher, images)
            rows = (1 - share) * rows + share * _imitation_loss(self.course, score, wanted)
        return (rows * weight).mean()


def _label_loss(course: Course, score: Any, y: Any) -> Any:
    from torch.nn import functional

    smooth = float(course.settings["label_smoothing"])
    if course.task == "binary":
        y = y * (1 - smooth) + smooth / 2
        return functional.binary_cross_entropy_with_logits(score[:, 0], y, reduction="none")
    if course.task == "multiclass":
        return functional.cross_entropy(score, y.long(), reduction="none", label_smoothing=smooth)
    return (score[:, 0] - y) ** 2


def _imitation_loss(course: Course, score: Any, wanted: Any) -> Any:
    """Distance from the teacher's softened answers (Hinton et al. 2015), by T² as large a step as
    the labels' whatever the temperature."""
    import torch
    from torch.nn import functional

    t = course.temperature
    if course.task == "regression":
        return (score[:, 0] - wanted[:, 0]) ** 2
    if course.task == "binary":
        soft = torch.sigmoid(wanted[:, 0] / t)
        logit = score[:, 0] / t
        return functional.binary_cross_entropy_with_logits(logit, soft, reduction="none") * t * t
    return functional.cross_entropy(score / t, (wanted / t).softmax(1), reduction="none") * t * t


def _parameter_groups(layers: Any, decay: float) -> list[dict[str, Any]]:
    """Kernels shrink; biases and normalisations, which are one-dimensional, do not."""
    kernels = [p for p in layers.parameters() if p.ndim > 1]
    others = [p for p in layers.parameters() if p.ndim <= 1]
    return [
        {"params": kernels, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _rescaled(arrays: dict[str, np.ndarray], factor: float, added: float) -> dict[str, np.ndarray]:
    """The same network with a score of `factor` times, plus `added`."""
    if factor == 1.0 and added == 0.0:
        return arrays
    weight, bias = arrays["head.weight"] * factor, arrays["head.bias"] * factor + added
    return arrays | {
        "head.weight": weight.astype(np.float32),
        "head.bias": bias.astype(np.float32),
    }


def _target_scale(task: Task, y: np.ndarray) -> tuple[float, float]:
    if task != "regression":
        return 0.0, 1.0
    return float(y.mean()), float(y.std()) or 1.0


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in state.items()}


def _seed_of(seed: int, epoch: int) -> int:
    """A seed for each epoch of each run."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
