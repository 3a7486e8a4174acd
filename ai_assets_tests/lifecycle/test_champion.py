"""Challenger against champion by value: better, not better, sure, and clearly worse in a slice."""

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.evaluation.metrics import scored, values_of
from ai_assets.lifecycle.gate.champion import compare, no_comparison
from ai_assets.lifecycle.gate.pair import Pair, Side
from ai_assets.lifecycle.gate.spec import Champion, Gate
from ai_assets.lifecycle.schema.decision import Decision

ROWS = 2000
_numbers = np.random.default_rng(0)
TRUTH = _numbers.uniform(0.05, 0.95, ROWS)
Y = (_numbers.uniform(0, 1, ROWS) < TRUTH).astype(np.float64)
DULL = np.full(ROWS, Y.mean())
GOOD = TRUTH
DAYS = np.arange(ROWS) // 100
NO_SLICES = pl.DataFrame()
SHOPS = pl.DataFrame({"shop": ["east"] * 1000 + ["north"] * 900 + ["tiny"] * 100})


def pair(champion: np.ndarray, challenger: np.ndarray, y: np.ndarray = Y) -> Pair:
    """Two versions of a binary task."""
    return Pair(y, Side(champion, Decision("binary")), Side(challenger, Decision("binary")))


def mixed(share: float) -> np.ndarray:
    """Scores between the dull ones (0) and the truth (1)."""
    return DULL + share * (GOOD - DULL)


def test_a_better_challenger_passes_and_its_numbers_are_those_of_the_metric() -> None:
    found = compare(pair(DULL, GOOD), Champion(), slices=NO_SLICES, blocks=None, seed=1)

    assert found.passed
    row = found.rows.row(0, named=True)
    losses = [values_of(scored(Y, p), ("log_loss",))["log_loss"] for p in (DULL, GOOD)]
    assert (row["rows"], row["count"], row["passed"]) == ("all", ROWS, True)
    assert [row["champion"], row["challenger"]] == losses
    assert row["difference"] == pytest.approx(losses[1] - losses[0])
    assert row["low"] < row["difference"] < row["high"] < 0
    assert row["allowed"] == "the difference below 0"
    assert found.words.startswith(f"The challenger is better: log_loss {losses[1]:.4f} against")
    assert "on 2,000 rows" in found.words


def test_every_metric_of_the_task_stands_beside_with_what_its_interval_says() -> None:
    better = compare(pair(DULL, GOOD), Champion(), slices=NO_SLICES, blocks=None, seed=1).metrics
    worse = compare(pair(GOOD, DULL), Champion(), slices=NO_SLICES, blocks=None, seed=1).metrics
    alike = compare(pair(GOOD, GOOD), Champion(), slices=NO_SLICES, blocks=None, seed=1).metrics

    auc = better.row(by_predicate=pl.col("metric") == "roc_auc", named=True)
    values = [values_of(scored(Y, p), ("roc_auc",))["roc_auc"] for p in (DULL, GOOD)]
    assert [auc["in_production"], auc["this"]] == values
    assert auc["difference"] == pytest.approx(values[1] - values[0])
    told = dict(better.select("metric", "says").iter_rows())
    assert told | {"calibration_error": ""} == dict.fromkeys(told, "better") | {
        "calibration_error": ""
    }
    assert worse.filter(pl.col("metric") == "roc_auc")["says"].item() == "worse"
    assert set(alike["says"]) == {"as good"}
    assert no_comparison("none").metrics.columns == better.columns


def test_a_worse_challenger_fails_in_words() -> None:
    found = compare(pair(GOOD, DULL), Champion(), slices=NO_SLICES, blocks=None, seed=1)

    assert not found.passed
    assert found.rows["passed"].to_list() == [False]
    assert found.words.startswith("The challenger is not better enough: log_loss ")


