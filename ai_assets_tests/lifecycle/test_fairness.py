"""Rates of groups of people, the differences between them, and weights that take a bias away."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.fairness import plot
from ai_assets.lifecycle.fairness.groups import (
    PROTECTED,
    group_digits,
    group_numbers,
    group_words,
    protected_of,
)
from ai_assets.lifecycle.fairness.judge import Answers, Judged, compare_answers, judge_groups
from ai_assets.lifecycle.fairness.spec import Fairness
from ai_assets.lifecycle.fairness.words import figures, is_fair, of_mitigation, shown_groups
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.training.reweighing import reweighed

DECLARED = {
    "description": "Is this person hired?",
    "request": "people",
    "tables": {
        "people": {
            "source": {"csv": "people.csv"},
            "columns": {
                "age": {"type": "float64"},
                "team": {"type": "string"},
                "hired": {"type": "bool", "known_at": "NULL"},
            },
        }
    },
    "label": {"sql": "hired"},
}


def counted() -> tuple[pl.DataFrame, Answers]:
    """100 of group a, 40 positive, 30 found, 6 others answered; 50 of b: 20, 10 and 3."""
    y = np.repeat([1, 1, 0, 0, 1, 1, 0, 0], [30, 10, 6, 54, 10, 10, 3, 27]).astype(float)
    p = np.repeat([0.9, 0.2, 0.8, 0.1, 0.9, 0.2, 0.8, 0.1], [30, 10, 6, 54, 10, 10, 3, 27])
    frame = pl.DataFrame({"team": ["a"] * 100 + ["b"] * 50})
    return frame, Answers.of(y, p, 0.5)


def judged(**changes: object) -> Judged:
    frame, answers = counted()
    return judge_groups(frame, answers, Fairness(columns=["team"], **changes), seed=0)


def drawn(rows: int, *, biased: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups 0 and 1, scores and labels; where biased, group 1 needs a higher score to be found."""
    luck = np.random.default_rng(3)
    group = luck.integers(0, 2, rows)
    p = luck.random(rows)
    y = (luck.random(rows) < p).astype(float)
    return group, np.clip(p - 0.25 * group * biased, 0, 1), y


def test_every_rate_of_a_group_is_counted_from_its_own_rows() -> None:
    first, second = judged().groups.iter_rows(named=True)

    assert (first["group"], first["rows"], first["positives"]) == ("a", 100, 40)
    assert first["share"] == pytest.approx(100 / 150)
    assert first["selection_rate"] == pytest.approx(0.36)
    assert first["true_positive_rate"] == pytest.approx(30 / 40)
    assert first["false_positive_rate"] == pytest.approx(6 / 60)
    assert first["precision"] == pytest.approx(30 / 36)
    mean_score = (30 * 0.9 + 10 * 0.2 + 6 * 0.8 + 54 * 0.1) / 100
    assert first["calibration"] == pytest.approx(mean_score - 0.4)
    assert second["true_positive_rate"] == pytest.approx(0.5)
    assert first["true_positive_rate_low"] < 0.75 < first["true_positive_rate_high"]
    width = first["true_positive_rate_high"] - first["true_positive_rate_low"]
    # twice 1.96 standard errors of a share of 40
    assert width == pytest.approx(2 * 1.96 * (0.75 * 0.25 / 40) ** 0.5, rel=0.25)


@pytest.mark.parametrize(
    ("metric", "rate", "value"),
    [
        ("demographic_parity", "selection_rate", 0.36 - 13 / 50),
        ("equal_opportunity", "true_positive_rate", 0.25),
        ("equalized_odds", "true_positive_rate", 0.25),
    ],
)
def test_each_criterion_compares_its_own_rates(metric: str, rate: str, value: float) -> None:
    (found,) = judged(metric=metric).differences

    assert found.value.value == pytest.approx(value)
    assert (found.rate, found.high, found.low) == (rate, "a", "b")


