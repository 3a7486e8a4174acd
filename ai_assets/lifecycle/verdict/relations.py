"""How the columns of a table hang together, row by row: a number told from the other columns.

A season moves temperature and dew point together and leaves the relation between them; a changed
unit, a column from another source or a shuffled one breaks it in each row. So relations tell those
apart where distributions alone cannot.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

FEWEST = 20
MOST_ROWS = 50_000
MOST_VALUES = 20_000_000
"""Of the table that relations are looked for in; rows of a wide one are fewer. They are 160 MB,
and what compares 2,000 columns of them with each other takes 180 MB with them."""
MOST_OTHERS = 30
ROWS_AN_OTHER = 20
"""Of many numbers, at most so many of the closest tell one, and one for so many rows that have all
of them: told from as many numbers as there are rows, any column of noise is told exactly."""
BLOCK = 256
"""Columns that are compared with all others at a time."""
MOST_CATEGORIES = 200
MOST_NULLS = 0.2
# Below this share of explained variance, a relation says too little of a single row.
LEAST_EXPLAINED = 0.5
BROKEN, KEPT = 5.0, 3.0


@dataclass(frozen=True)
class Relation:
    """A linear prediction of a column: intercept + sum(weights · numbers) + category's part.

    Attributes:
        weights: Of each other number, by column.
        category: The text column whose categories add a part of their own, if any.
        parts: What each category adds; rows of other categories are not judged.
        scale: Standard deviation of the residual, by its 90th percentile, so tails do not hide.
        broken: Share of reference rows further than 5 scales from the prediction.
        explained: Share of the variance that the prediction explains.
    """

    intercept: float
    weights: dict[str, float]
    category: str | None
    parts: dict[str, float]
    scale: float
    broken: float
    explained: float


def find_relations(
    frame: pl.DataFrame, numbers: list[str], texts: list[str]
) -> dict[str, Relation]:
    """The relation of each number that the others explain at least half of.

    Of many others those speak that go with it most closely, one by one, while enough rows have
    all of them.
    """
    most = min(MOST_ROWS, MOST_VALUES // max(len(numbers), 1))
    rows = frame.sample(most, seed=0) if frame.height > most else frame
    kept = [n for n in numbers if rows[n].null_count() <= MOST_NULLS * rows.height]
    kept = [n for n in kept if rows[n].drop_nulls().n_unique() > 1]
    near = _nearest(rows, kept)
    found = {name: _relation(rows, name, near[name], texts) for name in kept}
    return {name: relation for name, relation in found.items() if relation is not None}


def _nearest(rows: pl.DataFrame, numbers: list[str]) -> dict[str, list[str]]:
    """The numbers that each is told from, in the order of the columns."""
    x = np.empty((rows.height, len(numbers)), order="F")
    there = np.empty((len(numbers), (rows.height + 7) // 8), np.uint8)
    for i, name in enumerate(numbers):
        values = rows[name].cast(pl.Float64).to_numpy()
        there[i] = np.packbits(np.isfinite(values))
        x[:, i] = _standardised(values)
    # Few numbers may all tell one: there is little to choose from that goes with it by chance.
    an_other = ROWS_AN_OTHER if len(numbers) > MOST_OTHERS + 1 else 0
    near: dict[str, list[str]] = {}
    for start in range(0, len(numbers), BLOCK):
        unlike = x[:, start : start + BLOCK].T @ x
        np.negative(np.abs(unlike, out=unlike), out=unlike)
        np.fill_diagonal(unlike[:, start:], -np.inf)  # a number comes before what tells it
        closest = np.argsort(unlike, axis=1, kind="stable")[:, : MOST_OTHERS + 1]
        for those in closest:
            others = those[1:][: _as_rows_allow(there[those], an_other)]
            near[numbers[those[0]]] = [numbers[i] for i in np.sort(others)]
    return near


def _as_rows_allow(there: np.ndarray, an_other: int) -> int:
    """How many others enough rows have, of those that have the number and the others before.

    Args:
        there: [1 + others, bytes]; which rows have the number and each other, nearest first.
        an_other: rows needed for each other.
    """
    whole = np.bitwise_and.accumulate(there, axis=0)[1:]
    needed = np.maximum(10 * FEWEST, an_other * np.arange(1, len(there)))
    # Each other leaves no more rows and needs more: from the first that has too few, all have.
    return int((np.bitwise_count(whole).sum(axis=1) >= needed).sum())


def _standardised(values: np.ndarray) -> np.ndarray:
    """Values [n] of mean 0 and spread 1; what is no finite number is 0, as all is of a constant."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values))
    values = np.where(known, values - values[known].mean(), 0)
    spread = np.sqrt((values**2).sum() / known.sum())
    return values / spread if spread > 0 else values


