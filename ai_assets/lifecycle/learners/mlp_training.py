"""How the neural network of tables learns: the only place of the family that needs torch."""

from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import Dataset, OnStep
from ai_assets.lifecycle.learners.objectives import Targets, TargetScale, label_loss
from ai_assets.lifecycle.learners.preparation import Preparation
from ai_assets.lifecycle.learners.torch_runs import choose_device, reproducible
from ai_assets.lifecycle.learners.training_loop import Course, State, Step, Trainee, run

BATCH_ROWS = (32, 2048)
BATCHES = 32
"""A small table gets small batches: an epoch must hold enough steps to learn from."""


def train_network(
    preparation: Preparation,
    train: Dataset,
    validation: Dataset | None,
    course: Course,
    *,
    outputs: int,
    on_step: OnStep | None,
) -> dict[str, Any]:
    """Fit the network; its weights as arrays, `iterations` and `curve`, as `MlpModel` takes them.

    Args:
        preparation: of the rows, fitted.
        train: rows to learn from.
        validation: rows that say when to stop.
        course: how; of its settings it reads `width`, `layers`, `embedding`, `dropout`,
            `learning_rate`, `weight_decay`.
        outputs: columns of the score.
        on_step: called after each epoch.
    """
    with reproducible(course.seed, course.threads):
        pupil = _Pupil(preparation, train, validation, course, outputs)
        done = run(pupil, course, on_step=on_step)
        return pupil.arrays() | {"iterations": done.iterations, "curve": done.curve}


class _Network:
    """Embedding and layers. A thin holder: torch's modules cannot be named without importing it."""

    def __new__(cls, preparation: Preparation, settings: dict[str, Any], outputs: int) -> Any:
        from torch import nn

        from ai_assets.lifecycle.learners.dropout import dropout_layer

        columns, size = len(preparation.categorical), settings["embedding"]
        width = len(preparation.dense_columns) + columns * size
        layers: list[Any] = []
        for _ in range(settings["layers"]):
            layers += [nn.Linear(width, settings["width"]), nn.ReLU()]
            layers += [dropout_layer(settings["dropout"])]
            width = settings["width"]
        layers.append(nn.Linear(width, outputs))
        embedding = nn.Embedding(max(preparation.width, 1), size)
        nn.init.normal_(embedding.weight, std=0.05)
        return nn.ModuleDict({"embedding": embedding, "layers": nn.Sequential(*layers)})


class _Rows:
    """Prepared rows as tensors on the device."""

    def __init__(self, preparation: Preparation, data: Dataset, device: str) -> None:
        import torch

        dense, slots = preparation.transform(data.x)
        self.dense = torch.from_numpy(dense).to(device)
        self.slots = torch.from_numpy(slots).to(device)


class _Pupil(Trainee):
    """The network and its rows."""

    clip = 5.0
    seeded_by_epoch = False

    def __init__(
        self,
        preparation: Preparation,
        train: Dataset,
        validation: Dataset | None,
        course: Course,
        outputs: int,
    ) -> None:
        import torch

        self.course, settings = course, course.settings
        where = choose_device(course.device)
        self.scale = TargetScale.of(course.task, train.y)
        self.network = _Network(preparation, settings, outputs).to(where)
        if course.task == "count":
            # Exponents far from the mean count would make the first steps wild.
            start = float(np.log(max(train.y.mean(), 1e-6)))
            torch.nn.init.constant_(self.network["layers"][-1].bias, start)
        self.rows = _Rows(preparation, train, where)
        self.targets = Targets.of(train, self.scale, where)
        self.validation = validation
        self.watched = None if validation is None else _Rows(preparation, validation, where)
        self.parameters = list(self.network.parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            fused=True,
        )
        self.order = torch.Generator().manual_seed(course.seed)
        least, most = BATCH_ROWS
        self.batch_rows = min(most, max(least, -(-len(train) // BATCHES)))
        self.batches_an_epoch = -(-len(train) // self.batch_rows)

    def batches(self) -> Any:
        """Rows, as many in each."""
        import torch

        self.network.train()
        shuffled = torch.randperm(len(self.targets.y), generator=self.order)
        return shuffled.to(self.targets.y.device).split(self.batch_rows)

    def step(self, batch: Any) -> Step:
        """Rows against their labels."""
        score = _forward(self.network, self.rows.dense[batch], self.rows.slots[batch])
        losses = label_loss(self.course.task, score, self.targets.y[batch])
        return Step(self.targets.mean(losses, batch), len(batch))

    def judge(self) -> float | None:
        """The loss of the network as it is."""
        import torch

        if self.watched is None or self.validation is None:
            return None
        self.network.eval()
        with torch.no_grad():
            scores = _forward(self.network, self.watched.dense, self.watched.slots)
        found = scores.cpu().numpy().astype(np.float64)
        return self.scale.loss(self.course.task, self.validation, found)

    def answering(self) -> State:
        """All weights."""
        return {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def load(self, state: State) -> None:
        """Take these for the network's own."""
        self.network.load_state_dict(state)

    def arrays(self) -> dict[str, Any]:
        """The weights, with the target's scale in the last layer, so that the graph needs no step
        of its own."""
        from torch import nn

        layers = [module for module in self.network["layers"] if isinstance(module, nn.Linear)]
        weights = [layer.weight.detach().cpu().numpy().T.copy() for layer in layers]
        biases = [layer.bias.detach().cpu().numpy().copy() for layer in layers]
        weights[-1] = (weights[-1] * self.scale.scale).astype(np.float32)
        biases[-1] = self.scale.outward(biases[-1]).astype(np.float32)
        embedding = self.network["embedding"].weight.detach().cpu().numpy().copy()
        return {"embedding": embedding, "weights": weights, "biases": biases}


def _forward(network: Any, dense: Any, slots: Any) -> Any:
    import torch

    embedded = network["embedding"](slots).flatten(1)
    return network["layers"](torch.cat([dense, embedded], dim=1))
