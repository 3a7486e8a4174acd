"""A forest as an ONNX graph in which every split compares a number with a threshold.

ONNX Runtime walks trees fastest where all splits are of one kind and none has a direction of its
own for missing values (`onnxruntime/core/providers/cpu/ml/tree_ensemble_common.h`). So rows get
more columns: each number's negative, because NaN is never at most a threshold and so takes the
branch for "no", whichever of left and right that is; and ranks of categories (`memberships`).
"""

from collections import Counter
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.learners.forest import Forest, Tree
from ai_assets.lifecycle.learners.graphs import Graph
from ai_assets.lifecycle.learners.memberships import Ranks, build_ranks, categories

ML, ML_OPSET = "ai.onnx.ml", 5
ZERO = np.float32(1e-35)
"""LightGBM's `kZeroThreshold`: what is no farther from 0 counts as 0."""
AT_MOST, MEMBER = 0, 6
"""Kinds of splits of ONNX's TreeEnsemble: `x <= threshold` and `x in set`."""
PLAIN = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "custom")
LISTS = (
    "tree_roots", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs",
    "nodes_falseleafs", "leaf_targetids",
)  # fmt: skip
Split = tuple[int, float, int, bool]
"""Column, threshold, the set of a `MEMBER` split or 0, and whether yes means right."""


def forest_to_onnx(forest: Forest, features: int) -> bytes:
    """The graph from `x` float32 [N, features] to `y` float32 [N, outputs].

    Raises:
        DataError: the objective is none whose predictions are known.
    """
    graph = Graph()
    asked: Counter[tuple[int, int]] = Counter()
    for tree in forest.trees:
        asked.update((int(f), s) for f, s in zip(tree.feature, tree.sets, strict=True) if s)
    with_zero = any((tree.zero_missing & ~_asks_sets(tree)).any() for tree in forest.trees)
    numbers = features * (4 if with_zero else 2)
    ranks = build_ranks(asked, numbers)
    parts = _add_numbers(graph, with_zero)
    if ranks is not None:
        parts.append(_add_ranks(graph, ranks))
    columns = graph.add("Concat", *parts, axis=1)
    trees = _Trees()
    share = forest.outputs / len(forest.trees) if forest.averaged else 1.0
    for number, tree in enumerate(forest.trees):
        splits = [_split(tree, each, features, ranks) for each in range(len(tree.feature))]
        trees.add(tree, splits, number % forest.outputs, share)
    score = graph.add("TreeEnsemble", columns, domain=ML, **trees.attributes(forest.outputs))
    _add_objective(graph, forest.objective, score)
    return graph.to_bytes(features, forest.outputs, {ML: ML_OPSET})


def _asks_sets(tree: Tree) -> np.ndarray:
    return np.array([members != 0 for members in tree.sets], dtype=bool)


def _add_numbers(graph: Graph, with_zero: bool) -> list[str]:
    """Columns [N, F] each: x and -x, and both with NaN for zero where zero may be missing."""
    parts = ["x", graph.add("Neg", "x")]
    if with_zero:
        zero = graph.add("LessOrEqual", graph.add("Abs", "x"), graph.constant(ZERO))
        holes = graph.add("Where", zero, graph.constant(np.float32(np.nan)), "x")
        parts += [holes, graph.add("Neg", holes)]
    return parts


def _add_ranks(graph: Graph, ranks: Ranks) -> str:
    """Ranks [N, B * width] of each row's categories, whose codes are whole numbers.

    What is no category finds one of the rows around its block: numbers beyond by `Max` and `Min`,
    and NaN because it is not above 0 and `ThresholdedRelu` makes that 0. ONNX says what these do
    with NaN, or they never meet it; `Clip` and a cast to integers give each machine's own answer.
    """
    codes = graph.add("Gather", "x", graph.constant(ranks.features), axis=1)
    rows = graph.add("Add", codes, graph.constant(ranks.first.astype(np.float32)))
    rows = graph.add("ThresholdedRelu", rows, alpha=0.0)
    rows = graph.add("Max", rows, graph.constant((ranks.first - 1).astype(np.float32)))
    rows = graph.add("Min", rows, graph.constant(ranks.last.astype(np.float32)))
    found = graph.add("Gather", graph.constant(ranks.table), graph.add("Cast", rows, to=7), axis=0)
    width = len(ranks.features) * ranks.table.shape[1]
    return graph.add("Reshape", found, graph.constant(np.array([-1, width])))