def test_an_equal_challenger_is_not_better_unless_a_little_worse_is_allowed() -> None:
    strict = compare(pair(GOOD, GOOD), Champion(), slices=NO_SLICES, blocks=None, seed=1)
    lenient = compare(
        pair(GOOD, GOOD), Champion(margin=-0.001), slices=NO_SLICES, blocks=None, seed=1
    )

    assert strict.rows["difference"].to_list() == [0.0]
    assert (strict.passed, lenient.passed) == (False, True)
    assert lenient.rows["allowed"].to_list() == ["the difference below 0.001"]


def test_the_difference_must_lie_beyond_the_margin() -> None:
    found = compare(pair(DULL, GOOD), Champion(), slices=NO_SLICES, blocks=None, seed=1)
    gain = -found.rows["difference"][0]

    for margin, passed in ((gain * 0.99, True), (gain * 1.01, False)):
        spec = Champion(margin=margin)
        again = compare(pair(DULL, GOOD), spec, slices=NO_SLICES, blocks=None, seed=1)
        assert again.passed is passed


def test_clearly_better_demands_the_whole_interval() -> None:
    champion, challenger = mixed(0.97), mixed(1.0)
    usual, sure = (
        compare(pair(champion, challenger), spec, slices=NO_SLICES, blocks=DAYS, seed=1)
        for spec in (Champion(), Champion(rule="clearly_better"))
    )

    row = sure.rows.row(0, named=True)
    assert row["difference"] < 0 < row["high"]
    assert (usual.passed, sure.passed) == (True, False)
    assert row["allowed"] == "the interval below 0"

    clear = compare(
        pair(DULL, GOOD), Champion(rule="clearly_better"), slices=NO_SLICES, blocks=DAYS, seed=1
    )
    assert clear.rows["high"][0] < 0
    assert clear.passed


def test_not_clearly_worse_lets_in_what_the_rows_cannot_tell_apart() -> None:
    lenient = Champion(rule="not_clearly_worse")
    alike, worse = (
        compare(pair(champion, challenger), lenient, slices=NO_SLICES, blocks=DAYS, seed=1)
        for champion, challenger in ((mixed(1.0), mixed(0.97)), (GOOD, DULL))
    )

    row = alike.rows.row(0, named=True)
    assert row["low"] < 0 < row["difference"]
    assert alike.passed and row["allowed"] == "some of the interval below 0"
    assert alike.words.startswith("The challenger is not clearly worse: log_loss ")
    assert worse.rows["low"][0] > 0
    assert not worse.passed
    assert worse.words.startswith("The challenger is clearly worse: log_loss ")


@pytest.mark.parametrize(("champion", "challenger", "passed"), [(0, 1, True), (1, 0, False)])
def test_of_roc_auc_more_is_better(champion: int, challenger: int, passed: bool) -> None:
    noise = np.random.default_rng(7).uniform(0, 1, ROWS)
    scores = [noise, GOOD]
    for rule in ("better", "clearly_better", "not_clearly_worse"):
        spec = Champion(metric="roc_auc", margin=0.05, rule=rule)
        found = compare(
            pair(scores[champion], scores[challenger]), spec, slices=NO_SLICES, blocks=DAYS, seed=1
        )

        assert found.passed is passed
        assert (found.rows["difference"][0] > 0.05) is passed
        assert found.rows["allowed"][0].endswith("above 0.05")


COSTS = ((0.0, 2.0), (10.0, 0.0))
"""A false alarm costs 2, a miss 10: answers are positive from 1/6 on."""


def at(threshold: float, p: np.ndarray = GOOD) -> Side:
    return Side(p, Decision("binary", threshold=threshold))


def cost_at(threshold: float, p: np.ndarray = GOOD, rows: slice = slice(None)) -> float:
    """Mean cost of the answers, by hand."""
    answers, y = p[rows] >= threshold, Y[rows]
    return float(np.where(y == 1, 10.0 * ~answers, 2.0 * answers).mean())


