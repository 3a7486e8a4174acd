"""The training loop of every network: epochs, the rate, the best state, stopping, checkpoints.

What is trained brings its batches, its step, its judge and its state (`Trainee`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import OnStep, Task
from ai_assets.lifecycle.learners.checkpoints import Checkpoint, Progress

State = dict[str, Any]
"""Tensors by name."""
_OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Course:
    """How a network is trained.

    Attributes:
        task: what is predicted.
        settings: `epochs` and those of the family; with `warm_up`, a share of the steps, learning
            rates go up in a line and down along half a cosine wave, without it they stay.
        seed: of all that is random.
        threads: of the CPU; 0 is every core.
        device: `auto`, `cpu` or `cuda`.
        iterations: epochs to run of those that the rates are made for; None runs them all.
        patience: epochs without improvement on validation before stopping; None runs them all.
    """

    task: Task
    settings: dict[str, Any]
    seed: int
    threads: int
    device: str = "auto"
    iterations: int | None = None
    patience: int | None = None


@dataclass(frozen=True)
class Step:
    """What a batch gave.

    Attributes:
        objective: what is minimised, a scalar tensor.
        count: rows, or tokens, that the loss is a mean of.
        total: their losses summed, a scalar tensor; None is the objective times the count.
    """

    objective: Any
    count: int
    total: Any = None

    def summed(self) -> float:
        """The losses of all that it counts."""
        if self.total is None:
            return float(self.objective.detach()) * self.count
        return float(self.total.detach())


@dataclass(frozen=True)
class Outcome:
    """The epochs that led to the weights that a run ended with, and the losses by epoch."""

    iterations: int
    curve: list[dict[str, float]]


class Trainee(ABC):
    """A network with its rows, as the loop sees it.

    Attributes:
        optimizer: of the parameters, with the rates that the course goes up to.
        parameters: whose gradient is clipped, in the order in which its length is summed.
        batches_an_epoch: that the rates are made for.
        clip: longest gradient of a step.
        seeded_by_epoch: whether an epoch's randomness comes from the seed and its number alone, as
            a run needs that goes on from a checkpoint.
    """

    optimizer: Any
    parameters: list[Any]
    batches_an_epoch: int
    clip: float = 1.0
    seeded_by_epoch: bool = True

    @abstractmethod
    def batches(self) -> Iterable[Any]:
        """The batches of an epoch, in an order drawn anew."""

    @abstractmethod
    def step(self, batch: Any) -> Step:
        """The loss of a batch, with its graph of gradients."""

    @abstractmethod
    def judge(self) -> float | None:
        """The loss of the weights that answer on validation rows; None where there are none."""

    @abstractmethod
    def answering(self) -> State:
        """Copies of the weights that answer."""

    @abstractmethod
    def load(self, state: State) -> None:
        """Take weights that `answering` gave."""

    def stepped(self, step: int) -> None:
        """Called after each step, with its number from 0."""
        return

    def parts(self) -> dict[str, State]:
        """All that the next epoch depends on, but the optimizer."""
        return {"state": self.answering()}

    def restore(self, parts: dict[str, State]) -> None:
        """Go on from what `parts` gave."""
        self.load(parts["state"])


def run(
    trainee: Trainee,
    course: Course,
    *,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> Outcome:
    """Train; at the end the trainee has the weights that answer, the best where one was sought.

    A run that goes on from a checkpoint ends with the very weights of one that was never stopped.

    Args:
        trainee: what is trained.
        course: how.
        checkpoint: where the state is kept as the run goes on.
        on_step: called after each epoch with the loss on validation rows.
    """
    loop = _Loop(trainee, course)
    if checkpoint is not None and (found := checkpoint.read()) is not None:
        loop.resume(found)
    while loop.goes_on:
        value = loop.epoch()
        if value is not None and on_step is not None:
            on_step(loop.done, value)
        if checkpoint is not None and checkpoint.due(loop.done):
            checkpoint.write(loop.progress())
    trainee.load(trainee.answering() if loop.kept is None else loop.kept)
    if checkpoint is not None:
        checkpoint.remove()
    return Outcome(loop.done if loop.kept is None else loop.best_epoch, loop.curve)


class _Loop:
    """How far a run is."""

    def __init__(self, trainee: Trainee, course: Course) -> None:
        self.trainee, self.course = trainee, course
        self.rates = [group["lr"] for group in trainee.optimizer.param_groups]
        self.planned = int(course.settings["epochs"])
        self.last = self.planned if course.iterations is None else int(course.iterations)
        self.done, self.best, self.best_epoch = 0, math.inf, 0
        self.kept: State | None = None
        self.curve: list[dict[str, float]] = []

    @property
    def goes_on(self) -> bool:
        """Whether there is an epoch more to run."""
        patience = self.course.patience
        stalled = patience is not None and self.done - self.best_epoch >= patience
        return self.done < self.last and not stalled

    def epoch(self) -> float | None:
        """Run the next one; its loss on validation rows."""
        import torch

        number = self.done + 1
        if self.trainee.seeded_by_epoch:
            torch.manual_seed(_seed_of(self.course.seed, number))
        entry = {"step": float(number), "train": self._learn()}
        self.curve.append(entry)
        self.done = number
        value = self.trainee.judge()
        if value is None:
            return None
        entry["validation"] = value
        if value < self.best and self.course.patience is not None:
            self.best, self.best_epoch = value, number
            self.kept = self.trainee.answering()
        return value

    def progress(self) -> Progress:
        """All that the next epoch depends on."""
        parts = self.trainee.parts()
        parts |= {"kept": self.kept} if self.kept is not None else {}
        for at, state in self.trainee.optimizer.state_dict()["state"].items():
            parts[f"{_OPTIMIZER}{at}"] = state
        tensors = {f"{k}/{name}": v.cpu() for k, part in parts.items() for name, v in part.items()}
        best = None if math.isinf(self.best) else self.best
        about = {"done": self.done, "best": best, "best_epoch": self.best_epoch}
        return Progress(tensors, about | {"curve": self.curve})

    def resume(self, found: Progress) -> None:
        """Go on from what `progress` gave."""
        where = self.trainee.parameters[0].device
        parts: dict[str, State] = {}
        for name, value in found.tensors.items():
            part, _, key = name.partition("/")
            # The optimizer itself knows which of its numbers belong on the device.
            own = part.startswith(_OPTIMIZER)
            parts.setdefault(part, {})[key] = value if own else value.to(where)
        state = self.trainee.optimizer.state_dict()
        state["state"] = {
            int(part.removeprefix(_OPTIMIZER)): parts.pop(part)
            for part in list(parts)
            if part.startswith(_OPTIMIZER)
        }
        self.trainee.optimizer.load_state_dict(state)
        self.kept = parts.pop("kept", None)
        self.trainee.restore(parts)
        about = found.about
        self.done, self.best_epoch, self.curve = about["done"], about["best_epoch"], about["curve"]
        self.best = math.inf if about["best"] is None else about["best"]

    def _learn(self) -> float:
        """One pass over the rows; their mean loss while it learned."""
        import torch

        trainee, optimizer = self.trainee, self.trainee.optimizer
        total, counted = 0.0, 0
        for at, batch in enumerate(trainee.batches()):
            number = self.done * trainee.batches_an_epoch + at
            self._set_rates(number)
            step = trainee.step(batch)
            optimizer.zero_grad()
            step.objective.backward()
            torch.nn.utils.clip_grad_norm_(trainee.parameters, trainee.clip)
            optimizer.step()
            trainee.stepped(number)
            total, counted = total + step.summed(), counted + step.count
        return total / max(counted, 1)

    def _set_rates(self, step: int) -> None:
        warm_up = self.course.settings.get("warm_up")
        if warm_up is None:
            return
        share = _share(step, self.planned * self.trainee.batches_an_epoch, float(warm_up))
        for group, rate in zip(self.trainee.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share


def _share(step: int, total: int, warm_up: float) -> float:
    """Of the learning rate: up in a line, then down along half a cosine wave to nothing."""
    warm = max(1, round(total * warm_up))
    if step < warm:
        return (step + 1) / warm
    gone = min(1.0, (step - warm) / max(1, total - warm))
    return 0.5 * (1 + math.cos(math.pi * gone))


def _seed_of(seed: int, epoch: int) -> int:
    """A seed for each epoch of each run."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
