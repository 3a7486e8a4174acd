"""Image networks with fewer channels, or with fewer weights that are not 0."""

import numpy as np

from ai_assets.lifecycle.learners.cnn_network import NORM_PARTS, Architecture, Block, Weights

LEAST_CHANNELS = 4
_IMAGE = "image"


def prune_channels(weights: Weights, share: float) -> Weights:
    """The network without the weakest share of the channels of each group.

    Channels that a shortcut adds to each other belong together: they stay or go as one. How much a
    channel matters is the norm of what makes it, its normalisation folded in, times the norm of
    what reads it (magnitude pruning, Li et al. 2017).

    Args:
        weights: the network.
        share: of each group's channels that go; at least four stay.
    """
    groups = channel_groups(weights.architecture)
    kept: dict[str, np.ndarray] = {}
    for group in {after: None for _, after in groups.values()}:
        strength = _strengths(weights, groups, group)
        keep = max(min(LEAST_CHANNELS, len(strength)), round(len(strength) * (1 - share)))
        # In their order, so that equal strengths give the same network on every machine.
        kept[group] = np.sort(np.argsort(-strength, kind="stable")[:keep])
    arrays: dict[str, np.ndarray] = {}
    for name, (before, after) in groups.items():
        kernel = weights.arrays[f"{name}.conv.weight"][kept[after]]
        arrays[f"{name}.conv.weight"] = kernel if before == _IMAGE else kernel[:, kept[before]]
        for part in NORM_PARTS:
            arrays[f"{name}.norm.{part}"] = weights.arrays[f"{name}.norm.{part}"][kept[after]]
    last = kept[_last(groups)]
    arrays["head.weight"] = weights.arrays["head.weight"][:, last]
    arrays["head.bias"] = weights.arrays["head.bias"]
    return Weights(_smaller(weights.architecture, groups, kept), arrays)


def sparsity_masks(weights: Weights, share: float) -> dict[str, np.ndarray]:
    """True where a weight stays: of all kernels together the weakest share goes.

    Weights count relative to the root mean square of their own kernel: layers of many small weights
    would else be emptied first.
    """
    kernels = {name: v for name, v in weights.arrays.items() if name.endswith("conv.weight")}
    scaled = {
        name: np.abs(v) / max(float(np.sqrt(np.mean(v.astype(np.float64) ** 2))), 1e-12)
        for name, v in kernels.items()
    }
    limit = np.quantile(np.concatenate([v.ravel() for v in scaled.values()]), share)
    return {name: v > limit for name, v in scaled.items()}


def masked(weights: Weights, masks: dict[str, np.ndarray]) -> Weights:
    """The network with 0 where a mask is false."""
    zeroed = {name: weights.arrays[name] * mask for name, mask in masks.items()}
    return Weights(weights.architecture, weights.arrays | zeroed)


def channel_groups(architecture: Architecture) -> dict[str, tuple[str, str]]:
    """Of each convolution the group of channels that it reads, and that it writes."""
    convolutions = architecture.convolutions()
    groups: dict[str, tuple[str, str]] = {}
    before = _IMAGE
    for i in range(len(architecture.stem)):
        groups[f"stem.{i}"] = (before, f"stem.{i}")
        before = f"stem.{i}"
    for i in range(len(architecture.blocks)):
        name = f"blocks.{i}"
        # Without a convolution of its own a shortcut adds its own channels to the block's.
        changes = f"{name}.shortcut" in convolutions
        outer = f"{name}.outer" if changes else before
        groups[f"{name}.first"] = (before, f"{name}.inner")
        groups[f"{name}.second"] = (f"{name}.inner", outer)
        if changes:
            groups[f"{name}.shortcut"] = (before, outer)
        before = outer
    return groups


def _last(groups: dict[str, tuple[str, str]]) -> str:
    return list(groups.values())[-1][1]


def _strengths(weights: Weights, groups: dict[str, tuple[str, str]], group: str) -> np.ndarray:
    made, read = 0.0, 0.0
    for name, (before, after) in groups.items():
        kernel = weights.folded(name)[0].astype(np.float64) ** 2
        made = made + kernel.sum(axis=(1, 2, 3)) if after == group else made
        read = read + kernel.sum(axis=(0, 2, 3)) if before == group else read
    if group == _last(groups):
        read = read + (weights.arrays["head.weight"].astype(np.float64) ** 2).sum(axis=0)
    return np.sqrt(np.asarray(made) * np.asarray(read))


def _smaller(
    architecture: Architecture, groups: dict[str, tuple[str, str]], kept: dict[str, np.ndarray]
) -> Architecture:
    sizes = {name: len(kept[after]) for name, (_, after) in groups.items()}
    stem = tuple((sizes[f"stem.{i}"], stride) for i, (_, stride) in enumerate(architecture.stem))
    blocks = tuple(
        Block(sizes[f"blocks.{i}.first"], sizes[f"blocks.{i}.second"], block.stride)
        for i, block in enumerate(architecture.blocks)
    )
    return Architecture(architecture.shape, stem, blocks, architecture.outputs)
