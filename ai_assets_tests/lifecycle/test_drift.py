"""Drift: the reference, the numbers over all rows, and the page to read."""

import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ai_assets.lifecycle.drift.columns import CategoryProfile, NumberProfile
from ai_assets.lifecycle.drift.effects import jensen_shannon, population_stability
from ai_assets.lifecycle.drift.numbers import drift_numbers
from ai_assets.lifecycle.drift.profile import Profile, profile
from ai_assets.lifecycle.drift.report import drift_report_html
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.errors import DataError

GENERATOR = np.random.default_rng(1)
REFERENCE = pl.DataFrame(
    {
        "_row_id": range(5_000),
        "distance": GENERATOR.normal(1_000, 300, 5_000),
        "seats": GENERATOR.choice([50, 150, 300], 5_000),
        "carrier": GENERATOR.choice(["UA", "AA", "DL"], 5_000),
        "night": GENERATOR.random(5_000) < 0.2,
        "prediction": GENERATOR.beta(2, 5, 5_000),
    }
)


def _row(found: pl.DataFrame, column: str) -> dict:
    return found.row(by_predicate=pl.col("column") == column, named=True)


def test_a_profile_holds_quantiles_and_counts() -> None:
    made = profile(pl.DataFrame({"x": [float(i) for i in range(1, 401)] + [None] * 100}))

    x = made.columns["x"]
    assert isinstance(x, NumberProfile)
    assert (x.rows, x.missing) == (500, 100)
    assert x.edges == [20.0 * i for i in range(1, 20)]
    assert x.counts == [20] * 20
    assert (x.low, x.high, x.mean) == (10.5, 390.5, 200.5)
    assert x.std == pytest.approx(np.arange(1, 401).std())


def test_a_profile_names_no_rare_category() -> None:
    words = ["UA"] * 100 + ["AA"] * 20 + ["OO"] * 19 + ["secret"] + [None] * 5

    made = profile(pl.DataFrame({"carrier": words})).columns["carrier"]

    assert made == CategoryProfile(rows=145, missing=5, counts={"UA": 100, "AA": 20}, other=20)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.floats(), st.integers(-3, 3).map(float)), min_size=1, max_size=300
    )
)
def test_no_bin_of_any_numbers_holds_fewer_than_20_rows(values: list[float | None]) -> None:
    made = profile(pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})).columns["x"]

    assert isinstance(made, NumberProfile)
    assert sum(made.counts) + made.missing == made.rows == len(values)
    assert len(made.counts) == len(made.edges) + 1
    if made.edges or made.low is not None:
        assert min(made.counts) >= 20
    assert made.edges == sorted(set(made.edges))


def test_too_few_values_are_counted_and_not_told() -> None:
    text = profile(pl.DataFrame({"salary": [123_456.0] * 19})).to_json()

    assert "123456" not in text


def test_a_profile_reads_back_from_small_json() -> None:
    made = profile(REFERENCE)

    assert Profile.from_json(made.to_json()) == made
    assert list(made.columns) == ["distance", "seats", "carrier", "night", "prediction"]
    assert len(made.to_json()) < 4_000


def test_a_profile_of_another_format_is_refused() -> None:
    told = json.loads(profile(REFERENCE).to_json()) | {"format": 99}

    with pytest.raises(DataError, match="the drift reference's format must be 1 or 2, but got 99"):
        Profile.from_json(json.dumps(told))


def test_a_profile_needs_rows() -> None:
    with pytest.raises(DataError, match="needs rows, but got none"):
        profile(REFERENCE.clear())


def test_the_same_rows_do_not_drift() -> None:
    found = drift_numbers(profile(REFERENCE), REFERENCE)

    assert found["psi"].to_list() == pytest.approx([0] * 5, abs=1e-12)
    assert found["jensen_shannon"].to_list() == pytest.approx([0] * 5, abs=1e-6)
    assert not found["drifted"].any()
    assert found["words"].unique().to_list() == [""]


def test_psi_and_jensen_shannon_equal_their_definitions() -> None:
    from scipy.spatial.distance import jensenshannon

    before, now = np.array([30.0, 50, 20]), np.array([10.0, 60, 30])

    assert jensen_shannon(before, now) == pytest.approx(jensenshannon(before, now, base=2))
    p, q = (before + 0.5) / 101.5, (now + 0.5) / 101.5
    assert population_stability(before, now) == pytest.approx(((p - q) * np.log(p / q)).sum())


def test_wasserstein_equals_scipy_in_standard_deviations() -> None:
    from scipy.stats import wasserstein_distance

    old = REFERENCE["distance"].to_numpy()
    for new in (old + 150, old * 2, old[old > 1_000], old - 3_000):
        found = drift_numbers(profile(REFERENCE), pl.DataFrame({"distance": new}))
        expected = wasserstein_distance(old, new) / old.std()
        assert _row(found, "distance")["wasserstein"] == pytest.approx(expected, abs=0.05)