def test_a_limit_is_met_from_it_on_and_the_words_name_the_groups() -> None:
    spec = Fairness(columns=["team"], max_difference=0.25)

    passed, words = is_fair(judged(), spec)
    stricter, _ = is_fair(judged(), spec.model_copy(update={"max_difference": 0.249}))

    assert passed and not stricter
    assert words.startswith(
        "Largest difference between groups, equal opportunity (true positive rate): team 0.2500 ("
    )
    assert "true positive rate of 'a' above that of 'b'" in words
    assert words.endswith("At most 0.25 is allowed.")


def test_a_group_of_few_rows_is_listed_and_not_judged_and_the_check_says_so() -> None:
    found = judged(min_rows=60)

    passed, words = is_fair(found, Fairness(columns=["team"], min_rows=60))

    assert not passed
    assert figures(found) == {"team": None}
    assert "undefined: fewer than two groups have rows enough" in words
    assert "not judged for fewer than 60 test rows: 'b' has 50" in words
    assert shown_groups(found)["true positive rate"].to_list()[1] == "too few rows"


def test_who_gave_no_value_is_a_group_and_a_continuous_column_is_refused() -> None:
    assert group_words(pl.Series("team", ["a", None, "b"])).to_list() == ["a", "(missing)", "b"]
    with pytest.raises(DataError) as refused:
        group_words(pl.Series("age", range(70)))
    assert str(refused.value) == (
        "fairness.columns must have at most 20 different values, which are groups, but 'age' has "
        "70. Cut it into groups in the source, such as decades."
    )


def test_a_bias_is_found_and_no_bias_is_not() -> None:
    spec = Fairness(columns=["group"])
    group, p, y = drawn(4000, biased=True)
    (found,) = judge_groups(
        pl.DataFrame({"group": group}), Answers.of(y, p, 0.5), spec, seed=1
    ).differences
    group, p, y = drawn(4000, biased=False)
    (none,) = judge_groups(
        pl.DataFrame({"group": group}), Answers.of(y, p, 0.5), spec, seed=1
    ).differences

    assert found.value.value is not None and found.value.low is not None
    # of the positives, whose scores have the density 2p, those above 0.5 and above 0.75
    assert found.value.value == pytest.approx((1 - 0.25) - (1 - 0.75**2), abs=0.05)
    assert found.value.low > 0.2
    assert none.value.value is not None and none.value.low is not None
    assert none.value.low < 0 < none.value.value < 0.04


