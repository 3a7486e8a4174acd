"""Drift of columns together: how far rows lie from where the reference's rows can lie.

Principal components of the reference's correlations: most of what rows vary in is said by a few
directions, and rows hardly leave those. When columns stop going together rows leave them, although
each column alone looks as ever. The length of what is left is the reconstruction error of Qin et
al. (2003), "Statistical process monitoring", as NannyML's data reconstruction uses it for drift.

Numbers are clipped to the reference's range, so that one changed unit is not all that is seen.
Categories become ridits (Bross 1958): the middle of their place in the reference's shares, the
commonest first. A missing value is the mean; being missing is an input of its own where it varies.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift.columns import (
    FEWEST,
    CategoryProfile,
    ColumnProfile,
    Floats,
    chunks,
    codes,
    comparable,
    floats,
)

# Share of the variance that the kept directions say; what is left is where structure shows.
KEPT_SHARE = 0.9
MOST_INPUTS = 128
BLOCKS = 50
# Fewer rows than this for each input and the directions are those of chance.
ROWS_PER_INPUT = 10
QUANTILES = (0.0, 0.025, 0.25, 0.5, 0.75, 0.975, 1.0)
# In standard deviations of a column: errors below are nothing, and no ratio is taken of them.
SMALLEST_ERROR = 0.05
_DIGITS = 4
# Rows that are a matrix of all inputs at once.
_CHUNK = 16_384


@dataclass(frozen=True)
class Multivariate:
    """Where the reference's rows lie, and how far from there they lie by chance.

    Attributes:
        columns: The column of each input [d].
        missing: Whether the input is that the column is missing, rather than its value [d].
        centre: Mean of each input [d].
        scale: Standard deviation of each input [d].
        directions: Orthonormal directions [d, k], rounded.
        kept: Whether those are the directions that are kept; else those that are left out. The
            fewer are stored.
        rows: Rows of the reference.
        mean: Mean error of its rows.
        std: Standard deviation of the error of single rows.
        block_rows: Rows of a block of consecutive rows.
        block_std: Standard deviation of the blocks' mean errors.
        block_quantiles: The blocks' mean errors at 0, 2.5, 25, 50, 75, 97.5 and 100 %.
        left: Share of each input's variance that the kept directions do not tell [d].
        left_std: Standard deviation of that share among blocks [d].
    """

    columns: list[str]
    missing: list[bool]
    centre: list[float]
    scale: list[float]
    directions: list[list[float]]
    kept: bool
    rows: int
    mean: float
    std: float
    block_rows: int
    block_std: float
    block_quantiles: list[float]
    left: list[float]
    left_std: list[float]

    def spread(self, rows: int) -> float:
        """Standard deviation of the difference of the mean error of that many rows from `mean`."""
        between = max(0.0, self.block_std**2 - self.std**2 / self.block_rows)
        within = self.std**2 * (1 / rows + 1 / self.rows)
        return float(np.sqrt(between * self._blocks(rows) + within))

    def left_spread(self, rows: int) -> Floats:
        """The same of what is left of each input [d]."""
        return np.array(self.left_std) * np.sqrt(self._blocks(rows))

    def _blocks(self, rows: int) -> float:
        """By how much the variance of a block is that of a mean of so many rows.

        Means of batches of consecutive rows vary as rows that come in days do, where single rows
        would promise too much; fewer rows than a block are of one batch. (Batch means: Law and
        Carson 1979, "A sequential procedure for determining the length of a simulation".)
        """
        return 1 / max(1.0, rows / self.block_rows) + self.block_rows / self.rows


def fit_multivariate(
    columns: Mapping[str, ColumnProfile], rows: pl.DataFrame
) -> Multivariate | None:
    """Learn where the rows of the reference lie; reads them twice, chunk by chunk.

    None if fewer than two inputs vary, or there are fewer than ten rows for each.
    """
    inputs = _inputs(columns)
    centre, unit, covariance = _moments(columns, inputs, rows)
    varies = np.flatnonzero(np.diag(covariance) > 1e-12)
    if len(varies) < 2 or rows.height < ROWS_PER_INPUT * len(varies):
        return None
    inputs = [inputs[place] for place in varies]
    covariance = covariance[np.ix_(varies, varies)]
    deviation = np.sqrt(np.diag(covariance))
    directions, kept = _directions(covariance / np.outer(deviation, deviation))
    centre, scale = centre[varies], deviation * unit[varies]
    block = min(_CHUNK, max(FEWEST, -(-rows.height // BLOCKS)))
    errors, lefts = [], []
    for values in _filled(columns, inputs, rows, block):
        left = _left(_standardised(values, centre, scale), directions, kept)
        errors.append(_lengths(left))
        lefts.append(np.einsum("rd,rd->d", left, left))
    single, whole = np.concatenate(errors), rows.height // block
    means = np.array([error.mean() for error in errors[:whole]])
    return Multivariate(
        columns=[name for name, _ in inputs],
        missing=[flag for _, flag in inputs],
        centre=centre.tolist(),
        scale=scale.tolist(),
        directions=directions.tolist(),
        kept=kept,
        rows=rows.height,
        mean=float(single.mean()),
        std=float(single.std()),
        block_rows=block,
        block_std=float(means.std()),
        block_quantiles=np.quantile(means, QUANTILES).tolist(),
        left=(np.sum(lefts, axis=0) / rows.height).tolist(),
        left_std=(np.std(lefts[:whole], axis=0) / block).tolist(),
    )


def reconstruction_error(
    joint: Multivariate, columns: Mapping[str, ColumnProfile], rows: pl.DataFrame
) -> tuple[float, Floats]:
    """How far the rows lie off. They must hold all of `joint.columns`.

    Returns:
        Mean length of what is left of a row, in standard deviations of a column; and the mean
        square of what is left of each input [d], a share of its variance in the reference.
    """
    inputs = list(zip(joint.columns, joint.missing, strict=True))
    centre, scale = np.array(joint.centre), np.array(joint.scale)
    directions = np.array(joint.directions)
    total, each = 0.0, np.zeros(len(inputs))
    for values in _filled(columns, inputs, rows, _CHUNK):
        left = _left(_standardised(values, centre, scale), directions, joint.kept)
        total += _lengths(left).sum()
        each += np.einsum("rd,rd->d", left, left)
    return float(total) / rows.height, each / rows.height


def absent(
    joint: Multivariate, columns: Mapping[str, ColumnProfile], schema: Mapping[str, pl.DataType]
) -> list[str]:
    """The columns that the comparison needs and the rows lack, or hold as another type."""
    needed = dict.fromkeys(joint.columns)
    return [n for n in needed if n not in schema or not comparable(columns[n], schema[n])]


def _inputs(columns: Mapping[str, ColumnProfile]) -> list[tuple[str, bool]]:
    """What can be compared: values of columns that have some, then whether they are missing."""
    told = [name for name, column in columns.items() if _known(column)]
    flags = [n for n in told if min(columns[n].missing, _known(columns[n])) >= FEWEST]
    return ([(name, False) for name in told] + [(name, True) for name in flags])[:MOST_INPUTS]


def _known(column: ColumnProfile) -> int:
    """Rows with a value, 0 if too few for the profile to say anything of them."""
    if isinstance(column, CategoryProfile):
        return column.rows - column.missing if column.counts else 0
    return column.rows - column.missing if column.mean is not None else 0


def _filled(
    columns: Mapping[str, ColumnProfile],
    inputs: list[tuple[str, bool]],
    rows: pl.DataFrame,
    size: int,
) -> Iterator[Floats]:
    """The inputs as numbers without gaps, chunk by chunk [r, d]."""
    ridits = {
        name: _ridits(column)
        for name, column in columns.items()
        if isinstance(column, CategoryProfile)
    }
    for part in chunks(rows.select(list(dict.fromkeys(name for name, _ in inputs))), size):
        filled = np.empty((part.height, len(inputs)), order="F")
        for place, (name, flag) in enumerate(inputs):
            filled[:, place] = _input(part[name], columns[name], ridits.get(name), flag)
        yield filled


def _input(values: pl.Series, column: ColumnProfile, ridits: Floats | None, flag: bool) -> Floats:
    if isinstance(column, CategoryProfile):
        if flag:
            return values.is_null().to_numpy().astype(float)
        return np.asarray(ridits)[codes(values, column)]
    found = floats(values)
    if flag:
        return np.isnan(found).astype(float)
    found = np.clip(found, column.low, column.high)
    return np.where(np.isnan(found), column.mean or 0.0, found)


def _ridits(column: CategoryProfile) -> Floats:
    """The number of each category, of the others, and of a missing value."""
    counts = [*column.counts.values(), column.other]
    ends = np.array(list(accumulate(counts)), float)
    return np.append((ends - np.array(counts) / 2) / max(1.0, ends[-1]), 0.5)


def _moments(
    columns: Mapping[str, ColumnProfile], inputs: list[tuple[str, bool]], rows: pl.DataFrame
) -> tuple[Floats, Floats, Floats]:
    """Mean [d] of the inputs, their units [d], and the covariance [d, d] in those units.

    Sums over chunks, around the profile's own mean and in its standard deviations, so that large
    numbers lose no digits.
    """
    shift, unit = np.full(len(inputs), 0.5), np.ones(len(inputs))
    for place, (name, flag) in enumerate(inputs):
        column = columns[name]
        if not flag and not isinstance(column, CategoryProfile):
            shift[place], unit[place] = column.mean or 0.0, column.std or 1.0
    first, second = np.zeros(len(inputs)), np.zeros((len(inputs), len(inputs)))
    for values in _filled(columns, inputs, rows, _CHUNK):
        _standardised(values, shift, unit)
        first += values.sum(axis=0)
        second += values.T @ values
    mean = first / rows.height
    covariance = second / rows.height - np.outer(mean, mean)
    return mean * unit + shift, unit, covariance


def _directions(correlation: Floats) -> tuple[Floats, bool]:
    """The directions to store [d, k], and whether they are the kept ones or those left out."""
    variances, directions = np.linalg.eigh(correlation)
    shares = np.cumsum(variances[::-1]) / variances.sum()
    size = len(shares)
    kept = min(size - 1, int(np.searchsorted(shares, KEPT_SHARE)) + 1)
    if kept <= size - kept:
        return directions[:, size - kept :].round(_DIGITS), True
    return directions[:, : size - kept].round(_DIGITS), False


def _standardised(values: Floats, centre: Floats, scale: Floats) -> Floats:
    """In place: chunks of wide frames are large."""
    values -= centre
    values /= scale
    return values


def _left(values: Floats, directions: Floats, kept: bool) -> Floats:
    """What the kept directions leave of standardised rows [r, d]."""
    along = (values @ directions) @ directions.T
    return values - along if kept else along


def _lengths(rows: Floats) -> Floats:
    return np.sqrt(np.einsum("rd,rd->r", rows, rows))
