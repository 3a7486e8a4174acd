"""Whether a model of items withstands what is declared, in words."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.evaluation.graph_gradient import graph_gradient
from ai_assets.lifecycle.evaluation.robustness import Robustness
from ai_assets.lifecycle.evaluation.spec import Withstands
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.graphs import Graph
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages.evaluation_items import (
    ESTIMATED,
    TRUE,
    Attacked,
    ItemScorer,
    attacked_by,
    item_findings,
    withstands,
)

CURVE = pl.DataFrame(
    {"corruption": ["blur", "word_order"], "severity": [1, 1], "accuracy": [0.9, 0.5]}
)
ROBUST = Robustness(40, 0.95, CURVE, {"blur": "a", "word_order": "b"})
ATTACKED = Attacked(30, 0.9, {"fgsm": 0.6, "pgd": 0.4}, "each pixel a little", "by guess")


def test_without_a_limit_the_figures_are_told():
    found = withstands(ROBUST, ATTACKED, Withstands())
    assert found.passed
    assert found.words == (
        "Accuracy 0.950, on average 0.700 under corruptions (least under word order); 0.400 of "
        "0.900 remains under an adversary (each pixel a little; by guess); no limit is declared."
    )
    assert found.metadata == {"corrupted": 0.7, "attacked": 0.4}


def test_a_limit_that_is_not_met_warns_and_one_that_is_met_passes():
    low = withstands(ROBUST, ATTACKED, Withstands(min_corrupted=0.8))
    assert not low.passed and low.warn and low.words.endswith("declared: min_corrupted 0.8.")
    assert not withstands(ROBUST, ATTACKED, Withstands(min_attacked=0.5)).passed
    assert withstands(ROBUST, ATTACKED, Withstands(min_corrupted=0.6, min_attacked=0.3)).passed


def test_of_large_pictures_no_adversary_is_tried_and_it_says_so():
    found = withstands(ROBUST, None, Withstands(min_attacked=0.5))
    assert found.passed and "no adversary was tried" in found.words


def linear_scorer(*, side: int = 8, slope: bool = True, rows: int = 60) -> ItemScorer:
    """A model that tells by brightness of halves which of two pictures it is, and is just right."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, rows)
    pictures = random.integers(80, 120, (rows, side, side))
    left = np.arange(side) < side // 2
    pictures += np.where(left, 12, 0) * (2 * y - 1)[:, None, None]
    graph, half = Graph(), np.tile(left, side)
    weight = np.stack([np.where(half, -1.0, 1.0), np.where(half, 1.0, -1.0)], axis=1)
    product = graph.add("MatMul", "x", graph.constant(weight.astype(np.float32)))
    graph.add("Softmax", product, output="y", axis=1)
    made = graph.to_bytes(side * side, 2)
    session = open_session(made)
    encoding = Encoding((EncodedColumn("image", "image", (), (side, side, 1)),))
    frame = pl.DataFrame({"image": [picture.astype(np.uint8).tobytes() for picture in pictures]})
    data: Any = SimpleNamespace(
        split=lambda _: Dataset(encoding.transform(frame), y.astype(float), None, encoding),
        frame=lambda _: frame,
        encoding=encoding,
    )
    return ItemScorer(
        lambda x: run_session(session, x),
        data,
        Decision("multiclass", classes=("dark", "bright")),
        "image",
        graph_gradient(made) if slope else None,
    )


def test_a_graph_with_gradients_is_attacked_along_them_and_another_by_its_answers():
    true, guessed = (attacked_by(linear_scorer(slope=slope), 0.04, 1) for slope in (True, False))

    assert true is not None and guessed is not None
    assert (true.method, guessed.method) == (TRUE, ESTIMATED)
    assert true.clean == guessed.clean == 1.0
    # All rows are turned by moving each half by as much as tells them apart.
    assert true.remains == {"fgsm": 0.0, "pgd": 0.0}
    assert guessed.remains["pgd"] > 0.2
    assert true.table().to_dicts()[1] == {
        "attack": "pgd", "may": "each pixel moved by up to 0.04 of white", "by": TRUE,
        "rows": 60, "clean": 1.0, "remains": 0.0,
    }  # fmt: skip


def test_a_smaller_radius_leaves_more():
    scorer = linear_scorer()
    left = [attacked_by(scorer, epsilon, 1) for epsilon in (0.002, 0.02, 0.04)]
    remains = [found.remains["pgd"] for found in left if found is not None]
    assert remains[0] == 1.0 > remains[1] > remains[2] == 0.0


def test_larger_pictures_are_attacked_along_gradients_alone_and_fewer_of_them():
    assert attacked_by(linear_scorer(side=72, slope=False), 0.05, 1) is None
    found = attacked_by(linear_scorer(side=130), 0.05, 1)
    assert found is not None and found.rows == 100 * 64 * 64 // 130**2


@pytest.mark.parametrize(("slope", "method"), [(True, TRUE), (False, ESTIMATED)])
def test_the_metadata_of_evaluation_and_the_check_name_the_method(slope, method):
    column = Column(type="image", size=[8, 8])
    run: Any = SimpleNamespace(
        product=SimpleNamespace(request_table=SimpleNamespace(columns={"image": column})),
        say=lambda _: None,
    )
    declared: Any = SimpleNamespace(
        item="image", robustness=Withstands(), training=SimpleNamespace(seed=1)
    )
    decision = Decision("multiclass", classes=("dark", "bright"))

    scorer = linear_scorer(slope=slope)
    scores = scorer.of_items(scorer.items, np.arange(len(scorer.y)))

    found = item_findings(run, scorer, declared, decision, scores)

    told = found.shown["adversary"].md_str.splitlines()
    assert told[0] == "| attack | may | by | rows | clean | remains |"
    assert [line.split(" | ")[2] for line in told[2:]] == [method] * 2
    assert method in found.checks["withstands_corruption"].words
