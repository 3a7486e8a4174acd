"""The training loop of fine-tuned sentence encoders: from labels, or from a teacher's answers."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.features.tokens import PADDING
from ai_assets.lifecycle.learners.base import OnStep, Task, link, loss
from ai_assets.lifecycle.learners.checkpoints import Checkpoint, Progress
from ai_assets.lifecycle.learners.probe import Start
from ai_assets.lifecycle.learners.text_features import bags, by_length, longest
from ai_assets.lifecycle.learners.text_model import Head
from ai_assets.lifecycle.learners.torch_runs import choose_device, reproducible
from ai_assets.lifecycle.learners.transformer import Transformer
from ai_assets.lifecycle.learners.transformer_torch import build_module, pooled, weights_of

MOST_KEPT = 1 << 28
"""Numbers of the frozen layers' answers that are kept (1 GB); beyond, they are computed again."""
BATCHES_SORTED = 8
"""So many batches are drawn together and sorted by length among themselves: little padding, and
still another company for each text in each epoch."""


@dataclass(frozen=True)
class Course:
    """How an encoder is fine-tuned.

    Attributes:
        task: what is predicted.
        settings: `trained_layers` (the upper ones; the others and the words stay as they are),
            `epochs`, `batch`, `learning_rate` (of the highest layer), `layer_decay` (of the rate,
            from a layer to the one below), `head_rate`, `weight_decay`, `warm_up` (share of the
            steps), `dropout`, `label_smoothing`.
        seed: of order and dropout.
        threads: of the CPU; 0 is every core.
        device: `auto`, `cpu` or `cuda`.
        iterations: epochs to run of those that the schedule is made for; None runs them all.
        patience: epochs without improvement on validation before stopping; None runs them all.
        imitation: how much a teacher's answers count against the labels, 0 to 1.
    """

    task: Task
    settings: dict[str, Any]
    seed: int
    threads: int
    device: str = "auto"
    iterations: int | None = None
    patience: int | None = None
    imitation: float = 0.0


@dataclass(frozen=True)
class Texts:
    """Rows to learn from: tokens int64 [n, T], labels and weights [n], and, where a teacher is
    imitated, its answers [n, K]."""

    tokens: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    answers: np.ndarray | None = None


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

    Everything random of an epoch comes from the seed and the epoch's number. A run that goes on
    from a checkpoint therefore ends with the very weights of one that was never stopped.

    Args:
        start: the encoder, and a head fitted to it.
        train: rows to learn from.
        validation: rows that say when to stop.
        course: how.
        checkpoint: where the state is kept as the run goes on.
        on_step: called after each epoch.
    """
    with reproducible(course.seed, course.threads):
        loop = _Loop(start, train, validation, course)
        if checkpoint is not None and (kept := checkpoint.read()) is not None:
            loop.resume(kept)
        return loop.run(checkpoint, on_step)


class _Loop:
    """The state of a run."""

    def __init__(
        self, start: Start, train: Texts, validation: Texts | None, course: Course
    ) -> None:
        import torch

        self.start, self.course, self.settings = start, course, course.settings
        self.where = choose_device(course.device)
        shape = start.transformer.architecture
        self.frozen = shape.layers - min(int(self.settings["trained_layers"]), shape.layers)
        self.module = build_module(start.transformer, float(self.settings["dropout"]))
        self.shift, self.scale = _target_scale(course.task, train.y)
        self.head = _linear(start.head, self.shift, self.scale)
        self.module.to(self.where)
        self.head.to(self.where)
        self.module.requires_grad_(False)
        for layer in self.module.layers[self.frozen :]:
            layer.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(self._groups())
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.train = _Rows(self, train, self.shift, self.scale)
        self.validation = validation
        self.watched = None if validation is None else _Rows(self, validation)
        self.epochs = int(self.settings["epochs"])
        self.last = self.epochs if course.iterations is None else course.iterations
        self.batches = -(-len(train.y) // int(self.settings["batch"]))
        self.done, self.best, self.best_epoch = 0, math.inf, 0
        self.kept: dict[str, Any] | None = None
        self.curve: list[dict[str, float]] = []

    def run(self, checkpoint: Checkpoint | None, on_step: OnStep | None) -> Tuned:
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
                    self.kept = self._state()
                if on_step is not None:
                    on_step(epoch, value)
            if checkpoint is not None and checkpoint.due(epoch):
                checkpoint.write(self.progress())
        if self.kept is not None:
            self._load(self.kept)
        if checkpoint is not None:
            checkpoint.remove()
        epochs = self.done if self.kept is None else self.best_epoch
        transformer = Transformer(self.start.transformer.architecture, weights_of(self.module))
        return Tuned(transformer, self._head(), epochs, self.curve)

    def progress(self) -> Progress:
        """All that the next epoch depends on."""
        parts = {"state": self._state()}
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
            parts.setdefault(part, {})[key] = value.to(self.where)
        self._load(parts["state"])
        self.kept = parts.get("kept")
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

    def _epoch(self) -> float:
        import torch

        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        total = 0.0
        for at, batch in enumerate(self._order()):
            share = self._share(self.done * self.batches + at)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * share
            score = self._scores(self.train, batch, training=True)
            value = (self._losses(score, batch) * self.train.weight[batch]).mean()
            self.optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            self.optimizer.step()
            total += float(value.detach()) * len(batch)
        return total / len(self.train.y)

    def _order(self) -> list[np.ndarray]:
        """The batches of an epoch, those of texts of a length more or less."""
        import torch

        rows = torch.randperm(len(self.train.y)).numpy()
        batches: list[np.ndarray] = []
        for drawn in np.array_split(rows, -(-self.batches // BATCHES_SORTED)):
            drawn = drawn[np.argsort(self.train.lengths[drawn], kind="stable")]
            batches += np.array_split(drawn, -(-len(drawn) * self.batches // len(rows)))
        return [batches[at] for at in torch.randperm(len(batches)).tolist()]

    def _losses(self, score: Any, batch: np.ndarray) -> Any:
        labels = _label_loss(self.course, score, self.train.y[batch])
        if self.train.answers is None:
            return labels
        share = self.course.imitation
        taught = _imitation_loss(self.course.task, score, self.train.answers[batch])
        return (1 - share) * labels + share * taught

    def _judge(self, watched: "_Rows", validation: Texts) -> float:
        import torch

        found = np.empty((len(validation.y), self.head.weight.shape[0]))
        with torch.no_grad():
            for batch in by_length(validation.tokens):
                found[batch] = self._scores(watched, batch, training=False).cpu().numpy()
        scores = found * self.scale + self.shift
        task = self.course.task
        return loss(task, validation.y, link(task, scores), validation.weight)

    def _share(self, step: int) -> float:
        """Of the learning rate: up in a line, then down along half a cosine wave to nothing."""
        total = self.epochs * self.batches
        warm = max(1, round(total * float(self.settings["warm_up"])))
        if step < warm:
            return (step + 1) / warm
        gone = min(1.0, (step - warm) / max(1, total - warm))
        return 0.5 * (1 + math.cos(math.pi * gone))

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

    def _stalled(self) -> bool:
        patience = self.course.patience
        return patience is not None and self.done - self.best_epoch >= patience

    def _state(self) -> dict[str, Any]:
        """Copies of what is trained: the rest is the start's."""
        found = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        for at, layer in enumerate(self.module.layers[self.frozen :]):
            found |= {f"{at}.{name}": value for name, value in layer.state_dict().items()}
        return {name: value.detach().clone() for name, value in found.items()}

    def _load(self, state: dict[str, Any]) -> None:
        parts: dict[str, dict[str, Any]] = {}
        for name, value in state.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = value
        self.head.load_state_dict(parts.pop("head"))
        for at, layer in parts.items():
            self.module.layers[self.frozen + int(at)].load_state_dict(layer)

    def _head(self) -> Head:
        """The head, the target's scale in it, so that the graph needs no step of its own."""
        weight, bias = (v.detach().cpu().numpy() for v in (self.head.weight, self.head.bias))
        weight, bias = weight.T * self.scale, bias * self.scale + self.shift
        weight = np.ascontiguousarray(weight, dtype=np.float32)
        return Head(weight, bias.astype(np.float32), self.start.head.rarity)


