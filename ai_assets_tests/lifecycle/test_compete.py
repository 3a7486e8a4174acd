"""The best family wins, and the words say how sure that is."""

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.training.compete import compete

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.uniform(0.05, 0.95, 2000)
Y = (RANDOM.random(2000) < TRUE).astype(float)
GOOD, FLAT = TRUE[:, None], np.full((2000, 1), 0.5)


def test_a_clearly_better_family_wins_with_an_interval_that_excludes_zero():
    result = compete(Y, {"flat": FLAT, "good": GOOD}, metric="log_loss", task="binary", seed=0)
    assert result.winner == "good"
    assert result.table["family"].to_list() == ["good", "flat"]
    loser = result.table.row(1, named=True)
    assert loser["value"] == pytest.approx(np.log(2))
    assert 0 < loser["low"] < loser["difference"] < loser["high"]
    assert "clearly better than flat" in result.why


def test_equal_families_are_told_apart_by_their_order_alone():
    result = compete(Y, {"a": GOOD, "b": GOOD.copy()}, metric="roc_auc", task="binary", seed=0)
    assert result.winner == "a"
    assert "not clearly better than b" in result.why


def test_regressions_compete_by_their_error():
    y = RANDOM.normal(size=500)
    near, far = (y + RANDOM.normal(size=500) * s for s in (0.1, 1.0))
    predicted = {"far": far[:, None], "near": near[:, None]}
    result = compete(y, predicted, metric="rmse", task="regression", seed=0)
    assert result.winner == "near"
    assert result.table["value"][0] == pytest.approx(0.1, abs=0.02)
    assert result.table["clear"][1] is True


def test_a_family_alone_wins_without_an_opponent():
    result = compete(Y, {"good": GOOD}, metric="brier", task="binary", seed=0)
    assert "no other family competed" in result.why
    with pytest.raises(DataError, match="at least one family"):
        compete(Y, {}, metric="brier", task="binary", seed=0)
