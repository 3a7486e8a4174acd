"""How a model of two classes answers groups of people, with intervals for each rate and difference.

Rates are as in Hardt et al. (2016), "Equality of Opportunity in Supervised Learning", and Barocas,
Hardt and Narayanan, "Fairness and Machine Learning". Rows are resampled as a whole, so the groups'
own sizes vary as they would in other test rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.evaluation.bootstrap import Estimate, interval, resample_counts
from ai_assets.lifecycle.evaluation.counted import Floats, ratio
from ai_assets.lifecycle.fairness.groups import group_words
from ai_assets.lifecycle.fairness.spec import CRITERIA, Fairness

RATES: Mapping[str, str] = {
    "selection_rate": "answered positive, of all",
    "true_positive_rate": "found, of the positives",
    "false_positive_rate": "answered positive, of the negatives",
    "precision": "positive, of those answered positive",
    "calibration": "mean score less the share of positives",
}
RESAMPLES = 400
_LEVEL = 0.95


@dataclass(frozen=True)
class Answers:
    """Labels, scores P(positive) and answers of the same rows, each float64 [n]."""

    y: np.ndarray
    p: np.ndarray
    positive: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray, p: np.ndarray, threshold: float) -> "Answers":
        """Rows are answered positive from the threshold on."""
        return cls(y.astype(np.float64), p.astype(np.float64), (p >= threshold).astype(np.float64))


@dataclass(frozen=True)
class Difference:
    """The largest difference between two groups of a column.

    Attributes:
        column: The protected column.
        criterion: What was compared.
        value: The difference, at least 0, with its interval; no value where fewer than two groups
            could be judged. The interval is of the very two groups, so it may reach below 0.
        rate: The rate that differs.
        high: The group with the larger rate.
        low: The group with the smaller one.
        unjudged: Groups with too few rows, each with how many.
    """

    column: str
    criterion: str
    value: Estimate
    rate: str = ""
    high: str = ""
    low: str = ""
    unjudged: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Judged:
    """What was found.

    Attributes:
        groups: A row a group: `column`, `group`, `rows`, `share`, `positives`, and of each rate its
            value, `<rate>_low` and `<rate>_high`; null where there are too few rows.
        differences: A difference for each column.
    """

    groups: pl.DataFrame
    differences: list[Difference]


def judge_groups(
    frame: pl.DataFrame, answers: Answers, spec: Fairness, *, seed: int, resamples: int = RESAMPLES
) -> Judged:
    """Judge the answers by each protected column.

    Args:
        frame: The protected columns, a row for each answer.
        answers: Of the test rows.
        spec: The declaration.
        seed: Of the resampling.
        resamples: How many times rows are drawn.

    Raises:
        DataError: A column is missing from the frame, or has too many values.
    """
    drawn = _Drawn(frame, answers, spec, seed, resamples)
    rows = [drawn.row(column, group) for column, group in drawn.groups]
    numbers = [n for rate in RATES for n in (rate, f"{rate}_low", f"{rate}_high")]
    schema = {
        **dict.fromkeys(("column", "group"), pl.String),
        "rows": pl.Int64,
        "share": pl.Float64,
        "positives": pl.Int64,
        **dict.fromkeys(numbers, pl.Float64),
    }
    differences = [drawn.difference(column) for column in spec.columns]
    return Judged(pl.DataFrame(rows, schema=schema, orient="row"), differences)


def compare_answers(
    frame: pl.DataFrame,
    ours: Answers,
    other: Answers,
    spec: Fairness,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> pl.DataFrame:
    """The largest differences of two models over the same rows, and what lies between them.

    Returns:
        `column`, `with`, `without`, and `change`, the first less the second, with its interval
        `low` to `high`; null where fewer than two groups could be judged.
    """
    drawn = [_Drawn(frame, answers, spec, seed, resamples) for answers in (ours, other)]
    rows = [[column, *_change(column, *drawn)] for column in spec.columns]
    numbers = ("with", "without", "change", "low", "high")
    schema = {"column": pl.String, **dict.fromkeys(numbers, pl.Float64)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _change(column: str, ours: "_Drawn", other: "_Drawn") -> list[float | None]:
    pairs = [drawn.farthest(column) for drawn in (ours, other)]
    if pairs[0] is None or pairs[1] is None:
        return [None] * 5
    (value, resampled), (other_value, other_resampled) = (pair[3:] for pair in pairs if pair)
    change = value - other_value
    return [value, other_value, change, *interval(change, resampled - other_resampled, _LEVEL)]


class _Drawn:
    """The rates of every group in the rows as they are, and in each of the resamples."""

    def __init__(
        self, frame: pl.DataFrame, answers: Answers, spec: Fairness, seed: int, resamples: int
    ) -> None:
        self.spec = spec
        words = {}
        for name in spec.columns:
            if name not in frame.columns:
                raise DataError(must_be("a column of fairness.columns", frame.columns, name))
            words[name] = group_words(frame[name])
        self.groups = [
            (name, group) for name, column in words.items() for group in sorted(column.unique())
        ]
        self.members = np.array(
            [(words[n] == g).to_numpy() for n, g in self.groups], dtype=np.float64
        )
        self.positives = self.members @ answers.y
        parts = self._parts(answers)
        self.values = self._rates(np.ones((1, len(answers.y))) @ parts)
        drawn = [c @ parts for c in resample_counts(len(answers.y), resamples, seed)]
        self.resampled = self._rates(np.concatenate(drawn))

    def _parts(self, answers: Answers) -> Floats:
        """What rates are made of, [n, 5 · groups]: rows, positives, answered, found, score."""
        y, positive = answers.y, answers.positive
        each = np.stack([np.ones_like(y), y, positive, positive * y, answers.p])
        return np.concatenate([(each * member).T for member in self.members], axis=1)

    def _rates(self, sums: Floats) -> dict[str, Floats]:
        """Each rate [B, groups] of sums [B, 5 · groups]; NaN where nobody is counted."""
        rows, positives, answered, found, score = np.moveaxis(
            sums.reshape(len(sums), len(self.groups), 5), 2, 0
        )
        return {
            "selection_rate": ratio(answered, rows),
            "true_positive_rate": ratio(found, positives),
            "false_positive_rate": ratio(answered - found, rows - positives),
            "precision": ratio(found, answered),
            "calibration": ratio(score - positives, rows),
        }

    def _is_judged(self, place: int) -> bool:
        return bool(self.members[place].sum() >= self.spec.min_rows)

    def row(self, column: str, group: str) -> list[object]:
        """The row of the table that tells of one group."""
        place = self.groups.index((column, group))
        size = int(self.members[place].sum())
        told: list[object] = [column, group, size, size / self.members.shape[1]]
        told.append(int(self.positives[place]))
        for rate in RATES:
            value = float(self.values[rate][0, place])
            if not self._is_judged(place) or np.isnan(value):
                told += [None] * 3
                continue
            low, high = interval(value, self.resampled[rate][:, place], _LEVEL)
            floor = -1.0 if rate == "calibration" else 0.0
            told += [value, *(e if e is None else min(1.0, max(floor, e)) for e in (low, high))]
        return told

    def farthest(self, column: str) -> tuple[str, int, int, float, Floats] | None:
        """The rate and the two groups that differ most: the difference, and it in each resample."""
        found: tuple[str, int, int, float, Floats] | None = None
        places = [
            i for i, (name, _) in enumerate(self.groups) if name == column and self._is_judged(i)
        ]
        for rate in CRITERIA[self.spec.metric]:
            known = [i for i in places if not np.isnan(self.values[rate][0, i])]
            if len(known) < 2:
                continue
            high = max(known, key=lambda i: float(self.values[rate][0, i]))
            low = min(known, key=lambda i: float(self.values[rate][0, i]))
            value = float(self.values[rate][0, high] - self.values[rate][0, low])
            if found is None or value > found[3]:
                drawn = self.resampled[rate]
                found = (rate, high, low, value, drawn[:, high] - drawn[:, low])
        return found

    def difference(self, column: str) -> Difference:
        """The largest difference between two groups of a column."""
        unjudged = {
            group: int(self.members[i].sum())
            for i, (name, group) in enumerate(self.groups)
            if name == column and not self._is_judged(i)
        }
        found = self.farthest(column)
        if found is None:
            words = "undefined: fewer than two groups have rows enough"
            nothing = Estimate(None, words=words)
            return Difference(column, self.spec.metric, nothing, unjudged=unjudged)
        rate, high, low, value, drawn = found
        estimate = Estimate(value, *interval(value, drawn, _LEVEL))
        first, second = self.groups[high][1], self.groups[low][1]
        return Difference(column, self.spec.metric, estimate, rate, first, second, unjudged)
