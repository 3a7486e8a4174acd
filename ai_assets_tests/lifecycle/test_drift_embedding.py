"""Embeddings are held to a sketch: what moved is far, what is alike is not, and no row is kept."""

import json

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.drift import embedding
from ai_assets.lifecycle.drift.changes import changes
from ai_assets.lifecycle.drift.embedding import EmbeddingSketch, embedding_drift, sketch_of
from ai_assets.lifecycle.drift.numbers import SCHEMA, embedding_numbers
from ai_assets.lifecycle.drift.profile import profile
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.verdict.covariate import feature_drift

WAYS = {"photo_sharpness": ("blurred", "sharper"), "photo_brightness": ("darker", "brighter")}


def items(rows: int, seed: int = 0, width: int = 12) -> np.ndarray:
    """Three clusters in a plane of `width` dimensions, with a little noise off it."""
    numbers = np.random.default_rng(seed)
    plane = np.random.default_rng(99).normal(size=(2, width))
    centres = np.array([[0, 0], [3, 0], [0, 3]])[numbers.integers(0, 3, rows)]
    return (centres + numbers.normal(0, 0.5, (rows, 2))) @ plane + numbers.normal(
        0, 0.1, (rows, width)
    )


@pytest.fixture(scope="module")
def sketch() -> EmbeddingSketch:
    made = sketch_of(items(2_000))
    assert made is not None
    return made


def drifted(sketch: EmbeddingSketch, rows: np.ndarray) -> bool:
    return bool(embedding_numbers(embedding_drift(sketch, rows), "", Drift())["drifted"][0])


def test_what_is_alike_is_not_called_drifted_in_200_draws(sketch: EmbeddingSketch) -> None:
    found = [embedding_drift(sketch, items(500, seed)) for seed in range(1, 201)]
    # Chance is what one of a thousand comparisons exceeds.
    assert sum(one.effect > one.chance for one in found) <= 2
    assert not any(drifted(sketch, items(500, seed)) for seed in range(1, 41))


