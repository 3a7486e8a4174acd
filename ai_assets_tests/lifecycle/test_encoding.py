from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import Encoding

TEXTS = st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=100)


def test_texts_become_their_place_among_sorted_categories_and_unseen_ones_minus_one():
    encoding = Encoding.fit(pl.DataFrame({"_row_id": [1, 2], "port": ["LGA", "EWR"]}))
    matrix = encoding.transform(pl.DataFrame({"port": ["EWR", "LGA", "XXX", None]}))
    assert matrix[:, 0].tolist() == [0, 1, -1, -1]


def test_missing_numbers_become_nan_and_truth_values_zero_and_one():
    frame = pl.DataFrame({"n": [1.5, None], "flag": [True, False]})
    matrix = Encoding.fit(frame).transform(frame)
    np.testing.assert_array_equal(matrix, np.array([[1.5, 1], [np.nan, 0]], dtype=np.float32))
    assert matrix.dtype == np.float32 and matrix.flags.c_contiguous


def test_row_ids_are_no_feature():
    assert Encoding.fit(pl.DataFrame({"_row_id": [1], "n": [2]})).names == ("n",)


def test_an_instant_is_refused_with_advice():
    frame = pl.DataFrame({"when": [datetime(2013, 1, 1, tzinfo=UTC)]})
    with pytest.raises(DataError, match=r"feature 'when' must be a number.*Take parts of it"):
        Encoding.fit(frame)


def test_a_missing_feature_is_named_with_the_nearest_column():
    encoding = Encoding.fit(pl.DataFrame({"distance": [1]}))
    with pytest.raises(DataError, match=r"'distance' is missing.*Did you mean 'distanc'"):
        encoding.transform(pl.DataFrame({"distanc": [1]}))


def test_a_text_in_place_of_a_number_is_refused():
    encoding = Encoding.fit(pl.DataFrame({"n": [1]}))
    with pytest.raises(DataError, match="feature 'n' must be a number"):
        encoding.transform(pl.DataFrame({"n": ["many"]}))


def test_the_most_frequent_categories_are_kept_when_there_are_too_many():
    encoding = Encoding.fit(pl.DataFrame({"t": ["a", "c", "c", "b", "b"]}), max_categories=2)
    assert encoding.columns[0].categories == ("b", "c")


def test_another_format_of_json_is_refused():
    with pytest.raises(DataError, match="format of the encoding must be 1, but got 7"):
        Encoding.from_json('{"format": 7}')


@given(TEXTS)
def test_codes_lead_back_to_the_texts(texts):
    frame = pl.DataFrame({"t": pl.Series(texts, dtype=pl.String)})
    encoding = Encoding.fit(frame)
    codes = encoding.transform(frame)[:, 0].astype(int)
    categories = encoding.columns[0].categories
    assert [categories[c] if c >= 0 else None for c in codes] == texts


@given(TEXTS)
def test_json_keeps_the_encoding(texts):
    encoding = Encoding.fit(pl.DataFrame({"t": pl.Series(texts, dtype=pl.String), "n": 1}))
    assert Encoding.from_json(encoding.to_json()) == encoding


@given(TEXTS)
def test_few_rows_and_many_rows_are_encoded_alike(texts):
    frame = pl.DataFrame({"t": pl.Series(texts, dtype=pl.String)})
    encoding = Encoding.fit(frame)
    alone = np.concatenate([encoding.transform(frame[i : i + 1]) for i in range(frame.height)])
    many = encoding.transform(pl.concat([frame] * 64))
    np.testing.assert_array_equal(many, np.tile(alone, (64, 1)))


@pytest.mark.parametrize("name", ["_count", "count", "rows", "value"])
def test_a_text_may_be_called_as_what_is_counted(name: str):
    encoding = Encoding.fit(pl.DataFrame({name: ["LGA", "EWR", "LGA", None]}))
    assert encoding.columns[0].categories == ("EWR", "LGA")