class _Rows:
    """Texts on the device, with what the frozen layers make of them."""

    def __init__(self, loop: _Loop, texts: Texts, shift: float = 0.0, scale: float = 1.0) -> None:
        import torch

        self.loop, where = loop, loop.where
        self.tokens = torch.from_numpy(texts.tokens[:, : longest(texts.tokens)].copy()).to(where)
        self.lengths = (texts.tokens != PADDING).sum(axis=1)
        weight = np.ones(len(texts.y)) if texts.weight is None else texts.weight
        self.y = _tensor((texts.y - shift) / scale, where)
        self.weight = _tensor(weight / weight.mean(), where)
        self.answers = None if texts.answers is None else _tensor(texts.answers, where)
        if self.answers is not None and loop.course.task == "regression":
            self.answers = (self.answers - shift) / scale
        words = loop.start.transformer.weights["words"]
        self.bags = _tensor(bags(words, loop.start.head.rarity, texts.tokens), where)
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
            return tokens, self.loop.lower(tokens)
        return tokens, self.cache[batch, :end]


def _linear(head: Head, shift: float, scale: float) -> Any:
    """The head as a torch layer, for a target without its scale."""
    import torch

    layer = torch.nn.Linear(*head.weight.shape)
    weight, bias = head.weight.T / scale, (head.bias - shift) / scale
    layer.load_state_dict({"weight": _tensor(weight, "cpu"), "bias": _tensor(bias, "cpu")})
    return layer


def _label_loss(course: Course, score: Any, y: Any) -> Any:
    from torch.nn import functional

    smooth = float(course.settings["label_smoothing"])
    if course.task == "binary":
        y = y * (1 - smooth) + smooth / 2
        return functional.binary_cross_entropy_with_logits(score[:, 0], y, reduction="none")
    if course.task == "multiclass":
        return functional.cross_entropy(score, y.long(), reduction="none", label_smoothing=smooth)
    return (score[:, 0] - y) ** 2


def _imitation_loss(task: Task, score: Any, wanted: Any) -> Any:
    """Distance from a teacher's answers [n, K] (Hinton et al. 2015)."""
    from torch.nn import functional

    if task == "regression":
        return (score[:, 0] - wanted[:, 0]) ** 2
    if task == "binary":
        return functional.binary_cross_entropy_with_logits(
            score[:, 0], wanted[:, 0], reduction="none"
        )
    return functional.cross_entropy(score, wanted, reduction="none")


def _target_scale(task: Task, y: np.ndarray) -> tuple[float, float]:
    if task != "regression":
        return 0.0, 1.0
    return float(y.mean()), float(y.std()) or 1.0


def _tensor(values: np.ndarray, where: str) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(where)


def _seed_of(seed: int, epoch: int) -> int:
    """A seed for each epoch of each run."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
