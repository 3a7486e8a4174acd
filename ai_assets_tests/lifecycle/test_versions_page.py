"""A new version beside the one in production, as a page."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.gate.beside import metrics_beside, nothing_beside
from ai_assets.lifecycle.gate.page import versions_page
from ai_assets.lifecycle.gate.pair import Pair, Side
from ai_assets.lifecycle.schema.decision import Decision

VERSIONS = pl.DataFrame(
    {
        "what": ["bundle", "family"],
        "in_production": ["p:1", "linear"],
        "this": ["p:<2>", "linear"],
        "changed": [True, False],
    }
)


def pair(y: np.ndarray, old: np.ndarray, new: np.ndarray, task: Any) -> Pair:
    """Two versions that answer alike."""
    decision = Decision(task)
    return Pair(y, Side(old, decision), Side(new, decision))


def test_the_page_says_how_good_and_what_is_different() -> None:
    luck = np.random.default_rng(1)
    truth = luck.uniform(0.1, 0.9, 400)
    y = (luck.random(400) < truth).astype(float)
    metrics = metrics_beside(pair(y, np.full(400, 0.5), truth, "binary"), blocks=None, seed=1)

    page = versions_page("p: new beside old", "It passed.", VERSIONS, metrics)

    loss = metrics.row(by_predicate=pl.col("metric") == "log_loss", named=True)
    assert f"<td>{loss['in_production']:.4f}</td><td>{loss['this']:.4f}</td>" in page
    assert f"<td>{loss['low']:+.4f} to {loss['high']:+.4f}</td><td class='better'>better" in page
    assert "<tr class=same><td>family</td>" in page
    assert "<tr><td>bundle</td><td>p:1</td><td>p:&lt;2&gt;</td></tr>" in page
    assert "<p>It passed.</p>" in page


def test_without_a_champion_the_page_says_so() -> None:
    page = versions_page("p", "It passed.", VERSIONS, nothing_beside())

    assert "There was nobody to compare its answers with." in page and "95 %" not in page


def test_metrics_of_numbers_know_which_way_is_better() -> None:
    luck = np.random.default_rng(2)
    y = luck.normal(0, 1, 300)

    found = metrics_beside(
        pair(y, np.zeros(300), y + luck.normal(0, 0.1, 300), "regression"), blocks=None, seed=1
    )

    assert found["metric"].to_list() == ["rmse", "mae", "r2"]
    assert found["says"].to_list() == ["better"] * 3
    assert found["difference"][0] < 0 < found["difference"][2]


def test_metrics_of_several_classes_stand_beside_too() -> None:
    luck = np.random.default_rng(3)
    y = luck.integers(0, 3, 300).astype(float)
    sure = np.eye(3)[y.astype(int)] * 0.7 + 0.1

    found = metrics_beside(
        pair(y, np.full((300, 3), 1 / 3), sure, "multiclass"), blocks=None, seed=1
    )

    assert found["metric"].to_list() == ["log_loss", "accuracy", "macro_f1"]
    assert found["says"].to_list() == ["better"] * 3
    assert found["this"].to_list() == pytest.approx([-np.log(0.8), 1.0, 1.0])