def test_two_models_are_compared_over_the_same_rows() -> None:
    group, biased, y = drawn(4000, biased=True)
    fair = np.clip(biased + 0.25 * group, 0, 1)
    frame, spec = pl.DataFrame({"group": group}), Fairness(columns=["group"])
    ours, other = Answers.of(y, fair, 0.5), Answers.of(y, biased, 0.5)

    changed = compare_answers(frame, ours, other, spec, seed=1).row(0, named=True)
    same = compare_answers(frame, other, other, spec, seed=1).row(0, named=True)

    assert changed["change"] == pytest.approx(changed["with"] - changed["without"])
    assert changed["high"] < -0.1
    assert (same["change"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    words = of_mitigation(spec, pl.DataFrame([{"measure": "difference", **changed}]), {})
    assert f"difference {changed['without']:.4f} without, {changed['with']:.4f} with it" in words


def test_the_picture_has_a_line_for_each_group() -> None:
    sizes = [Image.open(io.BytesIO(plot.groups(judged(min_rows=rows)))).height for rows in (10, 60)]

    assert sizes[0] - sizes[1] == pytest.approx(0.5 * 110, abs=2)


def test_reweighed_labels_are_independent_of_groups_and_keep_their_shares() -> None:
    luck = np.random.default_rng(0)
    group = luck.choice([7, -4, 12], 3000, p=[0.6, 0.3, 0.1])
    y = (luck.random(3000) < np.where(group == 12, 0.1, 0.5)).astype(float)

    weight = reweighed(group, y, np.ones(3000))

    assert weight.sum() == pytest.approx(3000)
    shares = [np.average(y[group == g], weights=weight[group == g]) for g in (7, -4, 12)]
    assert shares == pytest.approx([y.mean()] * 3)
    # P(s) P(y) / P(s, y) of the rare cell, by hand
    cell = (group == 12) & (y == 1)
    expected = (group == 12).mean() * y.mean() / cell.mean()
    assert weight[cell] == pytest.approx(np.full(cell.sum(), expected))


def test_rows_whose_labels_are_independent_already_keep_their_weights() -> None:
    group, y = np.repeat([1, 2], 40), np.tile([0.0, 0.0, 0.0, 1.0], 20)
    base = np.full(80, 0.5)

    assert reweighed(group, y, base) == pytest.approx(base)


def test_groups_of_several_columns_are_one_number_and_come_apart_again() -> None:
    words = pl.DataFrame(
        {"team": ["b", "a", "(missing)", "b"], "age": [f"{n:02d}" for n in (3, 19, 0, 0)]}
    ).vstack(pl.DataFrame({"team": ["a"] * 20, "age": [f"{n:02d}" for n in range(20)]}))

    digits = group_digits(group_numbers(words).to_numpy(), 2)

    assert digits[:4].tolist() == [[2, 3], [1, 19], [0, 0], [2, 0]]
    assert digits[4:, 1].tolist() == list(range(20))


def test_as_many_columns_as_may_be_declared_are_one_number_of_64_bits() -> None:
    luck = np.random.default_rng(5)
    groups = luck.integers(0, 20, (200, 14))
    groups[0], groups[1] = 19, 0
    words = pl.DataFrame({f"c{n}": [f"{group:02d}" for group in groups[:, n]] for n in range(14)})
    every = {name: [f"{n:02d}" for n in range(20)] for name in words.columns}

    numbers = group_numbers(words.vstack(pl.DataFrame(every)))[:200]

    assert numbers[0] == 20**14 - 1
    assert (group_digits(numbers.to_numpy(), 14) == groups).all()


@pytest.mark.parametrize(
    ("columns", "number", "most"),
    [(["team"], 20, 19), (["team"], -1, 19), (["team", "age"], -8203495382745203301, 399)],
)
def test_numbers_that_are_of_no_groups_are_refused(
    columns: list[str], number: int, most: int
) -> None:
    rows = pl.DataFrame({PROTECTED: [0, most, number]})
    spec = Fairness(columns=columns)

    told = protected_of(rows.head(2), spec)
    with pytest.raises(DataError) as refused:
        protected_of(rows, spec)

    assert told is not None and told.groups.tolist() == [[0] * len(columns), [19] * len(columns)]
    assert protected_of(rows, None) is None and protected_of(pl.DataFrame(), spec) is None
    assert str(refused.value) == (
        f"_protected must be a whole number from 0 to {most} for {len(columns)} protected columns, "
        f"but got {number}: it was written for another declaration or by another version. "
        "Materialize training_set again."
    )


@pytest.mark.parametrize(
    ("fairness", "words"),
    [
        ({"columns": ["tem"]}, "'people', but got 'tem'. Did you mean 'team'?"),
        (
            {"columns": ["age"]},
            "the type of 'age', a column of fairness.columns, whose values are groups must be",
        ),
        (
            {"columns": ["team"], "features": ["teams"]},
            "features must name some of columns, team, but got 'teams'. Did you mean 'team'?",
        ),
        ({"columns": []}, "at least 1 item"),
        ({"columns": [f"c{n}" for n in range(15)]}, "at most 14 items"),
        ({"columns": ["team"], "mitigation": "reweigh"}, "'none', 'reweighing' or 'reductions"),
        ({"columns": ["team"], "metric": "parity"}, "'demographic_parity', 'equal_opportunity'"),
    ],
)
def test_a_declaration_that_cannot_be_meant_says_what_can(
    fairness: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        TabularDeclaration.model_validate(DECLARED | {"fairness": fairness})

    assert words in str(refused.value)


def test_fairness_is_of_answers_of_two_kinds() -> None:
    label = {"sql": "age", "task": "regression"}

    with pytest.raises(ValidationError) as refused:
        TabularDeclaration.model_validate(
            DECLARED | {"label": label, "fairness": {"columns": ["team"]}}
        )

    assert "label.task of a product with fairness must be" in str(refused.value)