def _split(tree: Tree, number: int, features: int, ranks: Ranks | None) -> Split:
    feature, members = int(tree.feature[number]), tree.sets[number]
    if members:
        question = ranks.questions.get((feature, members)) if ranks else None
        if question is None:
            return feature, 0.0, members, False
        return question.column, question.threshold, 0, question.opposite
    column = feature + (2 * features if tree.zero_missing[number] else 0)
    threshold = lowered(tree.threshold[number])
    if not tree.missing_left[number]:
        return column, float(threshold), 0, False
    # x > t is -x < -t; and NaN says no, which here means left.
    return column + features, float(np.nextafter(-threshold, np.float32(-np.inf))), 0, True


def lowered(threshold: float) -> np.float32:
    """The nearest float32 that is not above a threshold: every float32 row goes where it went."""
    near = np.float32(threshold)
    return np.nextafter(near, np.float32(-np.inf)) if float(near) > threshold else near


class _Trees:
    """The attributes of a TreeEnsemble node, filled tree by tree."""

    def __init__(self) -> None:
        self.lists: dict[str, list[int]] = {name: [] for name in LISTS}
        self.splits: list[float] = []
        self.modes: list[int] = []
        self.members: list[float] = []
        self.leaves: list[float] = []

    def add(self, tree: Tree, splits: list[Split], output: int, share: float) -> None:
        """Add a tree whose leaves, times `share`, count for an output."""
        first_split, first_leaf = len(self.splits), len(self.leaves)
        self.lists["tree_roots"].append(first_split)
        children = zip(tree.left.tolist(), tree.right.tolist(), strict=True)
        for (column, threshold, members, yes_is_right), pair in zip(splits, children, strict=True):
            self.lists["nodes_featureids"].append(column)
            self.splits.append(threshold)
            self.modes.append(MEMBER if members else AT_MOST)
            self.members += [*categories(members), np.nan] if members else []
            sides = ("false", "true") if yes_is_right else ("true", "false")
            for side, child in zip(sides, pair, strict=True):
                number = first_split + child if child >= 0 else first_leaf - 1 - child
                self.lists[f"nodes_{side}nodeids"].append(number)
                self.lists[f"nodes_{side}leafs"].append(int(child < 0))
        self.leaves.extend((tree.leaf * share).tolist())
        self.lists["leaf_targetids"].extend([output] * len(tree.leaf))

    def attributes(self, outputs: int) -> dict[str, Any]:
        """By the names of ONNX's operator TreeEnsemble, version 5."""
        from onnx import numpy_helper

        arrays = {
            "nodes_splits": np.array(self.splits, dtype=np.float32),
            "nodes_modes": np.array(self.modes, dtype=np.uint8),
            "leaf_weights": np.array(self.leaves, dtype=np.float32),
        }
        if self.members:
            arrays["membership_values"] = np.array(self.members, dtype=np.float32)
        tensors = {name: numpy_helper.from_array(array) for name, array in arrays.items()}
        return {**self.lists, **tensors, "n_targets": outputs}


def _add_objective(graph: Graph, objective: list[str], score: str) -> None:
    """Add the output `y`: what LightGBM makes of scores (`ConvertOutput` of its objectives)."""
    name, *settings = objective
    told = dict(setting.split(":", 1) for setting in settings if ":" in setting)
    if name in ("binary", "multiclassova") and float(told.get("sigmoid", 1)) != 1:
        score = graph.add("Mul", score, graph.constant(np.float32(told["sigmoid"])))
    if name in ("binary", "multiclassova", "cross_entropy"):
        graph.add("Sigmoid", score, output="y")
    elif name == "multiclass":
        graph.add("Softmax", score, output="y", axis=1)
    elif name in ("poisson", "gamma", "tweedie"):
        graph.add("Exp", score, output="y")
    elif "sqrt" in settings:
        graph.add("Mul", score, graph.add("Abs", score), output="y")
    elif name in PLAIN:
        graph.add("Identity", score, output="y")
    else:
        raise DataError(
            f"the objective of trees must be one whose link is known, but got {name!r}."
        )
