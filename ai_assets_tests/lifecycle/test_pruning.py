"""Channels that say nothing go without a trace; those that shortcuts add together go together."""

import numpy as np
import pytest

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.pruning import (
    channel_groups,
    masked,
    prune_channels,
    sparsity_masks,
)
from ai_assets.lifecycle.learners.cnn_graph import to_onnx
from ai_assets.lifecycle.learners.cnn_network import Weights, arrays_of, design, network

X = np.random.default_rng(0).random((20, 64), dtype=np.float32)


@pytest.fixture
def weights() -> Weights:
    import torch

    torch.manual_seed(0)
    made = design((8, 8, 1), 3, width=8, stages=2, blocks=2, stem_stride=1)
    layers = network(made)
    for name, value in layers.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    return Weights(made, arrays_of(layers))


def answers(weights: Weights) -> np.ndarray:
    return run_session(open_session(to_onnx(weights, "regression", slice(0, 64), 64)), X)


def silenced(weights: Weights, channels: dict[str, list[int]]) -> Weights:
    """The network with some channels of some groups always 0."""
    arrays = {name: value.copy() for name, value in weights.arrays.items()}
    for name, (_, after) in channel_groups(weights.architecture).items():
        for part in ("weight", "bias", "running_mean"):
            arrays[f"{name}.norm.{part}"][channels.get(after, [])] = 0
    return Weights(weights.architecture, arrays)


def test_channels_that_are_always_0_go_and_no_answer_changes(weights):
    groups = {after for _, after in channel_groups(weights.architecture).values()}
    halves = {8: [0, 3, 4, 6], 16: list(range(8))}
    quiet = silenced(weights, {group: halves[channels(weights, group)] for group in groups})
    pruned = prune_channels(quiet, 0.5)

    assert [size for size, _ in pruned.architecture.stem] == [4]
    assert [(b.inner, b.outer) for b in pruned.architecture.blocks] == [(4, 4)] * 2 + [(8, 8)] * 2
    assert {n: v.shape for n, v in pruned.arrays.items()} == pruned.architecture.tensors()
    np.testing.assert_allclose(answers(pruned), answers(quiet), rtol=1e-4, atol=1e-5)


def channels(weights: Weights, group: str) -> int:
    found = channel_groups(weights.architecture)
    name = next(name for name, (_, after) in found.items() if after == group)
    return len(weights.arrays[f"{name}.norm.weight"])


def test_channels_that_matter_would_change_the_answers(weights):
    assert np.abs(answers(prune_channels(weights, 0.5)) - answers(weights)).max() > 0.01


def test_a_shortcut_without_a_convolution_ties_its_channels_to_the_block(weights):
    groups = channel_groups(weights.architecture)
    outers = [groups[f"blocks.{i}.second"][1] for i in range(4)]
    assert outers == ["stem.0", "stem.0", "blocks.2.outer", "blocks.2.outer"]
    assert groups["blocks.2.shortcut"] == ("stem.0", "blocks.2.outer")
    assert groups["stem.0"] == ("image", "stem.0")


def test_four_channels_stay_however_many_are_to_go(weights):
    assert prune_channels(weights, 0.99).architecture.stem == ((4, 1),)
    assert prune_channels(weights, 0.0).architecture == weights.architecture


def test_masks_leave_the_declared_share_whatever_the_scale_of_a_layer(weights):
    weights.arrays["stem.0.conv.weight"] *= 1e-3
    masks = sparsity_masks(weights, 0.8)
    kept = sum(mask.sum() for mask in masks.values()) / sum(mask.size for mask in masks.values())
    assert kept == pytest.approx(0.2, abs=0.01)
    assert 0.05 < masks["stem.0.conv.weight"].mean() < 0.5
    empty = masked(weights, masks)
    for name, mask in masks.items():
        assert np.array_equal(empty.arrays[name] != 0, mask)
