"""Graphs of trees answer like LightGBM itself, whatever it learned and whatever they are asked."""

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.learners import get_family, memberships
from ai_assets.lifecycle.learners.base import Dataset, Model
from ai_assets.lifecycle.learners.forest import Tree, read_forest
from ai_assets.lifecycle.learners.forest_graph import _splits, lowered
from ai_assets.lifecycle.learners.memberships import build_ranks

SIZES = (4, 60)
CLOSE = 1e-6


def rows(number: int, seed: int = 0) -> np.ndarray:
    """Two numbers, of which the first is never missing, and two columns of codes."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(number, 2)).round(2)
    numbers[random.random(number) < 0.2, 1] = np.nan
    codes = np.stack([random.integers(-1, size, number) for size in SIZES], axis=1)
    return np.concatenate([numbers, codes], axis=1).astype(np.float32)


def data(kind: str, number: int = 2000) -> Dataset:
    x = rows(number)
    effect = np.random.default_rng(1).normal(size=max(SIZES) + 1)
    score = x[:, 0] + np.nan_to_num(x[:, 1], nan=0.7) ** 2 + effect[x[:, 3].astype(int)]
    score += 0.5 * (x[:, 2] == 2)
    y = {
        "binary": score > 1,
        "share": 1 / (1 + np.exp(-score)),
        "multiclass": np.digitize(score, [0, 1.5]),
        "count": np.exp(score / 3).round(),
        "regression": 50 + score,
    }[kind]
    columns = [EncodedColumn(f"n{i}", "numeric") for i in range(2)]
    columns += [
        EncodedColumn(f"c{i}", "categorical", tuple(map(str, range(size))))
        for i, size in enumerate(SIZES)
    ]
    return Dataset(x, np.asarray(y, dtype=np.float64), None, Encoding(tuple(columns)))


def fitted(kind: str = "binary", task: str = "", **params) -> Model:
    wanted = {"iterations": 40, "learning_rate": 0.1, "min_child_samples": 10, "cat_smooth": 1.0}
    wanted |= {"num_leaves": 31, "feature_fraction": 0.8, "min_data_per_group": 5, "cat_l2": 1.0}
    family = get_family("lightgbm")
    params = family.defaults() | wanted | params
    return family.fit(data(kind), None, params, task=task or kind, seed=3, threads=1)


def hostile() -> np.ndarray:
    """Rows of which any value may be missing, unseen, beyond all bounds or next to nothing."""
    x, random = np.tile(rows(400, seed=8), (10, 1)), np.random.default_rng(7)
    codes = [np.nan, np.inf, -np.inf, -1, -7, 0, -0.0, 3, 59, 60, 999, 1e9, 3e38]
    numbers = [*codes, 1e-36, -1e-36, 1e-34, -1e-34, 0.5]
    for columns, values in ((slice(0, 2), numbers), (slice(2, 4), codes)):
        strange = random.random(x[:, columns].shape) < 0.4
        chosen = random.choice(np.array(values, dtype=np.float32), strange.sum())
        x[:, columns][strange] = chosen
    return x


def far_apart(model: Model, x: np.ndarray) -> float:
    """The largest difference of graph and model, relative where values are above 1."""
    expected, given = model.predict(x), run_session(open_session(model.to_onnx()), x)
    assert given.shape == expected.shape
    return float((np.abs(given - expected) / np.maximum(1, np.abs(expected))).max())


def trees_of(model: Model) -> dict:
    graph = onnx.load_from_string(model.to_onnx()).graph
    (node,) = [node for node in graph.node if node.op_type == "TreeEnsemble"]
    return {each.name: each for each in node.attribute}


def modes(model: Model) -> set[int]:
    return set(numpy_helper.to_array(trees_of(model)["nodes_modes"].t).tolist())


@pytest.mark.filterwarnings("error")
def test_thresholds_that_no_float32_reaches_are_lowered_without_a_warning() -> None:
    most = float(np.finfo(np.float32).max)
    wanted = {1e300: most, most: most, -most: -most, -most * (1 + 1e-9): -np.inf, -1e300: -np.inf}
    wanted |= {0.5: 0.5, 0.1: np.nextafter(np.float32(0.1), np.float32(0))}

    assert lowered(np.array(list(wanted))).tolist() == list(wanted.values())


@pytest.mark.filterwarnings("error:overflow:RuntimeWarning")
def test_a_split_beyond_all_of_float32_sends_every_row_to_the_same_side() -> None:
    most = float(np.finfo(np.float32).max)
    tree = Tree(
        feature=np.zeros(3, np.int64),
        threshold=np.array([1e300, most, 1.0]),
        left=np.array([1, 2, -1]),
        right=np.array([-2, -3, -4]),
        missing_left=np.array([True, True, False]),
        zero_missing=np.zeros(3, bool),
        sets=[0, 0, 0],
        leaf=np.arange(4.0),
    )
    splits = _splits(tree, 1, None)

    # x > t is asked as -x <= the next number below -t
    assert splits.threshold.tolist() == [-np.inf, -np.inf, 1.0]
    assert splits.yes_is_right.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("kind", "task", "params"),
    [
        ("binary", "binary", {}),
        ("binary", "binary", {"sigmoid": 0.7}),
        ("binary", "binary", {"zero_as_missing": True}),
        ("binary", "binary", {"use_missing": False}),
        ("binary", "binary", {"boosting": "rf", "bagging_fraction": 0.6}),
        ("share", "regression", {"objective": "cross_entropy", "metric": "cross_entropy"}),
        ("multiclass", "multiclass", {"iterations": 15}),
        ("multiclass", "multiclass", {"iterations": 15, "objective": "multiclassova"}),
        ("multiclass", "multiclass", {"iterations": 15, "boosting": "rf"}),
        ("regression", "regression", {}),
        ("regression", "regression", {"objective": "regression", "reg_sqrt": True}),
        ("regression", "regression", {"objective": "quantile"}),
        ("regression", "regression", {"boosting": "dart"}),
        ("count", "regression", {"objective": "poisson"}),
    ],
)
def test_a_graph_answers_like_lightgbm_on_ordinary_and_hostile_rows(kind, task, params):
    model = fitted(kind, task, **params)

    assert far_apart(model, rows(500, seed=5)) <= CLOSE
    assert far_apart(model, hostile()) <= CLOSE


def test_every_split_is_a_threshold_and_none_has_a_direction_for_missing_values():
    model = fitted()
    assert sum(bool(found) for tree in read_forest(model.text).trees for found in tree.sets) > 50

    assert modes(model) == {0}
    assert "nodes_missing_value_tracks_true" not in trees_of(model)


def test_sets_for_which_there_is_no_room_are_asked_category_by_category(monkeypatch):
    model = fitted()
    monkeypatch.setattr(memberships, "MOST_COLUMNS", 3)

    assert modes(model) == {0, 6}
    assert far_apart(model, hostile()) <= CLOSE
    monkeypatch.setattr(memberships, "MOST_COLUMNS", 0)
    assert far_apart(model, hostile()) <= CLOSE


def test_trees_that_never_split_add_what_they_hold():
    model = fitted(min_child_samples=5000, max_bin=2, min_gain_to_split=1e9)
    assert [len(tree.leaf) for tree in read_forest(model.text).trees] == [2]

    assert far_apart(model, rows(50)) <= CLOSE


def test_no_rows_give_no_answers():
    assert run_session(open_session(fitted().to_onnx()), rows(10)[:0]).shape == (0, 1)


def test_leaves_with_linear_models_are_refused():
    with pytest.raises(DataError, match="but got leaves with linear models"):
        fitted("regression", linear_tree=True, path_smooth=0.0).to_onnx()


def test_an_objective_without_a_known_link_is_refused():
    model = fitted("share", "regression", objective="cross_entropy_lambda", metric="l2")
    with pytest.raises(DataError, match="but got 'cross_entropy_lambda'"):
        model.to_onnx()


SETS = st.lists(st.tuples(st.sampled_from([2, 5]), st.integers(1, 2**9 - 1)), min_size=1)


@given(SETS, st.integers(0, 20))
def test_ranks_answer_for_every_set_and_every_category(asked, first_column):
    counted = Counter(asked)

    ranks = build_ranks(counted, first_column)

    assert ranks.questions.keys() == counted.keys()
    width = ranks.table.shape[1]
    for (feature, members), question in ranks.questions.items():
        block, column = divmod(question.column - first_column, width)
        assert ranks.features[block] == feature
        table = ranks.table[ranks.first[block] - 1 : ranks.last[block] + 1, column]
        yes = (table <= question.threshold) != question.opposite
        # A row before the categories and one after them stand for all others.
        assert yes.tolist() == [
            code >= 0 and bool(members >> code & 1) for code in range(-1, len(table) - 1)
        ]


def test_sets_within_one_another_or_apart_share_a_column():
    nested = {0b1, 0b11, 0b111, 0b11000000, 0b1000000}
    ranks = build_ranks(Counter((0, members) for members in nested), 0)
    assert {question.column for question in ranks.questions.values()} == {0}
    assert ranks.table.shape == (10, 1)

    crossing = build_ranks(Counter({(0, 0b11): 1, (0, 0b110): 1}), 0)
    assert {question.column for question in crossing.questions.values()} == {0, 1}


def test_what_is_asked_most_often_gets_the_room(monkeypatch):
    monkeypatch.setattr(memberships, "MOST_COLUMNS", 1)
    ranks = build_ranks(Counter({(0, 0b11): 1, (0, 0b110): 5}), 0)
    assert set(ranks.questions) == {(0, 0b110)}
    monkeypatch.setattr(memberships, "MOST_CELLS", 4)
    assert build_ranks(Counter({(0, 0b11): 1, (0, 0b110): 5}), 0) is None
