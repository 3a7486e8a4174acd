"""What an image network is made of, and how torch computes it."""

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError, must_be

LARGEST_STAGE = 32
"""Pixels of the shorter side at which the first stage works; a larger image is halved before."""
NORM_EPSILON = 1e-5
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
KERNEL = 3
DENSE = "dense"
MOST_NAMED = 10


@dataclass(frozen=True)
class Block:
    """Two convolutions beside a shortcut: `inner` channels between them, `outer` after them."""

    inner: int
    outer: int
    stride: int = 1


@dataclass(frozen=True)
class Architecture:
    """Sizes of a residual network (He et al. 2016).

    Attributes:
        shape: height, width and channels of an image.
        stem: channels after each of the first convolutions, and their strides.
        blocks: the residual blocks, one after the other.
        outputs: columns of the score.
        dense: units of a layer that reads all pixels at once, in the place of stem and blocks; 0
            for none.
    """

    shape: tuple[int, int, int]
    stem: tuple[tuple[int, int], ...]
    blocks: tuple[Block, ...]
    outputs: int
    dense: int = 0

    @property
    def features(self) -> int:
        """Width of what the last layer reads: the mean of each channel, or the dense units."""
        if self.dense:
            return self.dense
        return self.blocks[-1].outer if self.blocks else self.stem[-1][0]

    def convolutions(self) -> dict[str, tuple[int, int, int, int]]:
        """Each convolution's channels in, channels out, kernel and stride, by name, in order."""
        found: dict[str, tuple[int, int, int, int]] = {}
        before = self.shape[2]
        for i, (channels, stride) in enumerate(self.stem):
            found[f"stem.{i}"] = (before, channels, KERNEL, stride)
            before = channels
        for i, block in enumerate(self.blocks):
            found[f"blocks.{i}.first"] = (before, block.inner, KERNEL, block.stride)
            found[f"blocks.{i}.second"] = (block.inner, block.outer, KERNEL, 1)
            if shortcut(before, block):
                found[f"blocks.{i}.shortcut"] = (before, block.outer, 1, block.stride)
            before = block.outer
        return found

    def with_outputs(self, outputs: int) -> "Architecture":
        """The same body with another last layer."""
        return replace(self, outputs=outputs)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array of the network, by the name that torch gives it."""
        found: dict[str, tuple[int, ...]] = {}
        if self.dense:
            found[f"{DENSE}.conv.weight"] = (self.dense, math.prod(self.shape))
            found |= {f"{DENSE}.norm.{part}": (self.dense,) for part in NORM_PARTS}
        for name, (before, after, kernel, _) in self.convolutions().items():
            found[f"{name}.conv.weight"] = (after, before, kernel, kernel)
            found |= {f"{name}.norm.{part}": (after,) for part in NORM_PARTS}
        found["head.weight"] = (self.outputs, self.features)
        return found | {"head.bias": (self.outputs,)}

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> "Architecture":
        """Read what `to_json` gave."""
        height, width, channels = read["shape"]
        return cls(
            (height, width, channels),
            tuple((size, stride) for size, stride in read["stem"]),
            tuple(Block(**block) for block in read["blocks"]),
            read["outputs"],
            read.get("dense", 0),
        )


def shortcut(channels: int, block: Block) -> bool:
    """Whether the way around a block needs a convolution of its own: sizes differ."""
    return block.stride != 1 or channels != block.outer


def design(
    shape: tuple[int, ...], outputs: int, *, width: int, stages: int, blocks: int, stem_stride: int
) -> Architecture:
    """A network for images of a size: each stage halves the sides and doubles the channels.

    Args:
        shape: height, width, channels.
        outputs: columns of the score.
        width: channels of the first stage.
        stages: how many; fewer where the shorter side has no more to halve.
        blocks: residual blocks a stage.
        stem_stride: 2 halves the sides once more at the very start: a quarter of the work.

    Raises:
        DataError: the shape is none of an image of 1 or 3 channels, or smaller than 8x8.
    """
    if len(shape) != 3 or min(shape[:2]) < 8 or shape[2] not in (1, 3):
        words = "[height, width, 1 or 3] of at least 8x8 pixels"
        raise DataError(must_be("the shape of an image", words, list(shape)))
    strides: list[int] = []
    side = min(shape[:2])
    while side > LARGEST_STAGE or (stem_stride == 2 and not strides):
        strides.append(2)
        side = -(-side // 2)
    made: list[Block] = []
    for stage in range(stages):
        if stage and side <= 1:
            break
        channels = width * 2**stage
        made.append(Block(channels, channels, 1 if stage == 0 else 2))
        made += [Block(channels, channels)] * (blocks - 1)
        side = side if stage == 0 else -(-side // 2)
    stem = tuple((width, stride) for stride in strides or [1])
    return Architecture((shape[0], shape[1], shape[2]), stem, tuple(made), outputs)


@dataclass(frozen=True)
class Weights:
    """An architecture with its numbers: float32 arrays by the names that torch gives them."""

    architecture: Architecture
    arrays: dict[str, np.ndarray] = field(repr=False)

    def folded(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Kernel [out, …] and bias [out] of a layer with its normalisation in it."""
        kernel = self.arrays[f"{name}.conv.weight"].astype(np.float64)
        part = {key: self.arrays[f"{name}.norm.{key}"].astype(np.float64) for key in NORM_PARTS}
        scale = part["weight"] / np.sqrt(part["running_var"] + NORM_EPSILON)
        bias = part["bias"] - part["running_mean"] * scale
        return (kernel.T * scale).T.astype(np.float32), bias.astype(np.float32)


