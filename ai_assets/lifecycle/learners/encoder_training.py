"""How sentence encoders are fine-tuned: to labels, or to a teacher's answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.features.tokens import PADDING
from ai_assets.lifecycle.learners.base import OnStep
from ai_assets.lifecycle.learners.checkpoints import Checkpoint
from ai_assets.lifecycle.learners.objectives import (
    Targets,
    TargetScale,
    imitation_loss,
    label_loss,
    tensor,
)
from ai_assets.lifecycle.learners.probe import Start
from ai_assets.lifecycle.learners.text_features import bags, by_length, longest
from ai_assets.lifecycle.learners.text_model import Head
from ai_assets.lifecycle.learners.torch_runs import choose_device, reproducible
from ai_assets.lifecycle.learners.training_loop import Course, State, Step, Trainee, run
from ai_assets.lifecycle.learners.transformer import Transformer
from ai_assets.lifecycle.learners.transformer_torch import build_module, pooled, weights_of

MOST_KEPT = 1 << 28
"""Numbers of the frozen layers' answers that are kept (1 GB); beyond, they are computed again."""
BATCHES_SORTED = 8
"""So many batches are drawn together and sorted by length among themselves: little padding, and
still another company for each text in each epoch."""


@dataclass(frozen=True)
class Texts:
    """Rows to learn from: tokens int64 [n, T], labels and weights [n], and, where a teacher is
    imitated, its answers [n, K] and how much they count against the labels, 0 to 1."""

    tokens: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    answers: np.ndarray | None = None
    imitation: float = 0.0


@dataclass(frozen=True)
class Tuned:
    """The best weights, the epochs that led to them, and the losses."""

    transformer: Transformer
    head: Head
    iterations: int
    curve: list[dict[str, float]]


