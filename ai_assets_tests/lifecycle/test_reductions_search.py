"""What a search of reductions is asked on, how it weighs rows, and when it is known already."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ai_assets.lifecycle.fairness.parts import compared_parts
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.linear import Linear
from ai_assets.lifecycle.training import reductions
from ai_assets.lifecycle.training.costs import TwoCosts
from ai_assets.lifecycle.training.crossing import cross_fit
from ai_assets.lifecycle.training.spec import Split, Training
from ai_assets_tests.lifecycle.teams import TRAINING, dataset, declared, few, people, searched


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test searched for does not answer another."""
    monkeypatch.setattr(reductions, "_KNOWN", OrderedDict())


SPEC = declared("equal_opportunity", "team")
DATA = dataset(people(2_000, seed=0), SPEC)


def of_label(data: Dataset) -> Dataset:
    return replace(data, y=np.concatenate([[1 - data.y[0]], data.y[1:]]))


def of_limit(data: Dataset) -> Dataset:
    assert data.protected is not None
    strict = declared("equal_opportunity", "team", max_difference=0.05)
    return replace(data, protected=replace(data.protected, spec=strict))


def of_groups(data: Dataset) -> Dataset:
    """Two positives, one of each team, change places."""
    assert data.protected is not None
    groups = data.protected.groups.copy()
    pair = [np.flatnonzero((groups[:, 0] == team) & (data.y == 1))[0] for team in (0, 1)]
    groups[pair] = 1 - groups[pair]
    return replace(data, protected=replace(data.protected, groups=groups))


def of_weight(data: Dataset) -> Dataset:
    return replace(data, weight=np.linspace(0.5, 1.5, len(data)))


def of_encoding(data: Dataset) -> Dataset:
    columns = (replace(data.encoding.columns[0], name="other"), *data.encoding.columns[1:])
    return replace(data, encoding=Encoding(columns))


@pytest.mark.parametrize("changed", [of_label, of_limit, of_groups, of_weight, of_encoding])
def test_what_was_searched_for_is_known_of_the_same_rows_and_declaration_alone(
    monkeypatch: pytest.MonkeyPatch, changed: Callable[[Dataset], Dataset]
) -> None:
    fits: list[int] = []
    fit = Linear.fit
    monkeypatch.setattr(Linear, "fit", lambda *a, **k: (fits.append(1), fit(*a, **k))[1])

    def fits_for(data: Dataset, training: Training = TRAINING) -> int:
        before = len(fits)
        searched(data, training)
        return len(fits) - before

    assert fits_for(DATA) >= reductions.FOLDS
    assert fits_for(replace(DATA, x=DATA.x.copy())) == 0
    assert fits_for(changed(DATA)) >= reductions.FOLDS
    assert fits_for(DATA, TRAINING.model_copy(update={"calibration": "isotonic"})) > 0
    assert fits_for(DATA) == 0


def test_families_share_the_searches_of_all_folds_of_a_cross_validation_and_memory_has_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = dataset(people(1_500, seed=0), SPEC)
    training = TRAINING.model_copy(update={"split": Split(repeats=5)})
    searches: list[int] = []
    search = reductions._searched
    monkeypatch.setattr(reductions, "STEPS", 1)
    monkeypatch.setattr(reductions, "_searched", lambda *a: (searches.append(1), search(*a))[1])

    def crossed(family: str, **params: float) -> int:
        before = len(searches)
        ids, chosen = np.arange(len(data)), get_family(family).defaults() | params
        cross_fit(family, data, ids, chosen, training=training, task="binary")
        return len(searches) - before

    assert (crossed("linear", c=1.0), crossed("lightgbm", iterations=5)) == (25, 0)
    monkeypatch.setattr(reductions, "_MOST_KNOWN", 3)
    searched(data, training)
    assert len(reductions._KNOWN) == 3


@pytest.mark.parametrize("costs", [None, TwoCosts(missed=1, false_alarm=3)])
def test_a_row_that_stands_for_three_is_asked_as_three_rows_are(costs: TwoCosts | None) -> None:
    luck = np.random.default_rng(4)
    y = (luck.random(900) < 0.4).astype(float)
    scores = np.clip(0.3 + 0.2 * y + luck.normal(0, 0.2, 900), 0.01, 0.99)
    # rows that are told apart from others by what they are: positives of high scores count more
    times = np.where((y == 1) & (scores > 0.5), 3, 1)
    often = np.repeat(np.arange(900), times)
    training = TRAINING.model_copy(update={"costs": costs})

    ours = reductions._answered(y, scores, times.astype(float), training)
    theirs = reductions._answered(y[often], scores[often], np.ones(len(often)), training)
    plain = reductions._answered(y, scores, np.ones(900), training)

    mean = np.array([theirs[often == row].mean() for row in range(900)])
    assert ours == pytest.approx(mean, abs=0.02)
    assert np.abs(ours - plain).max() > 0.1


def test_of_many_rows_there_are_enough_of_each_label_that_is_rare() -> None:
    """Of 60,000 people 595 are positive: every sixth row has a hundred of them."""
    frame, groups, _ = few(60_000, share=0.5)
    y = (np.arange(60_000) % 101 == 0).astype(float)
    data = dataset((frame, groups, y), declared("demographic_parity", "team"))
    assert data.protected is not None

    sample = reductions._Sample.of(data, compared_parts(data.protected, y))

    positive = sample.data.y == 1
    assert y.sum() == 595
    assert positive.sum() == pytest.approx(reductions.ENOUGH, abs=5)
    assert sample.weight[positive] == pytest.approx(np.full(positive.sum(), 595 / 500))
    assert len(sample.data) == pytest.approx(reductions.MOST_ROWS + 400, abs=50)


def test_where_a_label_has_fewer_rows_than_there_are_folds_rows_teach_what_they_are() -> None:
    frame, groups, _ = people(400, seed=0)
    y = np.zeros(400)
    y[0] = 1
    data = dataset((frame, groups, y), declared("demographic_parity", "team"))

    labels, weights = searched(data)

    assert (labels == y).all() and (weights == 1).all()