def network(architecture: Architecture, dropout: float = 0.0) -> Any:
    """The layers as a torch module; `forward` computes them."""
    from torch import nn

    layers = nn.ModuleDict({"stem": nn.ModuleDict(), "blocks": nn.ModuleDict()})
    if architecture.dense:
        dense = nn.Linear(math.prod(architecture.shape), architecture.dense, bias=False)
        norm = nn.BatchNorm1d(architecture.dense, eps=NORM_EPSILON)
        layers[DENSE] = nn.ModuleDict({"conv": dense, "norm": norm})
    for name, (before, after, kernel, stride) in architecture.convolutions().items():
        conv = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        norm = nn.BatchNorm2d(after, eps=NORM_EPSILON)
        if name.endswith(".second"):
            # A block begins as its shortcut alone, which lets deep stacks learn from the start.
            nn.init.zeros_(norm.weight)
        at, *inner = name.split(".")[1:]
        place = layers[name.split(".")[0]]
        if not inner:
            place[at] = nn.ModuleDict({"conv": conv, "norm": norm})
            continue
        if at not in place:
            place[at] = nn.ModuleDict()
        place[at][inner[0]] = nn.ModuleDict({"conv": conv, "norm": norm})
    layers["dropout"] = nn.Dropout(dropout)
    layers["head"] = nn.Linear(architecture.features, architecture.outputs)
    return layers


def features(layers: Any, images: Any) -> Any:
    """From images [n, c, h, w] to what the last layer reads [n, D]."""
    from torch.nn import functional

    if DENSE in layers:
        return functional.relu(_normed(layers[DENSE], images.flatten(1)))
    x = images
    for step in layers["stem"].values():
        x = functional.relu(_normed(step, x))
    for block in layers["blocks"].values():
        around = _normed(block["shortcut"], x) if "shortcut" in block else x
        inner = functional.relu(_normed(block["first"], x))
        x = functional.relu(_normed(block["second"], inner) + around)
    return x.mean(dim=(2, 3))


def forward(layers: Any, images: Any) -> Any:
    """From images [n, c, h, w] to scores [n, K]."""
    return layers["head"](layers["dropout"](features(layers, images)))


def _normed(step: Any, x: Any) -> Any:
    return step["norm"](step["conv"](x))


def arrays_of(layers: Any) -> dict[str, np.ndarray]:
    """The numbers of a network, without the counter that torch keeps of batches."""
    state = layers.state_dict()
    return {
        name: value.detach().cpu().float().numpy().copy()
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def load_arrays(layers: Any, arrays: dict[str, np.ndarray]) -> None:
    """Give a network numbers; those that are not given stay as they are."""
    import torch

    given = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    layers.load_state_dict({**layers.state_dict(), **given})


def started(architecture: Architecture, path: Path) -> Weights:
    """Weights to start from: a safetensors file, as a saved model of this family holds one.

    The last layer may be left out of the file, where the classes are others.

    Raises:
        DataError: it cannot be read, or its tensors do not fit; each one that does not is named.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        read = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"weights must be a safetensors file, but got '{path}': {error}") from error
    given = {name: v for name, v in read.items() if not name.endswith("num_batches_tracked")}
    wanted = architecture.tensors()
    body = {name for name in wanted if not name.startswith("head.")}
    wrong = [f"{name} is missing" for name in wanted if name in body and name not in given]
    wrong += [f"{name} is unknown" for name in sorted(given) if name not in wanted]
    wrong += [
        f"{name} is {list(given[name].shape)} instead of {list(size)}"
        for name, size in wanted.items()
        if name in given and given[name].shape != size
    ]
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        told = "; ".join(wrong[:MOST_NAMED]) + more
        raise DataError(f"weights '{path}' must fit the network, but {told}.")
    return Weights(architecture, {k: v.astype(np.float32) for k, v in given.items()})


def images_of(x: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Pixels [n, h*w*c] as images [n, c, h, w]."""
    return np.ascontiguousarray(x.reshape(len(x), *shape).transpose(0, 3, 1, 2))