def test_by_cost_each_version_is_judged_at_its_own_threshold() -> None:
    by_cost = Champion(metric="cost", rule="clearly_better")
    cut, usual = at(1 / 6), at(0.5)
    better, worse = (
        compare(Pair(Y, *sides, COSTS), by_cost, slices=NO_SLICES, blocks=DAYS, seed=1)
        for sides in ((usual, cut), (cut, usual))
    )

    row = better.rows.row(0, named=True)
    assert (row["champion"], row["challenger"]) == (
        pytest.approx(cost_at(0.5)),
        pytest.approx(cost_at(1 / 6)),
    )
    assert row["low"] < row["difference"] < row["high"] < 0
    assert (better.passed, worse.passed) == (True, False)
    assert better.words.startswith("The challenger is better: cost ")
    # Ranking and probabilities are the same, so the cost alone tells them apart.
    told = dict(better.metrics.select("metric", "says").iter_rows())
    assert next(iter(told)) == "cost"
    assert told == dict.fromkeys(told, "as good") | {"cost": "better"}


def test_margins_of_cost_are_shares_whatever_its_unit() -> None:
    gain = 1 - cost_at(1 / 6) / cost_at(0.5)
    for scale in (0.01, 1.0, 1000.0):
        costs = tuple(tuple(scale * cost for cost in row) for row in COSTS)
        for margin, passed in ((gain * 0.99, True), (gain * 1.01, False)):
            found = compare(
                Pair(Y, at(0.5), at(1 / 6), costs), Champion(metric="cost", margin=margin),
                slices=NO_SLICES, blocks=None, seed=1,
            )  # fmt: skip
            assert found.passed is passed


def test_a_slice_in_which_answers_cost_clearly_more_fails() -> None:
    champion, challenger = GOOD.copy(), GOOD.copy()
    champion[:1000], challenger[1000:1900] = 0.0, 0.0

    found = compare(
        Pair(Y, at(1 / 6, champion), at(1 / 6, challenger), COSTS), Champion(metric="cost"),
        slices=SHOPS, blocks=DAYS, seed=1,
    )  # fmt: skip

    north = found.rows.row(by_predicate=pl.col("rows") == "shop = north", named=True)
    assert north["challenger"] == pytest.approx(cost_at(1 / 6, challenger, slice(1000, 1900)))
    assert north["allowed"] == f"not clearly worse by {0.02 * north['champion']:g}"
    assert found.rows["passed"].to_list() == [True, True, False]
    assert found.words.endswith("but clearly worse for shop = north.")


def test_of_classes_each_version_answers_by_its_own_costs_and_both_are_judged_by_the_present() -> (
    None
):
    luck = np.random.default_rng(5)
    p = luck.dirichlet([4.0, 2.0, 1.0], ROWS)
    y = (luck.random((ROWS, 1)) >= p.cumsum(axis=1)).sum(axis=1).astype(np.float64)
    costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (20.0, 5.0, 0.0))
    names = ("fine", "worn", "broken")
    likeliest = Side(p, Decision("multiclass", classes=names))
    cheapest = Side(p, Decision("multiclass", classes=names, costs=costs))

    found = compare(
        Pair(y, likeliest, cheapest, costs), Champion(metric="cost"),
        slices=NO_SLICES, blocks=None, seed=1,
    )  # fmt: skip

    cost = np.array(costs)[y.astype(int)]
    rows = np.arange(ROWS)
    row = found.rows.row(0, named=True)
    assert row["champion"] == pytest.approx(cost[rows, p.argmax(axis=1)].mean())
    assert row["challenger"] == pytest.approx(
        cost[rows, (p @ np.array(costs)).argmin(axis=1)].mean()
    )
    assert found.passed and row["high"] < 0
    told = dict(found.metrics.select("metric", "says").iter_rows())
    assert told == {
        "cost": "better", "log_loss": "as good", "accuracy": "worse", "macro_f1": "worse"
    }  # fmt: skip


