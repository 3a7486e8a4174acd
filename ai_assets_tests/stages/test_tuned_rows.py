"""Which rows a search learned from, as it is told afterwards."""

from pathlib import Path

import numpy as np
import pytest
from hiring import write
from small_product import World

from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.linear import Linear
from ai_assets.stages.training_data import load_training_data
from ai_assets.stages.tuning import learned_in_folds

SOURCES = ("raw/people", "cleaned/people", "labels", "features", "training_set")
MOST = 1_000


def test_rows_that_a_search_learned_from_are_told_by_their_place_among_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows to train on lie among those of other splits, and the search takes some of them."""
    fitted: list[Dataset] = []
    fit = Linear.fit
    monkeypatch.setattr(
        Linear,
        "fit",
        lambda own, train, *a, **k: (fitted.append(train), fit(own, train, *a, **k))[1],
    )
    tune = {"trials": 1, "folds": 2, "max_rows": MOST}
    file = write(tmp_path / "hiring", biased=False, training={"tune": tune})
    world = World.of(file, tmp_path / "home")
    world.run(*SOURCES, "tuning")
    run = world.step("tuning")
    data = load_training_data(run)

    told = learned_in_folds(run, data)

    trains = np.flatnonzero(data.mask("train"))
    assert len(trains) > 2 * MOST and trains[-1] > len(trains) + MOST / 2
    assert len(told) == len(fitted) == 2
    for rows, learned in zip(told, fitted, strict=True):
        assert set(rows) < set(trains)
        assert np.array_equal(data.whole.x[rows], learned.x)
        assert np.array_equal(data.whole.y[rows], learned.y)
    assert len(np.union1d(*told)) == MOST
