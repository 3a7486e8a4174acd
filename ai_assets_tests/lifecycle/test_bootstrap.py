"""Intervals by resampling."""

import time

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.evaluation.bootstrap import (
    Estimate,
    bootstrap,
    paired_difference,
    resample_counts,
)
from ai_assets.lifecycle.evaluation.metrics import scored


def _rows(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = generator.random(size)
    return (generator.random(size) < p).astype(float), p


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    y, p = _rows(4_000, seed=1)

    brier = bootstrap(scored(y, p), ("brier",), seed=2, resamples=1_000)["brier"]

    wide = 2 * 1.96 * ((p - y) ** 2).std() / np.sqrt(4_000)
    assert brier.high - brier.low == pytest.approx(wide, rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_promised() -> None:
    # Scores are the true chances, uniform: the expected Brier score is E[p(1 - p)] = 1/6.
    covered = 0
    for seed in range(100):
        brier = bootstrap(scored(*_rows(400, seed)), ("brier",), seed=seed)["brier"]
        covered += brier.low <= 1 / 6 <= brier.high

    assert 88 <= covered <= 100


def test_every_interval_holds_its_own_value() -> None:
    for estimate in bootstrap(scored(*_rows(150, seed=5)), seed=1).values():
        assert estimate.low <= estimate.value <= estimate.high


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    rows = scored(*_rows(500, seed=3))

    first, again, other = (bootstrap(rows, seed=seed)["roc_auc"] for seed in (1, 1, 2))

    assert first == again
    assert first.low != other.low


def test_pieces_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resample_counts(50, 10, seed=4)))
    monkeypatch.setattr("ai_assets.lifecycle.evaluation.bootstrap._PIECE", 150)
    pieces = list(resample_counts(50, 10, seed=4))

    assert [len(piece) for piece in pieces] == [3, 3, 3, 1]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.sum(axis=1).tolist() == [50] * 10


def test_no_resamples_give_values_without_intervals() -> None:
    auc = bootstrap(scored(*_rows(100, seed=1)), seed=1, resamples=0)["roc_auc"]

    assert auc.low is None
    assert str(auc) == f"{auc.value:.4f}"


def test_resamples_that_cannot_give_a_metric_are_left_out() -> None:
    # The only positive row is missing from about 37 % of resamples.
    y, p = np.r_[1.0, np.zeros(99)], np.linspace(1, 0, 100)

    assert bootstrap(scored(y, p), ("roc_auc",), seed=1)["roc_auc"].high == 1.0
    one = bootstrap(scored([1.0], [0.2]), ("precision",), seed=1)["precision"]
    assert one == Estimate(None, words="undefined: no row is predicted positive")


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    y, p = _rows(2_000, seed=6)
    slightly_worse = np.clip(p * 0.9 + 0.05, 0, 1)

    apart = [
        bootstrap(scored(y, s), ("log_loss",), seed=1)["log_loss"] for s in (p, slightly_worse)
    ]
    gap = paired_difference(y, slightly_worse, p, "log_loss", seed=1)

    assert gap.value == pytest.approx(apart[1].value - apart[0].value)
    assert gap.high - gap.low < (apart[0].high - apart[0].low) / 3


def test_a_model_does_not_differ_from_itself() -> None:
    y, p = _rows(300, seed=7)

    assert paired_difference(y, p, p, "roc_auc", seed=1) == Estimate(0.0, 0.0, 0.0)


def test_wrong_settings_are_named() -> None:
    rows = scored(*_rows(10, seed=1))

    with pytest.raises(DeclarationError, match="resamples must be 0 or more, but got -1"):
        bootstrap(rows, seed=1, resamples=-1)
    with pytest.raises(DeclarationError, match="level must be between 0 and 1, but got 95"):
        bootstrap(rows, seed=1, level=95)


def test_13_000_rows_and_200_resamples_of_all_metrics_take_under_three_seconds() -> None:
    rows = scored(*_rows(13_000, seed=1))

    begun = time.process_time()
    bootstrap(rows, seed=1, resamples=200)

    assert time.process_time() - begun < 3


def test_rows_of_a_block_are_drawn_together_and_blocks_as_often_as_rows_would() -> None:
    blocks = np.array(["b", "a", "b", "c", "a", "b"])

    counts = np.concatenate(list(resample_counts(6, 500, seed=1, blocks=blocks)))

    assert counts.shape == (500, 6)
    assert (counts[:, blocks == "b"] == counts[:, [0]]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert counts[:, 3].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("blocks", [None, np.arange(50) // 7])
def test_an_order_moves_the_counts_and_draws_the_same(blocks):
    order = np.random.default_rng(1).permutation(50)
    plain, moved = (
        np.concatenate(list(resample_counts(50, 10, seed=4, blocks=blocks, order=given)))
        for given in (None, order)
    )
    np.testing.assert_array_equal(moved, plain[:, order])
    assert (moved != plain).any()