def residuals(frame: pl.DataFrame, name: str, relation: Relation) -> pl.DataFrame:
    """`value` and `expected` (float64) of each row that can be judged."""
    needed = [name, *relation.weights]
    if any(n not in frame.columns or not frame[n].dtype.is_numeric() for n in needed):
        return pl.DataFrame(schema={"value": pl.Float64, "expected": pl.Float64})
    expected = pl.lit(relation.intercept)
    for other, weight in relation.weights.items():
        expected = expected + pl.col(other).cast(pl.Float64) * weight
    if relation.category is not None:
        if relation.category not in frame.columns:
            return pl.DataFrame(schema={"value": pl.Float64, "expected": pl.Float64})
        text = pl.col(relation.category).cast(pl.String)
        expected = expected + text.replace_strict(
            relation.parts, default=None, return_dtype=pl.Float64
        )
    answer = frame.select(value=pl.col(name).cast(pl.Float64), expected=expected)
    return answer.filter(pl.all_horizontal(pl.all().is_not_null() & pl.all().is_finite()))


def _relation(
    rows: pl.DataFrame, name: str, others: list[str], texts: list[str]
) -> Relation | None:
    whole = rows.select(
        pl.col(name, *others).cast(pl.Float64), *(pl.col(t).cast(pl.String) for t in texts)
    ).filter(pl.all_horizontal(pl.col(name, *others).is_finite()))
    category = _telling(whole, name, texts)
    found = _means(whole, name, category).select("text", "mean") if category else None
    parts = dict(found.iter_rows()) if found is not None else {}
    if category:
        whole = whole.filter(pl.col(category).is_in(list(parts)))
    if whole.height < 10 * FEWEST:
        return None
    y = whole[name].to_numpy()
    columns = [whole[n].to_numpy() for n in others]
    if category:
        columns.append(whole[category].replace_strict(parts, return_dtype=pl.Float64).to_numpy())
    columns = [np.ones(len(y)), *columns]
    scales = [float(np.abs(c).max()) or 1.0 for c in columns]
    matrix = np.column_stack([c / s for c, s in zip(columns, scales, strict=True)])
    found, *_ = np.linalg.lstsq(matrix, y, rcond=1e-8)
    residual = y - matrix @ found
    explained = 1 - float(residual.var() / y.var()) if y.var() > 0 else 0.0
    if explained < LEAST_EXPLAINED:
        return None
    weight = found / np.array(scales)
    # An exact relation has no residual; a thousandth of the spread stands for its tolerance.
    scale = max(float(np.quantile(np.abs(residual), 0.9)) / 1.645, 1e-3 * float(y.std()))
    if category:
        parts = {key: float(part * weight[-1]) for key, part in parts.items()}
    return Relation(
        intercept=float(weight[0]),
        weights={n: float(w) for n, w in zip(others, weight[1:], strict=False)},
        category=category,
        parts=parts,
        scale=scale,
        broken=float((np.abs(residual) > BROKEN * scale).mean()),
        explained=explained,
    )


def _telling(rows: pl.DataFrame, name: str, texts: list[str]) -> str | None:
    """The text whose categories explain most of the number's variance, if they explain a tenth."""
    best, most = None, 0.1
    total = rows[name].var()
    if not isinstance(total, float) or total <= 0:
        return None
    for text in texts:
        means = _means(rows, name, text)
        if not 1 < means.height <= MOST_CATEGORIES or means["rows"].sum() < 0.5 * rows.height:
            continue
        share = means["rows"] / means["rows"].sum()
        middle = float((share * means["mean"]).sum())
        between = float((share * (means["mean"] - middle) ** 2).sum())
        if between / total > most:
            best, most = text, between / total
    return best


def _means(rows: pl.DataFrame, name: str, text: str) -> pl.DataFrame:
    """`text`, `mean`, `rows`: the number's mean in each category that has rows enough."""
    pairs = rows.select(text=pl.col(text), number=pl.col(name)).drop_nulls("text")
    means = pairs.group_by("text").agg(mean=pl.col("number").mean(), rows=pl.len())
    return means.filter(pl.col("rows") >= FEWEST).sort("text")
