"""What networks are judged by while they learn: labels, a teacher's answers, validation rows."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ai_assets.lifecycle.learners.base import OF_VALUES, Task, link, loss


class Labelled(Protocol):
    """Rows with labels and weights [n]."""

    @property
    def y(self) -> np.ndarray:
        """Labels, as `Dataset.y`."""

    @property
    def weight(self) -> np.ndarray | None:
        """Weights, as `Dataset.weight`."""


class TargetScale(NamedTuple):
    """The unit in which a regression's target is learned; of classes there is none."""

    shift: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, task: Task, y: np.ndarray) -> "TargetScale":
        """The mean and the deviation of a target [n]."""
        if task != "regression":
            return cls()
        return cls(float(y.mean()), float(y.std()) or 1.0)

    def inward(self, y: Any) -> Any:
        """Values as they are learned."""
        return (y - self.shift) / self.scale

    def outward(self, scores: Any) -> Any:
        """Scores as they are told."""
        return scores * self.scale + self.shift

    def loss(self, task: Task, rows: Labelled, scores: np.ndarray) -> float:
        """Of scores [n, K] as they are learned, by the labels of the rows."""
        return loss(task, rows.y, link(task, self.outward(scores)), rows.weight)


@dataclass(frozen=True)
class Targets:
    """Labels as they are learned and weights of mean 1: float32 tensors [n]."""

    y: Any
    weight: Any

    @classmethod
    def of(cls, rows: Labelled, scale: TargetScale, where: str) -> "Targets":
        """Those of some rows, on the device."""
        weight = np.ones(len(rows.y)) if rows.weight is None else rows.weight / rows.weight.mean()
        return cls(tensor(scale.inward(rows.y), where), tensor(weight, where))

    def mean(self, losses: Any, batch: Any) -> Any:
        """Of the losses [b] of a batch, each by its weight."""
        return (losses * self.weight[batch]).mean()


def tensor(values: np.ndarray, where: str) -> Any:
    """Numbers as a float32 tensor on the device."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(where)


def label_loss(task: Task, score: Any, y: Any, smooth: float = 0.0) -> Any:
    """The loss [n] of scores [n, K] by labels [n].

    Args:
        task: what is predicted.
        score: of the network.
        y: labels, of a regression in the unit in which they are learned.
        smooth: share of the label that all classes get alike (Szegedy et al. 2016).
    """
    from torch.nn import functional

    if task == "binary":
        y = y * (1 - smooth) + smooth / 2
        return functional.binary_cross_entropy_with_logits(score[:, 0], y, reduction="none")
    if task == "multiclass":
        return functional.cross_entropy(score, y.long(), reduction="none", label_smoothing=smooth)
    if task == "count":
        return functional.poisson_nll_loss(score[:, 0], y, reduction="none")
    return (score[:, 0] - y) ** 2


def softened(task: Task, score: Any, temperature: float) -> Any:
    """A teacher's answers [n, K] by its scores, the softer the higher the temperature."""
    import torch

    if task in OF_VALUES:
        return score
    soft = score / temperature
    return torch.sigmoid(soft) if task == "binary" else soft.softmax(1)


def imitation_loss(task: Task, score: Any, answers: Any, temperature: float = 1.0) -> Any:
    """Distance [n] of scores [n, K] from a teacher's softened answers [n, K] (Hinton et al. 2015),
    by T² as large a step as the labels' whatever the temperature."""
    from torch.nn import functional

    t = temperature
    if task in OF_VALUES:
        return (score[:, 0] - answers[:, 0]) ** 2
    if task == "binary":
        logit = score[:, 0] / t
        rows = functional.binary_cross_entropy_with_logits(logit, answers[:, 0], reduction="none")
    else:
        rows = functional.cross_entropy(score / t, answers, reduction="none")
    return rows * t * t