def test_the_distance_is_that_of_a_gaussian_kernel() -> None:
    rows, other = items(600, 1), items(600, 2) * [0.5, *[1] * 11]
    made = sketch_of(rows)
    assert made is not None
    found = embedding_drift(made, other)
    mean, scale = np.array(made.mean), np.array(made.scale)
    a, b = (rows - mean) / scale, (other - mean) / scale

    def kernel(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        far = ((u[:, None, :] - v[None, :, :]) ** 2).sum(axis=2)
        return np.exp(-far / (2 * made.bandwidth**2))

    exact = kernel(a, a).mean() + kernel(b, b).mean() - 2 * kernel(a, b).mean()
    share = made.clumping * 2 / 600
    expected = np.sqrt(max(0, exact - share * made.trace) / made.trace)
    assert found.effect == pytest.approx(expected, abs=0.06)


def test_a_cluster_that_came_in_is_told_by_the_distance(sketch: EmbeddingSketch) -> None:
    plane = np.random.default_rng(99).normal(size=(2, 12))
    fourth = items(600, 3)
    fourth[:200] = fourth[:200] * 0.2 + np.array([3, 3]) @ plane
    found = embedding_drift(sketch, fourth)
    assert found.effect > 0.3 > Drift().embedding
    assert drifted(sketch, fourth)


def test_what_leaves_the_plane_is_told_by_the_components(sketch: EmbeddingSketch) -> None:
    off = items(600, 4) + np.random.default_rng(0).normal(0, 0.25, (600, 12))
    found = embedding_drift(sketch, off)
    assert found.ratio > 1.3
    assert found.ratio_z > 3
    assert drifted(sketch, off)
    alike = embedding_drift(sketch, items(600, 5))
    assert alike.ratio == pytest.approx(1, abs=0.1)


def test_rows_that_come_in_clumps_vary_more() -> None:
    clumped = items(1_000).reshape(20, 50, 12) + np.random.default_rng(1).normal(0, 1, (20, 1, 12))
    made, even = sketch_of(clumped.reshape(1_000, 12)), sketch_of(items(1_000))
    assert made is not None and even is not None
    assert made.clumping > 5
    assert even.clumping < 1.3


def test_the_sketch_is_small_and_read_back(sketch: EmbeddingSketch) -> None:
    assert EmbeddingSketch.from_json(sketch.to_json()) == sketch
    assert sketch_of(items(2_000)) == sketch
    wide = sketch_of(items(400, width=768))
    assert wide is not None and (wide.width, len(wide.mean)) == (768, embedding.MOST_WIDE)
    assert len(wide.to_json()) < 150_000
    other = json.dumps(json.loads(sketch.to_json()) | {"format": 9})
    with pytest.raises(DataError, match="the format of the embedding's sketch must be 1, but"):
        EmbeddingSketch.from_json(other)


def test_too_few_rows_have_no_sketch_and_other_widths_are_refused(sketch: EmbeddingSketch) -> None:
    assert sketch_of(items(199)) is None
    for rows in (items(10, width=5), items(0)):
        with pytest.raises(DataError, match=r"embeddings must be .*at least one row of 12 numbers"):
            embedding_drift(sketch, rows)


def test_items_that_are_all_alike_have_no_sketch() -> None:
    assert sketch_of(np.full((300, 4), 0.1)) is None
    assert sketch_of(np.full((300, 4), 0.1) + items(300, width=4) * 1e-2) is not None


def test_a_direction_that_never_varied_may_begin_to() -> None:
    still = items(1_000)
    still[:, 3] = 0
    made = sketch_of(still)
    assert made is not None
    assert drifted(made, items(600, 6))


def test_its_line_says_what_changed_and_is_evidence(sketch: EmbeddingSketch) -> None:
    moved = embedding_drift(sketch, items(600, 7) + 2)
    line = embedding_numbers(moved, "blurred (photo_sharpness 0.9 → 0.3)", Drift())
    assert dict(line.schema) == SCHEMA
    row = line.row(0, named=True)
    assert (row["column"], row["kind"], row["rows"], row["psi"]) == (*["embedding"] * 2, 600, None)
    assert row["words"].startswith("blurred (photo_sharpness 0.9 → 0.3): what the model sees lies ")
    assert row["limit"] == pytest.approx(0.15 + moved.chance)
    (evidence,) = feature_drift(line, Drift())
    assert (evidence.kind, evidence.subject) == ("feature", "embedding")
    assert (evidence.value, evidence.limit) == (moved.effect, row["limit"])
    assert evidence.words == row["words"]
    assert 0.5 < evidence.severity <= 1


def test_few_rows_and_what_is_ignored_are_measured_only(sketch: EmbeddingSketch) -> None:
    few = embedding_numbers(embedding_drift(sketch, items(499, 8) + 2), "", Drift())
    assert few["drifted"].to_list() == [False]
    assert few["words"].to_list() == ["not judged: fewer than 500 rows"]
    far = embedding_drift(sketch, items(600, 8) + 2)
    assert embedding_numbers(far, "", Drift(ignore=["embedding"]))["drifted"].to_list() == [False]
    assert embedding_numbers(far, "", Drift(embedding=50, joint=50))["drifted"].to_list() == [False]


def test_what_changed_most_comes_first() -> None:
    numbers = np.random.default_rng(0)
    columns = {"photo_sharpness": numbers.normal(0.8, 0.1, 500), "note_language": ["en"] * 500}
    before = pl.DataFrame(columns | {"photo_brightness": np.linspace(0.2, 0.8, 500)})
    after = before.with_columns(
        photo_sharpness=pl.col("photo_sharpness") - 0.4,
        photo_brightness=pl.col("photo_brightness") + 0.1,
        note_language=pl.Series(["sv"] * 100 + ["en"] * 400),
    )
    ways = WAYS | {"note_language": ("", "")}
    assert changes(profile(before), after, ways) == (
        "blurred (photo_sharpness 0.8 → 0.4), more of sv (note_language 0% → 20%), "
        "brighter (photo_brightness 0.5 → 0.6)"
    )
    assert changes(profile(before), before, ways) == ""
    assert changes(profile(before), after.select("photo_brightness"), WAYS) == (
        "brighter (photo_brightness 0.5 → 0.6)"
    )