def test_a_change_of_unit_drifts_and_chance_does_not() -> None:
    other = REFERENCE.sample(3_000, seed=2, with_replacement=True)

    found = drift_numbers(profile(REFERENCE), other.with_columns(pl.col("distance") * 1.609))

    assert found.filter("drifted")["column"].to_list() == ["distance"]


def test_a_drift_of_scores_is_seen() -> None:
    found = drift_numbers(profile(REFERENCE), REFERENCE.with_columns(pl.col("prediction") + 0.2))

    assert found.filter("drifted")["column"].to_list() == ["prediction"]


def test_new_categories_are_a_share_of_rows() -> None:
    words = ["UA"] * 400 + ["AA"] * 300 + ["ZZ"] * 200 + [None] * 100

    row = _row(drift_numbers(profile(REFERENCE), pl.DataFrame({"carrier": words})), "carrier")

    assert row["new_category_share"] == pytest.approx(0.2)
    assert (row["null_share"], row["null_share_change"]) == (0.1, 0.1)
    assert row["drifted"]


def test_missing_values_that_appear_are_drift_and_nan_counts_as_missing() -> None:
    values = REFERENCE["distance"].to_numpy().copy()
    values[::2] = np.nan

    row = _row(drift_numbers(profile(REFERENCE), pl.DataFrame({"distance": values})), "distance")

    assert row["null_share_change"] == pytest.approx(0.5)
    assert row["drifted"]
    assert row["wasserstein"] == pytest.approx(0, abs=0.1)


def test_few_rows_are_measured_and_not_judged() -> None:
    few = REFERENCE.head(100).with_columns(pl.col("distance") * 5)

    row = _row(drift_numbers(profile(REFERENCE), few), "distance")

    assert row["psi"] > 1
    assert not row["drifted"]
    assert row["words"] == "not judged: fewer than 500 rows"


def test_limits_of_single_columns_and_ignored_columns_are_obeyed() -> None:
    moved = REFERENCE.with_columns(pl.col("distance") + 90, pl.col("prediction") + 0.2)
    spec = Drift(columns={"distance": 0.05}, ignore=["prediction"])

    found = drift_numbers(profile(REFERENCE), moved, spec)

    assert 0.05 < _row(found, "distance")["psi"] < 0.2
    assert found.filter("drifted")["column"].to_list() == ["distance"]


def test_a_column_that_is_gone_or_of_another_type_is_drift_in_words() -> None:
    found = drift_numbers(
        profile(REFERENCE), REFERENCE.drop("seats").with_columns(carrier=pl.lit(1))
    )

    assert _row(found, "seats")["words"] == "the column is missing"
    assert _row(found, "carrier")["words"] == "the column is no longer a category"
    assert found.filter("drifted")["column"].to_list() == ["seats", "carrier"]


def test_no_rows_are_not_drift() -> None:
    found = drift_numbers(profile(REFERENCE), REFERENCE.clear())

    assert not found["drifted"].any()
    assert found["words"].unique().to_list() == ["there are no rows"]


def test_a_constant_and_an_empty_column_are_measured() -> None:
    frame = pl.DataFrame({"same": [1.0] * 600, "none": pl.Series([None] * 600, dtype=pl.Float64)})

    found = drift_numbers(profile(frame), frame.with_columns(none=pl.lit(1.0)))

    assert _row(found, "same")["psi"] == pytest.approx(0)
    assert _row(found, "none")["drifted"]


def test_a_million_rows_of_twenty_columns_take_seconds() -> None:
    generator = np.random.default_rng(1)
    numbers = {f"x{i}": generator.normal(size=1_000_000) for i in range(15)}
    words = {
        f"c{i}": pl.Series(generator.integers(0, 30, 1_000_000)).cast(pl.String) for i in range(5)
    }
    frame = pl.DataFrame(numbers | words)
    reference = profile(frame.head(50_000))

    begun = time.perf_counter()
    found = drift_numbers(reference, frame.lazy())

    # 0.9 s on two cores; the bound leaves room for a busy machine.
    assert time.perf_counter() - begun < 6
    assert found["rows"].to_list() == [1_000_000] * 20


def test_unknown_fields_of_the_declaration_offer_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"Did you mean 'min_rows'\?"):
        Drift.model_validate({"min_row": 3})


@pytest.mark.slow
def test_the_report_is_written_from_samples_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    reference = REFERENCE.with_columns(
        gust=pl.lit(None, dtype=pl.Float64), gone=pl.lit("x"), when=pl.date(2013, 1, 1)
    )
    current = REFERENCE.with_columns(gust=pl.lit(1.0), distance=pl.col("distance") + 500)
    path = tmp_path / "reports" / "drift.html"

    words = drift_report_html(reference, current, path, sample=1_000, seed=1)

    assert words == [
        "gust is left out: it has no values on one side",
        "gone is left out: it is missing now",
    ]
    page = path.read_text(encoding="utf-8")
    assert "distance" in page
    assert "carrier" in page
    assert "_row_id" not in page


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a column with values on both sides"):
        drift_report_html(REFERENCE.select("seats"), REFERENCE.select("night"), tmp_path / "d.html")
