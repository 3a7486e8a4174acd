"""What is done for many rows at once gives what it would give row by row."""

from pathlib import Path

import numpy as np
import pytest

from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.metrics import observe_all
from ai_assets.serving.scoring import Scorer


@pytest.mark.parametrize("count", [3, 200], ids=["few", "many"])
def test_many_observations_count_as_single_ones(count: int):
    from prometheus_client import CollectorRegistry, Histogram

    values = np.concatenate([[0.1, 0.2, 1.0], np.random.default_rng(1).random(count)])
    one, all_at_once = (
        Histogram("seen", "", buckets=(0.1, 0.2, 0.5), registry=CollectorRegistry())
        for _ in range(2)
    )

    observe_all(all_at_once, values)

    for value in values.tolist():
        one.observe(value)
    for mine, theirs in zip(
        all_at_once.collect()[0].samples, one.collect()[0].samples, strict=True
    ):
        assert (mine.name, mine.labels) == (theirs.name, theirs.labels)
        if not mine.name.endswith("_created"):
            assert mine.value == pytest.approx(theirs.value, rel=1e-12)


def test_rows_divided_among_cores_get_the_same_answers(shared: Path):
    scorer = Scorer(load_bundle(shared / "payload"))
    random = np.random.default_rng(1)
    matrix = random.normal(size=(5001, 4)).astype(np.float32)

    together = scorer.probabilities(matrix)

    alone = np.concatenate([scorer.probabilities(matrix[at : at + 7]) for at in range(0, 5001, 7)])
    assert together.shape == (5001, 1)
    assert np.abs(together - alone).max() < 1e-12
