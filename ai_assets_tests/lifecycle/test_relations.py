"""Numbers that are told from others, in tables with few columns and with very many."""

import tracemalloc
import warnings

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.verdict import relations
from ai_assets.lifecycle.verdict.relations import (
    MOST_OTHERS,
    ROWS_AN_OTHER,
    find_relations,
    residuals,
)


def noise(rows: int, columns: int, seed: int = 0) -> pl.DataFrame:
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    return pl.DataFrame({f"c{i}": values[:, i] for i in range(columns)})


def related(rows: int, columns: int) -> pl.DataFrame:
    """Noise, but c0 is 2 · c7 - the last column, nearly."""
    frame = noise(rows, columns)
    last = frame.columns[-1]
    return frame.with_columns(c0=2 * pl.col("c7") - pl.col(last) + 0.01 * pl.col("c0"))


def with_holes(frame: pl.DataFrame, share: float) -> pl.DataFrame:
    holes = np.random.default_rng(1).random(frame.shape) < share
    return frame.with_columns(
        pl.when(pl.lit(pl.Series(~holes[:, i]))).then(pl.col(name)).alias(name)
        for i, name in enumerate(frame.columns)
    )


@pytest.mark.parametrize(("rows", "columns"), [(250, 300), (400, 1_000), (1_500, 400), (2_000, 20)])
def test_noise_has_no_relations_however_many_columns_it_has(rows: int, columns: int) -> None:
    frame = noise(rows, columns)
    assert find_relations(frame, frame.columns, []) == {}
    frame = with_holes(frame, 0.02)
    assert find_relations(frame, frame.columns, []) == {}


@pytest.mark.parametrize("columns", [20, 100])
def test_a_relation_is_found_among_few_and_many_columns(columns: int) -> None:
    frame = related(2_000, columns)
    last = frame.columns[-1]

    found = find_relations(frame, frame.columns, [])

    assert sorted(found) == sorted(["c0", "c7", last])
    told = found["c0"]
    assert told.explained > 0.999
    assert told.weights["c7"] == pytest.approx(2, abs=0.01)
    assert told.weights[last] == pytest.approx(-1, abs=0.01)
    assert max(abs(w) for n, w in told.weights.items() if n not in ("c7", last)) < 0.01
    assert len(told.weights) == min(columns - 1, MOST_OTHERS)
    assert list(told.weights) == [n for n in frame.columns if n in told.weights]


@pytest.mark.parametrize(("columns", "weights"), [(MOST_OTHERS + 1, 30), (MOST_OTHERS + 2, 20)])
def test_a_number_of_a_dozen_parts_is_told_where_a_table_gets_wide(
    columns: int, weights: int
) -> None:
    parts = [f"c{i}" for i in range(5, 17)]
    frame = noise(400, columns).with_columns(
        c0=pl.sum_horizontal(parts) + 0.01 * len(parts) ** 0.5 * pl.col("c0")
    )

    told = find_relations(frame, frame.columns, [])["c0"]

    assert told.explained > 0.999
    assert len(told.weights) == weights
    assert {n: round(w, 1) for n, w in told.weights.items() if abs(w) > 0.1} == dict.fromkeys(
        parts, 1.0
    )


def test_looking_for_relations_takes_little_more_memory_than_the_numbers_themselves() -> None:
    frame = noise(2_000, 2_000)
    tracemalloc.start()
    try:
        relations._nearest(frame, frame.columns)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    of_the_numbers = 8 * frame.height * frame.width
    assert of_the_numbers < most < 2 * of_the_numbers


def test_a_broken_relation_of_a_wide_table_is_seen_in_each_row() -> None:
    frame = related(2_000, 100)
    told = find_relations(frame, frame.columns, [])["c0"]

    for shown, share in [(frame, 0.0), (frame.with_columns(c0=pl.col("c0").reverse()), 0.9)]:
        pair = residuals(shown, "c0", told)
        far = (pair["value"] - pair["expected"]).abs() > 5 * told.scale
        assert far.mean() >= share and (share > 0 or far.mean() < 0.01)


def test_holes_here_and_there_leave_a_wide_table_rows_to_tell_from() -> None:
    frame = with_holes(related(2_000, 100), 0.05)
    assert sorted(find_relations(frame, frame.columns, [])) == ["c0", "c7", "c99"]


@pytest.mark.parametrize(
    ("rows", "columns", "share"),
    [(400, 40, 0.03), (600, 40, 0.05), (1_400, 40, 0.07), (5_000, 40, 0.12), (600, 31, 0.05)],
)
def test_the_more_holes_the_fewer_others_tell_a_number(
    rows: int, columns: int, share: float
) -> None:
    """Too few rows have every column for any number to be told from thirty others."""
    frame = with_holes(related(rows, columns), share)

    found = find_relations(frame, frame.columns, [])

    assert {"c0", "c7"} <= set(found)
    for name, told in found.items():
        assert told.explained > 0.75
        whole = frame.drop_nulls([name, *told.weights]).height
        assert whole >= max(200, (columns > MOST_OTHERS + 1) * ROWS_AN_OTHER * len(told.weights))
        others = [n for n in frame.columns if n != name and n not in told.weights]
        assert others and len(told.weights) >= 2


def test_how_large_numbers_are_and_where_they_lie_does_not_decide_which_are_close() -> None:
    """Numbers around a thousand that hang together, among others that are larger and vary more."""
    related_ones = ["c0", "c7", "c99"]
    frame = with_holes(
        related(2_000, 100).with_columns(
            pl.col(related_ones) + 1_000, pl.exclude(related_ones) * 1_000 + 1_000_000
        ),
        0.05,
    )

    found = find_relations(frame, frame.columns, [])

    assert sorted(found) == related_ones
    assert min(told.explained for told in found.values()) > 0.999


def test_columns_without_a_spread_are_passed_over() -> None:
    frame = related(2_000, 100).with_columns(
        c1=pl.lit(3.0),
        c2=pl.lit(None, pl.Float64),
        c3=pl.when(pl.col("c3") > 0).then(float("inf")).otherwise(1.0),
        c4=pl.when(pl.col("c4") > 0).then(float("inf")).otherwise(float("nan")),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_relations(frame, frame.columns, [])
    assert sorted(found) == ["c0", "c7", "c99"]


@pytest.mark.parametrize("text", ["m", "len", "number", "rows", "mean"])
def test_a_number_is_told_from_a_text_whatever_that_is_called(text: str) -> None:
    words = [("a", "b", "c")[i % 3] for i in range(2_000)]
    steps = np.array([{"a": 0.0, "b": 5.0, "c": 9.0}[word] for word in words])
    frame = (
        noise(2_000, 4).with_columns(pl.Series(text, words)).with_columns(c0=pl.col("c0") + steps)
    )

    told = find_relations(frame, ["c0", "c1", "c2", "c3"], [text])["c0"]

    assert told.category == text
    assert told.parts == pytest.approx({"a": 0.0, "b": 5.0, "c": 9.0}, abs=0.2)
