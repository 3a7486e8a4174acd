"""Who answers a row follows from its key alone."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import small_payload as small
from hypothesis import given
from hypothesis import strategies as st

from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.frames import ColumnReader
from ai_assets.serving.request import RequestReader
from ai_assets.serving.traffic.assign import assigned, keys_of


def test_a_number_is_the_same_for_ever():
    # Written down: whoever computes an assignment years later must find it.
    assert assigned("trips", "trips:2", '{"carrier": "UA"}') == pytest.approx(0.5688945927684796)
    assert assigned("trips", "trips:3", '{"carrier": "UA"}') != assigned(
        "trips", "trips:2", '{"carrier": "UA"}'
    )


@given(st.text(), st.text(), st.text())
def test_a_number_lies_between_0_and_1(product: str, salt: str, key: str):
    assert 0 <= assigned(product, salt, key) < 1


def test_numbers_lie_evenly_and_candidates_meet_other_rows():
    one, two = (
        np.array([assigned("trips", salt, str(key)) for key in range(20_000)])
        for salt in ("trips:a", "trips:b")
    )

    counts, _ = np.histogram(one, bins=20, range=(0, 1))
    # Chi-squared with 19 degrees of freedom: 43.8 is exceeded once in a thousand.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.03


def test_a_wider_share_keeps_all_that_were_the_candidates():
    numbers = [assigned("trips", "trips:a", str(key)) for key in range(1000)]

    for narrow, wide in ((0.05, 0.25), (0.25, 0.5), (0.5, 1.0)):
        assert {n for n in numbers if n < narrow} <= {n for n in numbers if n < wide}


def test_rows_and_columns_of_the_same_values_have_the_same_keys(shared: Path):
    reader = RequestReader(load_bundle(shared / "payload"), max_rows=20)
    row = {**small.ROW, "due": "2013-04-10T17:30:00.25+02:00"}
    columns = {name: pl.Series(name, [value]) for name, value in row.items()}

    (of_rows,) = keys_of([reader.model.model_validate(row)], reader.table)
    (of_columns,) = keys_of(ColumnReader(reader).frame(columns, 1), reader.table)

    assert of_rows == of_columns
    assert of_rows == '{"due": "2013-04-10T15:30:00.250000+00:00", "carrier": "UA"}'
