"""Columns that were not known when the target was asked for: too good to be true, or too late."""

import re

import numpy as np
import polars as pl

from ai_assets.lifecycle.schema.label import word_of
from ai_assets.lifecycle.tally import tally

MOST_ROWS = 50_000
_TOO_GOOD = 0.995
_BINS = 64
_FEWEST = 30
"""Held-out rows, and rows of a class, below which nothing is said: luck does as much."""
_FEWEST_OTHERS = 10
_PLANNED = re.compile(
    r"due|deadline|plan|promis|expect|schedul|agreed|valid|expir|until|renewal|maturity|term"
)
"""Names of moments that lie ahead and are known before: what is agreed, not what happens."""
_MOST_LATER = 0.05


def codes_of(values: pl.Series) -> np.ndarray:
    """A column as small whole numbers [n]: a category's rank, a number's quantile; 0 is missing."""
    if values.dtype == pl.String or values.dtype == pl.Boolean:
        ranks = values.cast(pl.String).rank("dense")
    else:
        numbers = values.to_physical().cast(pl.Float64)
        distinct = numbers.n_unique()
        ranks = numbers.rank("dense" if distinct <= _BINS else "ordinal")
        if distinct > _BINS:
            # Equal values share a bin, whatever their order.
            ranks = numbers.rank("min")
            ranks = (ranks * _BINS / max(1, len(numbers))).ceil()
    return ranks.fill_null(0).cast(pl.Int64).to_numpy()


def auc_alone(values: pl.Series, target: np.ndarray) -> float | None:
    """How well a column alone ranks the rows of a yes-or-no target: area under the ROC curve.

    The share of yes of each of its values is learned from half of the rows and judged on the rest.

    Args:
        values: the column [n].
        target: 0 or 1 [n].

    Returns:
        0.5 (nothing) to 1 (all); None where the rows are too few to say.
    """
    # Drawn, not every other row: tables come in patterns.
    codes, learn = codes_of(values), np.random.default_rng(0).random(len(target)) < 0.5
    judged = target[~learn]
    yes, no = int(judged.sum()), int(len(judged) - judged.sum())
    if min(yes, no) < _FEWEST:
        return None
    width = int(codes.max()) + 1
    counts = np.bincount(codes[learn], minlength=width)
    sums = np.bincount(codes[learn], weights=target[learn], minlength=width)
    prior = float(target[learn].mean())
    scores = ((sums + prior) / (counts + 1))[codes[~learn]]
    ranks = pl.Series(scores).rank("average").to_numpy()
    area = (ranks[judged == 1].sum() - yes * (yes + 1) / 2) / (yes * no)
    return float(max(area, 1 - area))


def too_good(values: pl.Series, target: pl.Series, task: str) -> str | None:
    """Why a column cannot have been known when the target was asked for; None of honest ones.

    Args:
        values: the column [n].
        target: the target [n] without nulls; of several classes as text, of a regression numbers.
        task: binary, multiclass or regression.
    """
    if len(target) > MOST_ROWS:
        step = -(-len(target) // MOST_ROWS)
        values, target = values.gather_every(step), target.gather_every(step)
    if task == "regression":
        return _same_number(values, target)
    classes = tally(target, sort=True)["value"].to_list()
    # Of several classes each against the rest: a leak tells all of them.
    asked = classes[-1:] if task == "binary" else classes[:5]
    areas = [auc_alone(values, (target == c).cast(pl.Int64).to_numpy()) for c in asked]
    told = [area for area in areas if area is not None]
    if not told or min(told) < _TOO_GOOD:
        return None
    return f"alone it tells {target.name} with a ROC-AUC of {min(told):.3f}"


def _same_number(values: pl.Series, target: pl.Series) -> str | None:
    if not values.dtype.is_numeric() or len(target) < _FEWEST:
        return None
    both = pl.DataFrame({"x": values.cast(pl.Float64), "y": target.cast(pl.Float64)}).drop_nulls()
    if both.height < _FEWEST or both["x"].n_unique() < 3:
        return None
    r = both.select(pl.corr("x", "y", method="spearman")).item()
    if r is None or not abs(r) >= 0.999:
        return None
    return f"its order is that of {target.name} (rank correlation {r:.4f})"


def told_by_gaps(values: pl.Series, target: pl.Series, task: str) -> str | None:
    """Why a column's gaps tell the target: it is filled, or missing, for one class alone.

    As a reason for leaving, which is noted when somebody has left. Unlike `too_good` it finds one
    that is noted for some of them only.

    Args:
        values: the column [n].
        target: the target [n] without nulls; of a regression numbers, whose most frequent value,
            such as 0, is one class and all others another.
        task: binary, multiclass or regression.
    """
    gaps = values.is_null()
    if task == "regression":
        common = target.mode().sort()[0]
        said = f"{word_of(common)}"
        target = (target == common).replace_strict({True: said, False: f"not {said}"})
    for where, rows in (("filled", ~gaps), ("missing", gaps)):
        some = target.filter(rows)
        if len(some) < _FEWEST or len(some) == len(target):
            continue
        (one, count) = tally(some, sort=True).row(0)
        others = float((target != one).mean() or 0.0)
        # By chance so many of the rows would be of other classes.
        if count >= _TOO_GOOD * len(some) and others * len(some) >= _FEWEST_OTHERS:
            return f"{where} only where {target.name} is {word_of(one)}"
    return None


def share_later(values: pl.Series, moments: pl.Series | None) -> float | None:
    """The share of a column's dates or moments that lie after their row's own moment, 0 to 1.

    None of a column that is known at its row's moment: one that lies behind it but for a few rows,
    or is named as what is agreed on before, such as a due date.
    """
    if moments is None or _PLANNED.search(values.name.lower()):
        return None
    both = pl.DataFrame({"value": values, "moment": moments}).drop_nulls()
    moment = pl.col("moment")
    if pl.Date in (values.dtype, moments.dtype):
        both, moment = both.with_columns(pl.col("value").cast(pl.Date)), moment.cast(pl.Date)
    later = both.select((pl.col("value") > moment).mean()).item() or 0.0
    return float(later) if later > _MOST_LATER else None
