"""A LightGBM model's own text, read as arrays."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ai_assets.lifecycle.errors import DataError

CATEGORICAL, DEFAULT_LEFT = 1, 2
"""Bits of LightGBM's `decision_type`; the two above them say what counts as missing."""
ZERO_IS_MISSING, NAN_IS_MISSING = 1, 2


@dataclass(frozen=True)
class Tree:
    """S splits, at least one, and S + 1 leaves; the first split is the root.

    Attributes:
        feature: int64 [S]: the column that a split asks.
        threshold: float64 [S]: a number that is not above it goes left.
        left: int64 [S]: where a row goes next: the number of a split, or -1 - the number of a leaf.
        right: int64 [S]: likewise.
        missing_left: bool [S]: whether a missing number goes left.
        zero_missing: bool [S]: whether zero counts as missing.
        sets: for each split the categories that go left, a bit each; 0 where numbers are compared.
            Whatever is in no set, missing or never seen, goes right.
        leaf: float64 [S + 1]: what a leaf adds to the score.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    zero_missing: np.ndarray
    sets: list[int]
    leaf: np.ndarray


@dataclass(frozen=True)
class Forest:
    """Trees whose leaves are summed, and what turns the sums into predictions.

    Attributes:
        trees: in order; the k-th adds to output k modulo `outputs`.
        outputs: scores of a row.
        objective: LightGBM's name of what was learned, and its settings in words.
        averaged: whether scores are means over the rounds (random forests).
    """

    trees: list[Tree]
    outputs: int
    objective: list[str]
    averaged: bool


def read_forest(text: str) -> Forest:
    """Read what `Booster.model_to_string` wrote (LightGBM's `Tree::ToString`, `src/io/tree.cpp`).

    Raises:
        DataError: leaves hold linear models.
    """
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    about = _fields(head)
    return Forest(
        [_tree(_fields(block)) for block in blocks],
        int(about["num_tree_per_iteration"]),
        about.get("objective", "custom").split(),
        "average_output" in about,
    )


def _fields(block: str) -> dict[str, str]:
    parts = (line.partition("=") for line in block.splitlines())
    return {name: value for name, _, value in parts}


def _tree(given: dict[str, str]) -> Tree:
    if given.get("is_linear", "0") != "0":
        raise DataError("leaves must be constants, but got leaves with linear models.")

    def numbers(name: str, kind: type) -> np.ndarray:
        return np.array(given.get(name, "").split(), dtype=kind)

    if given["num_leaves"] == "1":
        # A tree that never split becomes one whose split makes no difference.
        leaf = given["leaf_value"]
        one = {"split_feature": "0", "threshold": "0", "decision_type": "0"}
        given = one | {"left_child": "-1", "right_child": "-2", "leaf_value": f"{leaf} {leaf}"}
    threshold, decision = numbers("threshold", np.float64), numbers("decision_type", np.int64)
    missing = decision >> 2
    default_left = (decision & DEFAULT_LEFT) > 0
    return Tree(
        feature=numbers("split_feature", np.int64),
        threshold=threshold,
        left=numbers("left_child", np.int64),
        right=numbers("right_child", np.int64),
        # Where a feature never was missing, LightGBM compares a missing value as zero.
        missing_left=np.where(missing > 0, default_left, threshold >= 0),
        zero_missing=missing == ZERO_IS_MISSING,
        sets=_sets(given, threshold, (decision & CATEGORICAL) > 0),
        leaf=numbers("leaf_value", np.float64),
    )


def _sets(given: dict[str, str], threshold: np.ndarray, categorical: np.ndarray) -> list[int]:
    """For a categorical split the threshold is the number of its set, held in words of 32 bits."""
    if not categorical.any():
        return [0] * len(threshold)
    starts = [int(start) for start in given["cat_boundaries"].split()]
    words = [int(word) for word in given["cat_threshold"].split()]
    sets = [sum(w << 32 * i for i, w in enumerate(words[a:b])) for a, b in pairwise(starts)]
    return [sets[int(t)] if c else 0 for t, c in zip(threshold, categorical, strict=True)]
