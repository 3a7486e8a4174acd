"""Columns in numbers and small pictures, over all rows."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars._typing import EngineType

from ai_assets.lifecycle.overview.columns import Overview, overview
from ai_assets.lifecycle.overview.page import as_markdown, as_page
from ai_assets.lifecycle.schema.tables import Table

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def table(**columns: dict[str, object]) -> Table:
    key = [next(iter(columns))]
    return Table.model_validate({"source": {"csv": "x.csv"}, "key": key, "columns": columns})


def looked_at(frame: pl.DataFrame, exact_rows: int = 1000, **columns: dict[str, object]):
    return {one.name: one for one in overview(frame.lazy(), table(**columns), exact_rows)}


def test_a_number_has_exact_counts_quantiles_and_a_bar_a_stretch() -> None:
    frame = pl.DataFrame({"fee": [*(float(n) for n in range(101)), None, None]})

    fee = looked_at(frame, fee={"type": "float64", "unit": "euro"})["fee"]

    assert (fee.rows, fee.missing, fee.distinct, fee.unit) == (103, 2, 101, "euro")
    assert fee.quantiles == (0.0, 5.0, 25.0, 50.0, 75.0, 95.0, 100.0)
    assert fee.bars == (*(5,) * 19, 6)
    assert fee.missing_share == pytest.approx(2 / 103)


def test_whole_numbers_of_a_small_range_have_a_bar_each() -> None:
    calls = looked_at(pl.DataFrame({"calls": [0, 0, 0, 1, 3]}), calls={"type": "int64"})["calls"]

    assert calls.bars == (3, 1, 0, 1)
    assert calls.quantiles == (0, 0, 0, 0, 1, 3, 3)


def test_words_have_the_commonest_and_words_of_their_own_have_none() -> None:
    frame = pl.DataFrame(
        {
            "plan": ["pro"] * 6 + ["basic"] * 3 + [None],
            "customer": [f"C{n}" for n in range(10)],
            "yes": [True] * 7 + [False] * 3,
        }
    )

    found = looked_at(
        frame, plan={"type": "string"}, customer={"type": "string"}, yes={"type": "bool"}
    )

    assert found["plan"].common == (("pro", 6), ("basic", 3))
    assert (found["plan"].missing, found["plan"].distinct) == (1, 2)
    assert found["customer"].common == () and found["customer"].distinct == 10
    assert found["yes"].common == (("true", 7), ("false", 3))
    assert found["plan"].quantiles == () and found["plan"].bars == ()


def test_moments_days_and_lengths_of_texts_are_spread_too() -> None:
    frame = pl.DataFrame(
        {
            "at": [BEGAN + timedelta(hours=n) for n in range(41)],
            "day": [date(2026, 1, 1) + timedelta(days=n) for n in range(41)],
            "said": ["x" * (n + 1) for n in range(41)],
        }
    )

    found = looked_at(frame, at={"type": "datetime"}, day={"type": "date"}, said={"type": "text"})

    assert found["at"].quantiles[0] == BEGAN
    assert found["at"].quantiles[3] == BEGAN + timedelta(hours=20)
    assert found["at"].bars == found["day"].bars == (*(2,) * 19, 3)
    assert found["day"].quantiles[-1] == date(2026, 2, 10)
    assert (found["said"].quantiles[0], found["said"].quantiles[-1]) == (1, 41)


@pytest.mark.parametrize("exact_rows", [1_000, 2])
def test_no_name_of_a_column_is_taken_for_what_is_counted_of_another(exact_rows: int) -> None:
    frame = pl.DataFrame(
        {
            "said": ["a", "b", "b", None],
            "hash:said": [1.0, 2.0, 3.0, 4.0],
            "hash0": ["x", "x", "x", "x"],
            "rows": [5, 5, 5, 6],
            "word": ["p", "p", "q", None],
        }
    )
    types = {"said": "text", "hash:said": "float64", "hash0": "string", "rows": "int64"}
    columns = {name: {"type": kind} for name, kind in types.items()} | {"word": {"type": "string"}}

    found = looked_at(frame, exact_rows, **columns)

    distinct = {name: one.distinct for name, one in found.items()}
    assert distinct == {"said": 2, "hash:said": 4, "hash0": 1, "rows": 2, "word": 2}
    assert (found["said"].missing, found["said"].bars) == (1, (3,))
    assert found["rows"].bars == (3, 1)
    assert found["hash0"].common == (("x", 4),)
    assert found["word"].common == (("p", 2), ("q", 1))


@pytest.mark.parametrize("exact_rows", [1_000, 2])
def test_the_words_of_a_column_called_rows_are_counted(exact_rows: int) -> None:
    frame = pl.DataFrame({"rows": ["few", "many", "few"]})

    assert looked_at(frame, exact_rows, rows={"type": "string"})["rows"].common == (
        ("few", 2),
        ("many", 1),
    )


def test_a_personal_column_shows_how_many_and_no_value() -> None:
    frame = pl.DataFrame({"age": [30, 40, 40], "email": ["a@example.org", "b@example.org", None]})
    found = overview(
        frame.lazy(),
        table(age={"type": "int64", "personal": True}, email={"type": "string", "personal": True}),
    )

    text = as_markdown(found) + as_page("people", found)

    assert [(one.missing, one.distinct) for one in found] == [(0, 2), (1, 2)]
    assert "example.org" not in text and "40" not in text.split("<body>")[1].split("<table>")[1]
    assert "int64, personal" in text


def test_columns_that_are_empty_or_not_finite_are_told_as_such() -> None:
    frame = pl.DataFrame(
        {"none": pl.Series([None, None], dtype=pl.Int64), "odd": [float("nan"), 2.0]}
    )

    found = looked_at(frame, none={"type": "int64"}, odd={"type": "float64"})
    nothing = looked_at(frame.head(0), none={"type": "int64"}, odd={"type": "float64"})

    assert (found["none"].missing, found["none"].quantiles, found["none"].bars) == (2, (), ())
    assert found["odd"].quantiles == (2.0,) * 7 and sum(found["odd"].bars) == 1
    assert (nothing["odd"].rows, nothing["odd"].missing_share) == (0, 0.0)
    assert "| `none` | int64 | 0 | 0 |" in as_markdown(list(nothing.values()))


def test_a_large_table_is_estimated_near_the_truth_and_alike_each_time() -> None:
    luck = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "_row_id": luck.integers(-(2**62), 2**62, 60_000),
            "fee": luck.lognormal(3, 1, 60_000),
        }
    )

    (first,) = overview(frame.lazy(), table(fee={"type": "float64"}), exact_rows=5_000)
    (second,) = overview(frame.lazy(), table(fee={"type": "float64"}), exact_rows=5_000)

    assert first == second and not first.exact
    assert first.distinct == pytest.approx(60_000, rel=0.1)
    assert first.quantiles[0] == frame["fee"].min() and first.quantiles[-1] == frame["fee"].max()
    assert first.quantiles[3] == pytest.approx(np.exp(3), rel=0.05)
    assert sum(first.bars) == 60_000


@pytest.mark.parametrize("exact_rows", [300, 100])
def test_pictures_and_texts_are_measured_and_neither_is_held(
    monkeypatch: pytest.MonkeyPatch, exact_rows: int
) -> None:
    frame = pl.DataFrame(
        {
            "_row_id": range(300),
            "picture": [bytes([n % 256]) * 10_000 for n in range(299)] + [None],
            "said": [f"{n % 150:03}" + "é" * (n + 1) * 20 for n in range(299)] + [None],
        }
    )
    collect, held = pl.LazyFrame.collect, []

    def noted(rows: pl.LazyFrame, *, engine: EngineType = "auto") -> pl.DataFrame:
        found = collect(rows, engine=engine)
        held.append((engine, found))
        return found

    monkeypatch.setattr(pl.LazyFrame, "collect", noted)
    found = looked_at(
        frame, exact_rows, picture={"type": "image", "size": [8, 8]}, said={"type": "text"}
    )

    assert (found["picture"].missing, found["picture"].distinct) == (1, None)
    assert (found["said"].missing, found["said"].exact) == (1, exact_rows == 300)
    assert found["said"].distinct == pytest.approx(299, rel=0 if exact_rows == 300 else 0.1)
    assert (found["said"].quantiles[0], found["said"].quantiles[-1]) == (23, 299 * 20 + 3)
    assert sum(found["said"].bars) == 299
    assert not {pl.Binary(), pl.String()} & {kind for _, one in held for kind in one.dtypes}
    assert max(one.estimated_size() for _, one in held) <= 300 * 16
    large = [one for engine, one in held if engine == "streaming" and one.height == 300]
    assert len(large) == (exact_rows == 300)


def test_the_table_in_markdown_shows_shape_and_shares() -> None:
    columns = [
        Overview(
            "fee", "float64", "euro", 8, 2, 4, (1.0, 1.0, 1.5, 2.0, 3.0, 4.0, 40.25), (5, 0, 1)
        ),
        Overview("a|b", "string", "", 8, 0, 2, common=(("x", 6), ("y", 2))),
        Overview("id", "int64", "", 900_000, 0, 899_000, exact=False),
    ]

    lines = as_markdown(columns).splitlines()

    assert lines[0].startswith("| column | type | missing | distinct | least | median | most |")
    assert lines[2] == "| `fee` | float64, euro | 2 (25.0%) | 4 | 1 | 2 | 40.25 | █ ▂ |  |"
    assert lines[3] == "| `a\\|b` | string | 0 | 2 |  |  |  |  | x (75%), y (25%) |"
    assert lines[4] == "| `id` | int64 | 0 | ≈ 899,000 |  |  |  |  |  |"


def test_the_page_shows_bars_and_takes_no_value_for_markup() -> None:
    columns = [
        Overview("n<b>", "int64", "", 4, 0, 2, (0, 0, 0, 1, 1, 1, 1), (1, 3)),
        Overview("w", "string", "", 4, 0, 1, common=(("<script>", 4),)),
    ]

    page = as_page("churn/cleaned/customers", columns)

    assert "<h1>churn/cleaned/customers</h1>" in page and "4 rows, all of them read." in page
    assert page.count("<rect class='bar'") == 2 and "<title>3</title>" in page
    assert "&lt;script&gt; <span class='small'>100.0%</span>" in page
    assert "<script>" not in page and "n&lt;b&gt;" in page
