"""Rows are split once, time never leaks, and a row's role does not depend on its neighbours."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.training.cross_validation import make_folds
from ai_assets.lifecycle.training.spec import Split
from ai_assets.lifecycle.training.split import copies_together, split_rows, uniform

TIMES = st.lists(st.integers(0, 50), min_size=8, max_size=200).filter(lambda t: len(set(t)) >= 6)


@given(TIMES, st.sampled_from([0.1, 0.15, 0.3]))
@settings(max_examples=100, deadline=None)
def test_by_time_parts_follow_each_other_and_equal_times_stay_together(times, share):
    moments = np.array(times)
    roles = split_rows(moments, np.arange(len(times)), share, share)
    train, validation, test = (moments[roles == r] for r in ("train", "validation", "test"))
    assert len(train) + len(validation) + len(test) == len(times)
    assert train.max() < validation.min() <= validation.max() < test.min()


def test_distinct_times_are_split_by_the_declared_shares():
    times = np.datetime64("2013-01-01") + np.arange(100)
    roles = split_rows(times, np.arange(100), 0.15, 0.2)
    assert [(roles == r).sum() for r in ("train", "validation", "test")] == [65, 15, 20]


def test_parts_may_be_lengths_of_time_whatever_the_window():
    for days in (100, 300):
        times = np.datetime64("2013-01-01", "us") + np.arange(days * 4) * np.timedelta64(6, "h")
        roles = split_rows(times, np.arange(len(times)), timedelta(days=7), timedelta(days=14))
        assert [(roles == r).sum() for r in ("validation", "test")] == [7 * 4, 14 * 4]


def test_lengths_of_time_must_leave_rows_to_train_on():
    times = np.datetime64("2013-01-01", "us") + np.arange(20) * np.timedelta64(1, "D")
    with pytest.raises(DataError, match=r"less than the window's 19 days.*asks for 20 days"):
        split_rows(times, np.arange(20), timedelta(days=10), timedelta(days=10))


def test_lengths_of_time_need_times():
    with pytest.raises(DataError, match="rows that all have one"):
        split_rows(None, np.arange(20), timedelta(days=1), timedelta(days=1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"validation": "7 days"}, "both be shares or both lengths of time"),
        ({"validation": "0 days", "test": "7 days"}, "longer than 0 seconds"),
        ({"validation": 0.5, "test": 0.5}, "at most 0.9"),
        ({"validation": 1.5}, "less than 1"),
    ],
)
def test_a_split_must_leave_every_part_its_rows(given, message):
    with pytest.raises(ValueError, match=message):
        Split(**given)


def test_by_hash_a_row_keeps_its_role_when_rows_are_added():
    few = split_rows(None, np.arange(1000), 0.15, 0.15)
    many = split_rows(None, np.arange(20_000), 0.15, 0.15)
    assert (few == many[:1000]).all()
    assert (many == "test").mean() == pytest.approx(0.15, abs=0.01)
    assert (many == "validation").mean() == pytest.approx(0.15, abs=0.01)


def test_too_few_times_are_refused():
    with pytest.raises(DataError, match="at least 3 different times, but got 2"):
        split_rows(np.array([1, 1, 2]), np.arange(3), 0.2, 0.2)


def test_a_missing_time_is_refused():
    with pytest.raises(DataError, match="times must not be missing, but 1 are"):
        split_rows(np.array(["2013-01-01", "NaT"], "datetime64[us]"), np.arange(2), 0.2, 0.2)


@given(TIMES, st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_no_fold_is_fitted_on_a_moment_that_it_is_judged_on_or_a_later_one(times, folds):
    moments = np.array(times)
    made = make_folds(moments, np.arange(len(times)), folds)
    assert len(made) == folds
    for fit, judge in made:
        assert len(fit) and len(judge)
        assert moments[fit].max() < moments[judge].min()
    sizes = [len(fit) for fit, _ in made]
    assert sizes == sorted(sizes)


def test_folds_without_times_judge_each_row_once():
    judged = np.concatenate([judge for _, judge in make_folds(None, np.arange(300), 3)])
    assert sorted(judged) == list(range(300))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50))
def test_uniform_is_within_its_range(ids):
    place = uniform(np.array(ids))
    assert ((place >= 0) & (place < 1)).all()


def test_copies_of_a_row_share_a_part_and_a_kind_of_case_does_not():
    ids = np.arange(1_000)
    contents = 5_000 + ids // 4  # each content four times
    together = copies_together(contents, ids)
    roles = split_rows(None, together, 0.2, 0.2)
    apart = split_rows(None, ids, 0.2, 0.2)
    torn = [len(set(part)) > 1 for part in roles.reshape(-1, 4)]
    assert not any(torn)
    assert any(len(set(part)) > 1 for part in apart.reshape(-1, 4))

    contents[:60] = 7  # 6 % of the rows are one
    together = copies_together(contents, ids)
    assert (together[:60] == ids[:60]).all()
    assert (together[60:] == contents[60:]).all()


def test_of_few_rows_five_of_one_content_are_still_copies():
    contents = np.array([1] * 5 + [2] * 6 + list(range(10, 19)))
    together = copies_together(contents, np.arange(100, 120))
    assert together.tolist() == [1] * 5 + list(range(105, 111)) + list(range(10, 19))
