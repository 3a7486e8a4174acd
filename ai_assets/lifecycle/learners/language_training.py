"""The training loop of language models."""

import math
from typing import Any

import numpy as np

from ai_assets.lifecycle.features.tokens import PADDING
from ai_assets.lifecycle.learners.base import OnStep
from ai_assets.lifecycle.learners.language import (
    SETTINGS,
    LanguageModel,
    design,
    own_numbers,
)
from ai_assets.lifecycle.learners.text_features import by_length, longest
from ai_assets.lifecycle.learners.torch_runs import choose_device, reproducible
from ai_assets.lifecycle.learners.transformer import Transformer, random_transformer
from ai_assets.lifecycle.learners.transformer_torch import build_module, weights_of

PATIENCE = 5


def train_language(
    tokens: np.ndarray,
    held_out: np.ndarray | None,
    vocabulary: int,
    *,
    seed: int,
    threads: int,
    settings: dict[str, Any] | None = None,
    device: str = "auto",
    on_step: OnStep | None = None,
) -> LanguageModel:
    """Learn what comes after what in texts.

    Args:
        tokens: int64 [n, T], 0 after the end.
        held_out: other texts, that say when to stop; without, all epochs are run.
        vocabulary: numbers of tokens that the tokenizer has.
        seed: of weights, order and dropout.
        threads: of the CPU; 0 is every core.
        settings: where they are others than `SETTINGS`; `iterations` is how many of the epochs are
            run.
        device: `auto`, `cpu` or `cuda`.
        on_step: called after each epoch with the loss of `held_out`, in nats a token.

    Raises:
        DataError: the texts have no token in common, or one beyond the vocabulary.
        DeclarationError: a size is not possible.
    """
    import torch

    chosen = SETTINGS | (settings or {})
    numbers = own_numbers(tokens, vocabulary)
    begun = random_transformer(design(numbers, tokens.shape[1], chosen), seed)
    where = choose_device(device)
    with reproducible(seed, threads):
        module = build_module(begun, float(chosen["dropout"])).to(where)
        first = _first_bias(numbers[tokens], begun.architecture.vocabulary)
        bias = torch.nn.Parameter(first.to(where))
        trained = [*module.parameters(), bias]
        optimizer = torch.optim.AdamW(trained, weight_decay=float(chosen["weight_decay"]))
        epochs = int(chosen["epochs"])
        last = int(chosen.get("iterations", epochs))
        curve: list[dict[str, float]] = []
        best, best_epoch, kept = math.inf, last, None
        for epoch in range(1, last + 1):
            entry = {"step": float(epoch)}
            entry["train"] = _epoch(module, bias, numbers[tokens], optimizer, chosen, epoch)
            curve.append(entry)
            if held_out is None:
                continue
            entry["validation"] = value = _judge(module, bias, numbers[held_out])
            if on_step is not None:
                on_step(epoch, value)
            if "iterations" in chosen:
                continue
            if value < best:
                best, best_epoch = value, epoch
                kept = (weights_of(module), bias.detach().cpu().numpy().copy())
            elif epoch - best_epoch >= PATIENCE:
                break
        weights, last_bias = kept or (weights_of(module), bias.detach().cpu().numpy().copy())
    ended = Transformer(begun.architecture, weights)
    return LanguageModel(ended, last_bias, numbers, best_epoch, curve)


def _first_bias(tokens: np.ndarray, vocabulary: int) -> Any:
    """How often each token is told, as logarithms: what is known before any training."""
    import torch

    counts = np.bincount(tokens[:, 1:].ravel(), minlength=vocabulary) + 0.5
    counts[PADDING] = 0.5
    return torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32))


def _epoch(
    module: Any, bias: Any, tokens: np.ndarray, optimizer: Any, chosen: dict[str, Any], epoch: int
) -> float:
    """Nats a token that was told, while it learned."""
    import torch

    module.train()
    parameters = [*module.parameters(), bias]
    batches = -(-len(tokens) // int(chosen["batch"]))
    order = torch.randperm(len(tokens)).numpy()
    total, told = 0.0, 0
    for at, rows in enumerate(np.array_split(order, batches)):
        rate = float(chosen["learning_rate"]) * _share(
            (epoch - 1) * batches + at, int(chosen["epochs"]) * batches, float(chosen["warm_up"])
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        nats, count = _nats(module, bias, tokens[rows])
        optimizer.zero_grad()
        (nats / max(count, 1)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        total, told = total + float(nats.detach()), told + count
    return total / max(told, 1)


def _judge(module: Any, bias: Any, tokens: np.ndarray) -> float:
    import torch

    module.eval()
    with torch.no_grad():
        parts = [_nats(module, bias, tokens[rows]) for rows in by_length(tokens)]
    return sum(float(nats) for nats, _ in parts) / max(1, sum(count for _, count in parts))


def _nats(module: Any, bias: Any, tokens: np.ndarray) -> tuple[Any, int]:
    """Nats of the tokens after the first of each text, summed, and how many those are."""
    import torch
    from torch.nn import functional

    part = torch.from_numpy(tokens[:, : max(2, longest(tokens))].copy()).to(bias.device)
    hidden = module(part)[:, :-1]
    scores = hidden @ module.words.T + bias
    told = part[:, 1:]
    nats = functional.cross_entropy(
        scores.reshape(-1, len(bias)), told.reshape(-1), ignore_index=PADDING, reduction="sum"
    )
    return nats, int((told != PADDING).sum())


def _share(step: int, total: int, warm_up: float) -> float:
    """Of the learning rate: up in a line, then down along half a cosine wave to nothing."""
    warm = max(1, round(total * warm_up))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))
