"""The training loop of the neural network: the only place of the family that needs torch."""

from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import Dataset, OnStep, Task, link, loss
from ai_assets.lifecycle.learners.preparation import Preparation
from ai_assets.lifecycle.learners.torch_runs import choose_device, reproducible

BATCH_ROWS = (32, 2048)
BATCHES = 32
"""A small table gets small batches: an epoch must hold enough steps to learn from."""


def train_network(
    preparation: Preparation,
    train: Dataset,
    validation: Dataset | None,
    settings: dict[str, Any],
    *,
    task: Task,
    outputs: int,
    seed: int,
    threads: int,
    device: str,
    epochs: int,
    patience: int | None,
    on_step: OnStep | None,
) -> dict[str, Any]:
    """Fit the network; its weights as arrays, `iterations` and `curve`, as `MlpModel` takes them.

    Args:
        settings: `width`, `layers`, `embedding`, `dropout`, `learning_rate`, `weight_decay`.
        patience: epochs without improvement on validation before stopping; None runs them all.
    """
    import torch

    where = choose_device(device)
    shift, scale = _target_scale(task, train.y)
    with reproducible(seed, threads):
        network = _Network(preparation, settings, outputs).to(where)
        rows = _Rows(preparation, train, (train.y - shift) / scale, where)
        watch = None if validation is None else _Rows(preparation, validation, validation.y, where)
        optimizer = torch.optim.AdamW(
            network.parameters(), settings["learning_rate"], weight_decay=settings["weight_decay"]
        )
        order = torch.Generator().manual_seed(seed)
        curve: list[dict[str, float]] = []
        best, best_epoch, state = np.inf, epochs, None
        for epoch in range(1, epochs + 1):
            entry = {"step": float(epoch), "train": _epoch(network, rows, optimizer, order, task)}
            curve.append(entry)
            if watch is None or validation is None:
                continue
            predicted = link(task, _scores(network, watch) * scale + shift)
            value = loss(task, validation.y, predicted, validation.weight)
            entry["validation"] = value
            if on_step is not None:
                on_step(epoch, value)
            if patience is None:
                continue
            if value < best:
                best, best_epoch = value, epoch
                state = {k: v.detach().clone() for k, v in network.state_dict().items()}
            elif epoch - best_epoch >= patience:
                break
        if state is not None:
            network.load_state_dict(state)
    return _arrays(network, shift, scale) | {"iterations": best_epoch, "curve": curve}


class _Network:
    """Embedding and layers. A thin holder: torch's modules cannot be named without importing it."""

    def __new__(cls, preparation: Preparation, settings: dict[str, Any], outputs: int) -> Any:
        from torch import nn

        columns, size = len(preparation.categorical), settings["embedding"]
        width = len(preparation.dense_columns) + columns * size
        layers: list[Any] = []
        for _ in range(settings["layers"]):
            layers += [nn.Linear(width, settings["width"]), nn.ReLU()]
            layers += [nn.Dropout(settings["dropout"])]
            width = settings["width"]
        layers.append(nn.Linear(width, outputs))
        embedding = nn.Embedding(max(preparation.width, 1), size)
        nn.init.normal_(embedding.weight, std=0.05)
        return nn.ModuleDict({"embedding": embedding, "layers": nn.Sequential(*layers)})


class _Rows:
    """Prepared rows as tensors on the device."""

    def __init__(self, preparation: Preparation, data: Dataset, y: np.ndarray, device: str) -> None:
        import torch

        dense, slots = preparation.transform(data.x)
        weight = np.ones(len(data)) if data.weight is None else data.weight / data.weight.mean()
        self.dense = torch.from_numpy(dense).to(device)
        self.slots = torch.from_numpy(slots).to(device)
        self.y = torch.from_numpy(y.astype(np.float32)).to(device)
        self.weight = torch.from_numpy(weight.astype(np.float32)).to(device)


def _forward(network: Any, dense: Any, slots: Any) -> Any:
    import torch

    embedded = network["embedding"](slots).flatten(1)
    return network["layers"](torch.cat([dense, embedded], dim=1))


def _epoch(network: Any, rows: _Rows, optimizer: Any, order: Any, task: Task) -> float:
    import torch
    from torch.nn import functional

    network.train()
    total = 0.0
    least, most = BATCH_ROWS
    batch_rows = min(most, max(least, -(-len(rows.y) // BATCHES)))
    shuffled = torch.randperm(len(rows.y), generator=order).to(rows.y.device)
    for batch in shuffled.split(batch_rows):
        score = _forward(network, rows.dense[batch], rows.slots[batch])
        y, weight = rows.y[batch], rows.weight[batch]
        if task == "binary":
            each = functional.binary_cross_entropy_with_logits(score[:, 0], y, reduction="none")
        elif task == "multiclass":
            each = functional.cross_entropy(score, y.long(), reduction="none")
        else:
            each = (score[:, 0] - y) ** 2
        objective = (each * weight).mean()
        optimizer.zero_grad()
        objective.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        total += float(objective.detach()) * len(batch)
    return total / len(rows.y)


def _scores(network: Any, rows: _Rows) -> np.ndarray:
    import torch

    network.eval()
    with torch.no_grad():
        scores = _forward(network, rows.dense, rows.slots)
    return scores.cpu().numpy().astype(np.float64)


def _target_scale(task: Task, y: np.ndarray) -> tuple[float, float]:
    if task != "regression":
        return 0.0, 1.0
    return float(y.mean()), float(y.std()) or 1.0


def _arrays(network: Any, shift: float, scale: float) -> dict[str, Any]:
    from torch import nn

    layers = [module for module in network["layers"] if isinstance(module, nn.Linear)]
    weights = [layer.weight.detach().cpu().numpy().T.copy() for layer in layers]
    biases = [layer.bias.detach().cpu().numpy().copy() for layer in layers]
    # The target's scale goes into the last layer, so that the graph needs no step of its own.
    weights[-1] = (weights[-1] * scale).astype(np.float32)
    biases[-1] = (biases[-1] * scale + shift).astype(np.float32)
    embedding = network["embedding"].weight.detach().cpu().numpy().copy()
    return {"embedding": embedding, "weights": weights, "biases": biases}