def test_what_is_found_at_a_threshold_is_found_at_each_versions_own() -> None:
    found = compare(
        Pair(Y, at(0.9), at(0.4)), Champion(metric="recall"), slices=NO_SLICES, blocks=None, seed=1
    )

    row = found.rows.row(0, named=True)
    assert row["champion"] == pytest.approx((GOOD[Y == 1] >= 0.9).mean())
    assert row["challenger"] == pytest.approx((GOOD[Y == 1] >= 0.4).mean())
    assert found.passed


def worse_in_the_north(by: float) -> np.ndarray:
    """Far better in the east, and moved away from the truth in the north."""
    scores = GOOD.copy()
    north = slice(1000, 1900)
    scores[north] = np.clip(GOOD[north] + by * (1 - 2 * Y[north]), 0.01, 0.99)
    return scores


def test_clearly_worse_in_one_slice_fails_though_better_over_all() -> None:
    champion = np.where(np.arange(ROWS) < 1000, 1 - GOOD, GOOD)
    challenger = worse_in_the_north(0.15)

    found = compare(pair(champion, challenger), Champion(), slices=SHOPS, blocks=DAYS, seed=1)

    assert found.rows["rows"].to_list() == ["all", "shop = east", "shop = north"]
    assert found.rows["count"].to_list() == [2000, 1000, 900]
    assert found.rows["passed"].to_list() == [True, True, False]
    assert found.rows["low"][2] > 0.02
    assert found.rows["allowed"][2] == "not clearly worse by 0.02"
    assert not found.passed
    assert found.words.endswith("but clearly worse for shop = north.")


def test_a_slice_may_be_worse_by_its_margin() -> None:
    champion = np.where(np.arange(ROWS) < 1000, 1 - GOOD, GOOD)
    challenger = worse_in_the_north(0.15)

    spec = Champion(slice_margin=1.0)
    found = compare(pair(champion, challenger), spec, slices=SHOPS, blocks=DAYS, seed=1)

    assert found.rows["difference"][2] > 0.02
    assert found.passed


def test_slices_that_are_small_or_of_one_class_are_not_compared() -> None:
    one_class = pl.DataFrame({"answer": ["late" if y else "in time" for y in Y]})

    small = compare(pair(DULL, GOOD), Champion(slice_rows=950), slices=SHOPS, blocks=None, seed=1)
    alike = compare(pair(DULL, GOOD), Champion(), slices=one_class, blocks=None, seed=1)

    assert small.rows["rows"].to_list() == ["all", "shop = east"]
    assert alike.rows["rows"].to_list() == ["all"]


def test_rows_without_a_slice_belong_to_none() -> None:
    shops = pl.DataFrame({"shop": [None] * 1000 + ["north"] * 1000})

    found = compare(pair(DULL, GOOD), Champion(), slices=shops, blocks=None, seed=1)

    assert found.rows["rows"].to_list() == ["all", "shop = north"]


def test_where_the_metric_is_undefined_nobody_is_better() -> None:
    spec = Champion(metric="roc_auc")
    found = compare(
        pair(DULL[:50], GOOD[:50], y=np.ones(50)), spec, slices=NO_SLICES, blocks=None, seed=1
    )

    assert not found.passed
    assert found.rows["difference"].to_list() == [None]
    assert "difference undefined" in found.words


def test_the_same_seed_gives_the_same_interval() -> None:
    first, again, other = (
        compare(pair(DULL, GOOD), Champion(), slices=SHOPS, blocks=DAYS, seed=seed).rows
        for seed in (1, 1, 2)
    )

    assert first.equals(again)
    assert first["low"][0] != other["low"][0]


def test_with_nobody_to_compare_with_the_challenger_passes_and_says_so() -> None:
    found = no_comparison("There is no other bundle.")

    assert (found.passed, found.words, found.rows.height) == (True, "There is no other bundle.", 0)


def test_the_comparison_can_be_left_out_and_an_unknown_metric_is_refused() -> None:
    assert Gate().champion == Champion(metric="log_loss", margin=0.0, rule="better")
    assert Gate.model_validate({"champion": None}).champion is None
    with pytest.raises(ValidationError, match="log_los"):
        Champion(metric="log_los")
