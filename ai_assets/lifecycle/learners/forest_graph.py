"""A forest as an ONNX graph in which every split compares a number with a threshold.

ONNX Runtime walks trees fastest where all splits are of one kind and none has a direction of its
own for missing values (`onnxruntime/core/providers/cpu/ml/tree_ensemble_common.h`). So rows get
more columns: each number's negative, because NaN is never at most a threshold and so takes the
branch for "no", whichever of left and right that is; and ranks of categories (`memberships`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.learners.forest import Forest, Tree
from ai_assets.lifecycle.learners.graphs import Graph
from ai_assets.lifecycle.learners.memberships import Question, Ranks, build_ranks, categories

ML, ML_OPSET = "ai.onnx.ml", 5
ZERO = np.float32(1e-35)
"""LightGBM's `kZeroThreshold`: what is no farther from 0 counts as 0."""
AT_MOST, MEMBER = 0, 6
"""Kinds of splits of ONNX's TreeEnsemble: `x <= threshold` and `x in set`."""
PLAIN = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "custom")
LISTS = (
    "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs",
    "nodes_falseleafs", "leaf_targetids",
)  # fmt: skip
TENSORS = {"nodes_splits": np.float32, "nodes_modes": np.uint8, "leaf_weights": np.float32}


@dataclass(frozen=True)
class Splits:
    """What the S splits of a tree compare.

    Attributes:
        column: int64 [S]: of the columns that rows get.
        threshold: float32 [S]: the answer is yes where the column is not above it.
        sets: of each split that asks whether the column is one of a set of categories, the set, a
            bit a category; its threshold means nothing.
        yes_is_right: bool [S]: whether yes leads right.
    """

    column: np.ndarray
    threshold: np.ndarray
    sets: dict[int, int]
    yes_is_right: np.ndarray


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
        trees.add(tree, _splits(tree, features, ranks), number % forest.outputs, share)
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


def _splits(tree: Tree, features: int, ranks: Ranks | None) -> Splits:
    column = tree.feature + np.where(tree.zero_missing, 2 * features, 0)
    threshold = lowered(tree.threshold)
    # x > t is -x < -t; and NaN says no, which here means left.
    beyond = _next_below(-threshold)
    splits = Splits(
        column=np.where(tree.missing_left, column + features, column),
        threshold=np.where(tree.missing_left, beyond, threshold),
        sets={},
        yes_is_right=tree.missing_left.copy(),
    )
    for number in (number for number, members in enumerate(tree.sets) if members):
        _ask_set(splits, number, int(tree.feature[number]), tree.sets[number], ranks)
    return splits


def _ask_set(splits: Splits, number: int, feature: int, members: int, ranks: Ranks | None) -> None:
    """Let a split ask for a set of categories: by its rank, or where there is none by itself."""
    asked = ranks.questions.get((feature, members)) if ranks else None
    if asked is None:
        splits.sets[number] = members
        asked = Question(feature, 0.0, opposite=False)
    splits.column[number], splits.threshold[number] = asked.column, asked.threshold
    splits.yes_is_right[number] = asked.opposite


def lowered(thresholds: np.ndarray) -> np.ndarray:
    """The nearest float32 that are not above thresholds: every float32 row goes where it went."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.where(near > thresholds, _next_below(near), near)


def _next_below(numbers: np.ndarray) -> np.ndarray:
    """The next smaller float32 of each; of the smallest one that is minus infinity."""
    with np.errstate(over="ignore"):
        return np.nextafter(numbers, np.float32(-np.inf))


class _Trees:
    """The attributes of a TreeEnsemble node, filled tree by tree."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.arrays: dict[str, list[np.ndarray]] = defaultdict(list)
        self.members: list[float] = []
        self.splits = self.leaves = 0

    def add(self, tree: Tree, splits: Splits, output: int, share: float) -> None:
        """Add a tree whose leaves, times `share`, count for an output."""
        modes = np.full(len(splits.column), AT_MOST, dtype=np.uint8)
        for number, members in splits.sets.items():
            modes[number] = MEMBER
            self.members += [*categories(members), np.nan]
        added = {
            "nodes_featureids": splits.column,
            "nodes_splits": splits.threshold,
            "nodes_modes": modes,
            "leaf_weights": tree.leaf * share,
            "leaf_targetids": np.full(len(tree.leaf), output),
        }
        children = {
            "true": np.where(splits.yes_is_right, tree.right, tree.left),
            "false": np.where(splits.yes_is_right, tree.left, tree.right),
        }
        for side, child in children.items():
            is_leaf = child < 0
            ids = np.where(is_leaf, self.leaves - 1 - child, self.splits + child)
            added |= {f"nodes_{side}nodeids": ids, f"nodes_{side}leafs": is_leaf}
        for name, array in added.items():
            self.arrays[name].append(array)
        self.roots.append(self.splits)
        self.splits += len(splits.column)
        self.leaves += len(tree.leaf)

    def attributes(self, outputs: int) -> dict[str, Any]:
        """By the names of ONNX's operator TreeEnsemble, version 5."""
        from onnx import numpy_helper

        arrays = {name: np.concatenate(parts) for name, parts in self.arrays.items()}
        lists = {name: arrays[name].astype(np.int64).tolist() for name in LISTS}
        tensors = {name: arrays[name].astype(kind) for name, kind in TENSORS.items()}
        if self.members:
            tensors["membership_values"] = np.array(self.members, dtype=np.float32)
        held = {name: numpy_helper.from_array(array) for name, array in tensors.items()}
        return {"tree_roots": self.roots, **lists, **held, "n_targets": outputs}


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
