"""Drift of columns together, and the directions that it is measured in."""

import json

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.drift.multivariate import Multivariate
from ai_assets.lifecycle.drift.numbers import drift_numbers, joint_drift
from ai_assets.lifecycle.drift.profile import Profile, profile
from ai_assets.lifecycle.drift.spec import Drift


def rows(count: int, seed: int) -> pl.DataFrame:
    """Distance and air time go together, and so do airline and its hub; the others do not."""
    generator = np.random.default_rng(seed)
    distance = generator.gamma(4, 300, count)
    place = generator.integers(0, 4, count)
    gust = np.where(generator.random(count) < 0.3, np.nan, generator.normal(20, 5, count))
    return pl.DataFrame(
        {
            "distance": distance,
            "air_time": distance / 8 + generator.normal(20, 5, count),
            "wind": generator.normal(10, 3, count),
            "gust": gust,
            "hour": generator.integers(5, 24, count),
            "carrier": np.array(["UA", "AA", "DL", "B6"])[place],
            "hub": np.array(["EWR", "LGA", "JFK", "BOS"])[place],
        }
    )


REFERENCE = profile(rows(20_000, 1))


def shuffled(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """The column's values in another order: no column changes, only what goes with what."""
    return frame.with_columns(pl.col(column).shuffle(seed=3))


@pytest.mark.parametrize(
    ("column", "named"),
    [("air_time", {"air_time", "distance"}), ("hub", {"hub", "carrier"})],
)
def test_columns_that_stop_going_together_are_seen_together_and_not_alone(
    column: str, named: set[str]
) -> None:
    apart = shuffled(rows(10_000, 2), column)

    found = joint_drift(REFERENCE, apart)

    assert found.drifted
    assert found.ratio is not None and found.ratio > 1.2
    assert found.z is not None and found.z > 30
    assert found.columns.keys() == named
    assert found.words == ""
    assert not drift_numbers(REFERENCE, apart)["drifted"].any()


def test_other_rows_of_the_same_kind_do_not_drift_together() -> None:
    for seed in range(2, 12):
        found = joint_drift(REFERENCE, rows(3_000, seed))

        assert not found.drifted
        assert not found.columns
        assert found.ratio == pytest.approx(1, abs=0.05)
        assert found.z is not None and abs(found.z) < 4


def test_the_error_is_what_is_left_of_the_standardised_rows() -> None:
    from sklearn.decomposition import PCA

    values = np.random.default_rng(1).normal(size=(4_000, 5))
    values[:, 4] = values[:, 0] + 0.5 * values[:, 1] + 0.2 * values[:, 4]
    frame = pl.DataFrame(values, ["a", "b", "c", "d", "e"])
    made = profile(frame)
    found = joint_drift(made, frame)

    inside = frame.with_columns(
        pl.col(name).clip(column.low, column.high) for name, column in made.columns.items()
    ).to_numpy()
    z = (inside - inside.mean(axis=0)) / inside.std(axis=0)
    pca = PCA(n_components=0.9).fit(z)
    left = z - pca.inverse_transform(pca.transform(z))
    assert found.error == pytest.approx(np.linalg.norm(left, axis=1).mean(), rel=2e-3)
    assert found.error == found.reference_error
    assert (found.ratio, found.z) == (1, 0)


def _ends(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The means of the 20 lowest and of the 20 highest values of each column."""
    ordered = np.sort(frame.to_numpy(), axis=0)
    return ordered[:20].mean(axis=0), ordered[-20:].mean(axis=0)


def test_a_few_directions_that_are_kept_give_the_same_error_as_those_left_out() -> None:
    generator = np.random.default_rng(1)
    one = generator.normal(size=3_000)
    frame = pl.DataFrame({f"x{i}": one + generator.normal(0, 0.1, 3_000) for i in range(6)})

    made = profile(frame).multivariate

    assert made is not None and made.kept
    assert np.array(made.directions).shape == (6, 1)
    inside = np.clip(frame.to_numpy(), *_ends(frame))
    z = (inside - made.centre) / made.scale
    left = z - (z.mean(axis=1, keepdims=True))
    assert made.mean == pytest.approx(np.linalg.norm(left, axis=1).mean(), rel=1e-3)


def test_blocks_of_consecutive_rows_tell_how_far_partitions_differ_without_drift() -> None:
    generator = np.random.default_rng(1)
    days = np.repeat(generator.gamma(4, 0.25, 100), 100)
    noise = generator.normal(size=10_000) * days
    base = generator.normal(size=10_000)
    frame = pl.DataFrame({"a": base, "b": base + 0.1 * noise})

    in_days, mixed = profile(frame).multivariate, profile(frame.sample(10_000, shuffle=True))

    assert in_days is not None and mixed.multivariate is not None
    assert in_days.mean == pytest.approx(mixed.multivariate.mean)
    assert in_days.spread(10_000) > 3 * mixed.multivariate.spread(10_000)
    assert in_days.spread(1_000) > 2 * in_days.spread(10_000)
    assert in_days.left_spread(10_000)[0] > 3 * mixed.multivariate.left_spread(10_000)[0]
    assert in_days.block_quantiles == sorted(in_days.block_quantiles)


def test_missing_values_that_go_with_others_are_structure() -> None:
    generator = np.random.default_rng(1)
    gone = generator.random(8_000) < 0.4
    values = generator.normal(size=(8_000, 3))
    values[gone, :2] = np.nan
    frame = pl.DataFrame(values, ["gust", "wind", "hour"])
    apart = shuffled(frame, "gust")

    assert joint_drift(profile(frame), apart).drifted
    assert not drift_numbers(profile(frame), apart)["drifted"].any()


def test_a_changed_unit_of_one_column_is_bounded_by_the_range_of_the_reference() -> None:
    found = joint_drift(REFERENCE, rows(5_000, 2).with_columns(pl.col("wind") * 1e6))

    assert found.error is not None and found.error < 10


def test_few_rows_are_measured_together_and_not_judged() -> None:
    found = joint_drift(REFERENCE, shuffled(rows(300, 2), "air_time"))

    assert found.ratio is not None and found.ratio > 1.2
    assert not found.drifted
    assert found.words == "not judged: fewer than 500 rows"


def test_the_limit_of_the_joint_drift_is_obeyed() -> None:
    apart = shuffled(rows(10_000, 2), "air_time")

    assert not joint_drift(REFERENCE, apart, Drift(joint=50.0)).drifted


def test_a_missing_column_is_said_and_measured_by_no_joint_number() -> None:
    found = joint_drift(REFERENCE, rows(1_000, 2).drop("wind").with_columns(hour=pl.lit("x")))

    assert found.words == "not measured without wind, hour"
    assert found.error is None
    assert not found.drifted


def test_no_rows_and_no_structure_are_said() -> None:
    alone = profile(rows(1_000, 1).select("wind"))

    assert joint_drift(REFERENCE, rows(1, 1).clear()).words == "there are no rows"
    assert joint_drift(alone, rows(1_000, 1)).words == (
        "the reference does not tell how columns go together"
    )


def test_too_few_rows_for_their_columns_tell_no_directions() -> None:
    assert profile(rows(40, 1)).multivariate is None


def test_constant_columns_take_no_part_and_equal_columns_have_no_ratio_of_nothing() -> None:
    frame = rows(2_000, 1).select("wind", same=pl.lit(3.0), copy="wind", more=pl.col("wind") * 2)
    made = profile(frame)

    assert made.multivariate is not None
    assert made.multivariate.columns == ["wind", "copy", "more"]
    assert joint_drift(made, frame.with_columns(pl.col("copy") + 1e-6)).ratio == 1


def test_a_reference_of_an_older_bundle_has_no_joint_part() -> None:
    told = json.loads(REFERENCE.to_json()) | {"format": 1}
    del told["multivariate"]

    old = Profile.from_json(json.dumps(told))

    assert old == Profile(REFERENCE.columns)
    assert drift_numbers(old, rows(1_000, 2))["drifted"].sum() == 0


def test_the_joint_part_reads_back_and_is_small() -> None:
    assert Profile.from_json(REFERENCE.to_json()) == REFERENCE
    assert isinstance(REFERENCE.multivariate, Multivariate)
    wide = pl.DataFrame(np.random.default_rng(1).normal(size=(5_000, 100)))

    text = profile(wide).to_json()

    # A hundred columns; the flagship's bundle has a quarter of them.
    assert len(text) < 100_000


def test_columns_added_to_a_profile_take_no_part_in_the_joint_comparison() -> None:
    scores = profile(pl.DataFrame({"prediction": np.linspace(0, 1, 1_000)}))

    made = REFERENCE.with_columns(scores)

    assert list(made.columns)[-1] == "prediction"
    assert made.multivariate == REFERENCE.multivariate


def test_one_column_of_many_that_goes_its_own_way_is_named_where_the_whole_hardly_moves() -> None:
    generator = np.random.default_rng(1)
    hidden = generator.normal(size=(30_000, 10))
    values = np.repeat(hidden, 4, axis=1) + generator.normal(0, 0.4, (30_000, 40))
    frame = pl.DataFrame(values, [f"x{i}" for i in range(40)])
    made = profile(frame.head(20_000))

    found = joint_drift(made, shuffled(frame.tail(10_000), "x3"))

    assert found.ratio is not None and found.ratio < 1.2
    assert next(iter(found.columns)) == "x3"
    assert found.drifted
    assert not joint_drift(made, frame.tail(10_000)).drifted
    spec = Drift(ignore=[*found.columns])
    assert not joint_drift(made, shuffled(frame.tail(10_000), "x3"), spec).columns
