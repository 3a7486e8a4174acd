"""How language models learn: each token from those before it."""

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
from ai_assets.lifecycle.learners.training_loop import Course, State, Step, Trainee, run
from ai_assets.lifecycle.learners.transformer import Transformer, random_transformer
from ai_assets.lifecycle.learners.transformer_torch import build_module, weights_of

PATIENCE = 5
_BIAS = "told"


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
    chosen = SETTINGS | (settings or {})
    numbers = own_numbers(tokens, vocabulary)
    begun = random_transformer(design(numbers, tokens.shape[1], chosen), seed)
    iterations = chosen.get("iterations")
    patience = PATIENCE if held_out is not None and iterations is None else None
    course = Course("multiclass", chosen, seed, threads, device, iterations, patience)
    with reproducible(seed, threads):
        watched = None if held_out is None else numbers[held_out]
        pupil = _Reader(begun, numbers[tokens], watched, course)
        done = run(pupil, course, on_step=on_step)
        ended = Transformer(begun.architecture, weights_of(pupil.module))
        bias = pupil.bias.detach().cpu().numpy().copy()
    return LanguageModel(ended, bias, numbers, done.iterations, done.curve)


class _Reader(Trainee):
    """The layers, the bias of each token, and the texts."""

    seeded_by_epoch = False

    def __init__(
        self, begun: Transformer, tokens: np.ndarray, held_out: np.ndarray | None, course: Course
    ) -> None:
        import torch

        settings = course.settings
        where = choose_device(course.device)
        self.tokens, self.held_out = tokens, held_out
        self.module = build_module(begun, float(settings["dropout"])).to(where)
        first = _first_bias(tokens, begun.architecture.vocabulary)
        self.bias = torch.nn.Parameter(first.to(where))
        self.parameters = [*self.module.parameters(), self.bias]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            float(settings["learning_rate"]),
            weight_decay=float(settings["weight_decay"]),
        )
        self.batches_an_epoch = -(-len(tokens) // int(settings["batch"]))

    def batches(self) -> list[np.ndarray]:
        """Rows of texts, all batches as large but for one."""
        import torch

        self.module.train()
        order = torch.randperm(len(self.tokens)).numpy()
        return np.array_split(order, self.batches_an_epoch)

    def step(self, batch: np.ndarray) -> Step:
        """Nats a token that was told."""
        nats, count = _nats(self.module, self.bias, self.tokens[batch])
        return Step(nats / max(count, 1), count, nats)

    def judge(self) -> float | None:
        """Nats a token of the held-out texts."""
        if self.held_out is None:
            return None
        return mean_nats(self.module, self.bias, self.held_out)

    def answering(self) -> State:
        """The layers' weights and the bias."""
        found = self.module.state_dict() | {_BIAS: self.bias}
        return {name: value.detach().clone() for name, value in found.items()}

    def load(self, state: State) -> None:
        """Take these for its own."""
        self.module.load_state_dict({k: v for k, v in state.items() if k != _BIAS})
        self.bias.data.copy_(state[_BIAS])


def mean_nats(module: Any, bias: Any, tokens: np.ndarray) -> float:
    """Nats a token of texts int64 [n, T], in the model's own numbers."""
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


def _first_bias(tokens: np.ndarray, vocabulary: int) -> Any:
    """How often each token is told, as logarithms: what is known before any training."""
    import torch

    counts = np.bincount(tokens[:, 1:].ravel(), minlength=vocabulary) + 0.5
    counts[PADDING] = 0.5
    return torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32))