def fine_tune(
    start: Start,
    train: Texts,
    validation: Texts | None,
    course: Course,
    *,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> Tuned:
    """Train the upper layers of an encoder and its head.

    Args:
        start: the encoder, and a head fitted to it.
        train: rows to learn from.
        validation: rows that say when to stop.
        course: how; of its settings it reads `trained_layers` (the upper ones; the others and the
            words stay as they are), `epochs`, `batch`, `learning_rate` (of the highest layer),
            `layer_decay` (of the rate, from a layer to the one below), `head_rate`,
            `weight_decay`, `warm_up`, `dropout`, `label_smoothing`.
        checkpoint: where the state is kept as the run goes on.
        on_step: called after each epoch.
    """
    with reproducible(course.seed, course.threads):
        pupil = _Encoder(start, train, validation, course)
        done = run(pupil, course, checkpoint=checkpoint, on_step=on_step)
        return Tuned(pupil.transformer(), pupil.told_head(), done.iterations, done.curve)


class _Encoder(Trainee):
    """The layers, their head, and their texts."""

    def __init__(
        self, start: Start, train: Texts, validation: Texts | None, course: Course
    ) -> None:
        import torch

        self.start, self.course, self.settings = start, course, course.settings
        self.where = choose_device(course.device)
        shape = start.transformer.architecture
        self.frozen = shape.layers - min(int(self.settings["trained_layers"]), shape.layers)
        self.module = build_module(start.transformer, float(self.settings["dropout"]))
        self.scale = TargetScale.of(course.task, train.y)
        self.head = _linear(start.head, self.scale)
        self.module.to(self.where)
        self.head.to(self.where)
        self.module.requires_grad_(False)
        for layer in self.module.layers[self.frozen :]:
            layer.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self._groups())
        groups = self.optimizer.param_groups
        self.parameters = [p for group in groups for p in group["params"]]
        self.batches_an_epoch = -(-len(train.y) // int(self.settings["batch"]))
        self.train, self.validation = train, validation
        self.rows = _Rows(self, train)
        self.targets = Targets.of(train, self.scale, self.where)
        self.answers = self._taught(train)
        self.watched = None if validation is None else _Rows(self, validation)

    def batches(self) -> list[np.ndarray]:
        """Rows of texts of a length more or less."""
        import torch

        rows = torch.randperm(len(self.train.y)).numpy()
        batches: list[np.ndarray] = []
        for drawn in np.array_split(rows, -(-self.batches_an_epoch // BATCHES_SORTED)):
            drawn = drawn[np.argsort(self.rows.lengths[drawn], kind="stable")]
            batches += np.array_split(drawn, -(-len(drawn) * self.batches_an_epoch // len(rows)))
        return [batches[at] for at in torch.randperm(len(batches)).tolist()]

    def step(self, batch: np.ndarray) -> Step:
        """Texts against their labels and the teacher's answers."""
        score = self._scores(self.rows, batch, training=True)
        return Step(self.targets.mean(self._losses(score, batch), batch), len(batch))

    def judge(self) -> float | None:
        """The loss of the layers as they are."""
        import torch

        if self.watched is None or self.validation is None:
            return None
        found = np.empty((len(self.validation.y), self.head.weight.shape[0]))
        with torch.no_grad():
            for batch in by_length(self.validation.tokens):
                found[batch] = self._scores(self.watched, batch, training=False).cpu().numpy()
        return self.scale.loss(self.course.task, self.validation, found)

    def answering(self) -> State:
        """What is trained: the rest is the start's."""
        found = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        for at, layer in enumerate(self.module.layers[self.frozen :]):
            found |= {f"{at}.{name}": value for name, value in layer.state_dict().items()}
        return {name: value.detach().clone() for name, value in found.items()}

    def load(self, state: State) -> None:
        """Take these weights for the head's and the layers' own."""
        parts: dict[str, State] = {}
        for name, value in state.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = value
        self.head.load_state_dict(parts.pop("head"))
        for at, layer in parts.items():
            self.module.layers[self.frozen + int(at)].load_state_dict(layer)

    def transformer(self) -> Transformer:
        """The encoder with its weights as they are."""
        return Transformer(self.start.transformer.architecture, weights_of(self.module))

    def told_head(self) -> Head:
        """The head, the target's scale in it, so that the graph needs no step of its own."""
        weight, bias = (v.detach().cpu().numpy() for v in (self.head.weight, self.head.bias))
        weight = np.ascontiguousarray(weight.T * self.scale.scale, dtype=np.float32)
        return Head(weight, self.scale.outward(bias).astype(np.float32), self.start.head.rarity)

    def lower(self, tokens: Any) -> Any:
        """What the frozen layers make of texts [n, t], float32 [n, t, D]."""
        import torch

        self.module.eval()
        with torch.no_grad():
            hidden, seen = self.module.begin(tokens), self.module.seen(tokens)
            for layer in self.module.layers[: self.frozen]:
                hidden = layer(hidden, seen)
        return hidden

    def _scores(self, rows: "_Rows", batch: np.ndarray, training: bool) -> Any:
        """Scores [n, K] of some of the rows."""
        import torch

        tokens, hidden = rows.hidden(batch)
        self.module.train(training)
        with torch.autocast(self.where, torch.bfloat16, enabled=self.where == "cuda"):
            seen = self.module.seen(tokens)
            for layer in self.module.layers[self.frozen :]:
                hidden = layer(hidden, seen)
        return self.head(torch.cat([pooled(hidden.float(), tokens), rows.bags[batch]], dim=1))

    def _losses(self, score: Any, batch: np.ndarray) -> Any:
        task, share = self.course.task, self.train.imitation
        smooth = float(self.settings["label_smoothing"])
        labels = label_loss(task, score, self.targets.y[batch], smooth)
        if self.answers is None:
            return labels
        return (1 - share) * labels + share * imitation_loss(task, score, self.answers[batch])

    def _taught(self, train: Texts) -> Any:
        """The teacher's answers on the device, in the unit in which they are learned."""
        if train.answers is None:
            return None
        return self.scale.inward(tensor(train.answers, self.where))

    def _groups(self) -> list[dict[str, Any]]:
        """The head, then each trained layer, the lower the smaller its steps."""
        settings, decay = self.settings, float(self.settings["weight_decay"])
        head = {"lr": settings["head_rate"], "weight_decay": 0.0}
        groups: list[dict[str, Any]] = [head | {"params": list(self.head.parameters())}]
        upper = list(self.module.layers[self.frozen :])
        for below, layer in enumerate(reversed(upper)):
            rate = settings["learning_rate"] * settings["layer_decay"] ** below
            for shrinks in (True, False):
                chosen = [p for p in layer.parameters() if (p.ndim > 1) == shrinks]
                group = {"lr": rate, "weight_decay": decay if shrinks else 0.0}
                groups.append(group | {"params": chosen})
        return groups


class _Rows:
    """Texts on the device, with what the frozen layers make of them."""

    def __init__(self, encoder: _Encoder, texts: Texts) -> None:
        import torch

        self.encoder, where = encoder, encoder.where
        self.tokens = torch.from_numpy(texts.tokens[:, : longest(texts.tokens)].copy()).to(where)
        self.lengths = (texts.tokens != PADDING).sum(axis=1)
        words = encoder.start.transformer.weights["words"]
        self.bags = tensor(bags(words, encoder.start.head.rarity, texts.tokens), where)
        self.cache: Any = None
        numbers = self.tokens.numel() * words.shape[1]
        if numbers <= MOST_KEPT:
            cache = torch.zeros(*self.tokens.shape, words.shape[1], device=where)
            for batch in by_length(texts.tokens):
                tokens, hidden = self.hidden(batch)
                cache[batch, : tokens.shape[1]] = hidden
            self.cache = cache

    def hidden(self, batch: np.ndarray) -> tuple[Any, Any]:
        """Tokens [n, t] of some texts, cut to the longest, and their hidden states [n, t, D]."""
        end = max(1, int(self.lengths[batch].max()))
        tokens = self.tokens[batch, :end]
        if self.cache is None:
            return tokens, self.encoder.lower(tokens)
        return tokens, self.cache[batch, :end]


def _linear(head: Head, scale: TargetScale) -> Any:
    """The head as a torch layer, for a target without its scale."""
    import torch

    layer = torch.nn.Linear(*head.weight.shape)
    weight, bias = head.weight.T / scale.scale, scale.inward(head.bias)
    layer.load_state_dict({"weight": tensor(weight, "cpu"), "bias": tensor(bias, "cpu")})
    return layer
