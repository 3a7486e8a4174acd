"""How far all rows of a partition lie from the reference: column by column, and together.

- psi: population stability index over the reference's bins, with missing as a bin of its own:
  sum((p - q) ln(p / q)). Half a row is added to each bin, so empty ones stay finite.
- jensen_shannon: distance (root of the divergence, base 2) over the same bins, 0 to 1; Lin (1991),
  "Divergence measures based on the Shannon entropy".
- wasserstein: area between the two distribution functions in units of the reference's standard
  deviation, between the reference's edges by trapezoids (within 0.05 of the exact area, tested),
  outside of them exactly. Numbers only.
- cramers_v: effect size of the chi-square test, 0 to 1. Categories only.

A column has drifted when the size of a change is over its limit and over what chance does among as
many columns (`noise.py`). No p-value decides: at a million rows every column has a small one.
"""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift import effects, noise
from ai_assets.lifecycle.drift.columns import CategoryProfile, ColumnProfile, Floats, comparable
from ai_assets.lifecycle.drift.embedding import EmbeddingDrift
from ai_assets.lifecycle.drift.multivariate import (
    SMALLEST_ERROR,
    Multivariate,
    absent,
    reconstruction_error,
)
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.drift.tally import Tally, tallied

EMBEDDING = "embedding"
SCHEMA = {
    "column": pl.String,
    "kind": pl.String,
    "rows": pl.Int64,
    "psi": pl.Float64,
    "jensen_shannon": pl.Float64,
    "wasserstein": pl.Float64,
    "null_share": pl.Float64,
    "null_share_change": pl.Float64,
    "new_category_share": pl.Float64,
    "drifted": pl.Boolean,
    "words": pl.String,
    "cramers_v": pl.Float64,
    "limit": pl.Float64,
    "effect": pl.Float64,
}


@dataclass(frozen=True)
class JointDrift:
    """Whether columns still go together as in the reference.

    Attributes:
        rows: Rows compared.
        error: Mean distance of the rows from where the reference's rows lie, in standard
            deviations of a column; None if it cannot be had.
        reference_error: The same of the reference's own rows.
        low: 2.5 % of the blocks of the reference have a smaller error.
        high: 2.5 % have a larger one.
        ratio: `error` by `reference_error`.
        z: Their difference by what chance and the spread of the reference's blocks explain.
        columns: Columns that the others tell less of than in the reference, by more than the limit
            and chance, the furthest first: the rise of the share of the column's variance that
            they do not tell.
        drifted: Whether ratio and z are over their limits, or any of `columns` is.
        words: Why it could not be measured or judged; empty if it was.
    """

    rows: int
    error: float | None = None
    reference_error: float | None = None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    z: float | None = None
    columns: dict[str, float] = field(default_factory=dict)
    drifted: bool = False
    words: str = ""


def drift_numbers(
    reference: Profile, frame: pl.DataFrame | pl.LazyFrame, spec: Drift | None = None
) -> pl.DataFrame:
    """Measure each column of the reference over all rows of the frame.

    The model's score is measured like any other column when both hold one named `prediction`.

    Returns:
        A row a column, in the reference's order: `column`, `kind` (number or category), `rows`,
        `psi`, `jensen_shannon` (0 to 1), `wasserstein` (in standard deviations; numbers only),
        `null_share`, `null_share_change` (current minus reference), `new_category_share` (rows of
        categories that the reference does not name, beyond its own share of those; text only),
        `drifted`, `words` that say why a column could not be measured or judged, or has drifted
        for another reason than its psi, `cramers_v` (text only), `limit`, the psi from which
        the column has drifted: the declared one, raised by what chance does to so few rows, and
        `effect`, which is of embeddings only (`embedding_numbers`).
    """
    spec = spec or Drift()
    rows = frame.lazy().collect()
    present = {
        name: column
        for name, column in reference.columns.items()
        if name in rows.columns and comparable(column, rows.schema[name])
    }
    found = tallied(present, rows)
    tests = sum(name not in spec.ignore for name in present)
    told = [
        _row(name, column, found[name], spec, max(1, tests))
        if name in present
        else _absent(name, column, spec, name in rows.columns)
        for name, column in reference.columns.items()
    ]
    return pl.DataFrame(told, schema=SCHEMA, orient="row")


def joint_drift(
    reference: Profile, frame: pl.DataFrame | pl.LazyFrame, spec: Drift | None = None
) -> JointDrift:
    """Measure all columns together over all rows of the frame: drift that no column shows alone."""
    spec = spec or Drift()
    rows = frame.lazy().collect()
    joint = reference.multivariate
    if joint is None:
        return JointDrift(rows.height, words="the reference does not tell how columns go together")
    if not rows.height:
        return JointDrift(0, words="there are no rows")
    if gone := absent(joint, reference.columns, rows.schema):
        return JointDrift(rows.height, words=f"not measured without {', '.join(gone)}")
    error, left = reconstruction_error(joint, reference.columns, rows)
    ratio = max(error, SMALLEST_ERROR) / max(joint.mean, SMALLEST_ERROR)
    z = (error - joint.mean) / max(joint.spread(rows.height), 1e-9)
    apart = _apart(joint, left, rows.height, spec)
    few = rows.height < spec.min_rows
    whole = abs(ratio - 1) >= spec.joint and abs(z) >= noise.JOINT_Z
    return JointDrift(
        rows=rows.height,
        error=error,
        reference_error=joint.mean,
        low=joint.block_quantiles[1],
        high=joint.block_quantiles[-2],
        ratio=ratio,
        z=z,
        columns=apart,
        drifted=(whole or bool(apart)) and not few,
        words=f"not judged: fewer than {spec.min_rows} rows" if few else "",
    )


def _apart(joint: Multivariate, left: Floats, rows: int, spec: Drift) -> dict[str, float]:
    rise = left - np.array(joint.left)
    chance = noise.quantile(len(rise)) * joint.left_spread(rows)
    found: dict[str, float] = {}
    for place in np.argsort(-rise):
        name = joint.columns[place]
        if rise[place] >= spec.joint + chance[place] and name not in spec.ignore:
            found.setdefault(name, float(rise[place]))
    return found


def _row(name: str, column: ColumnProfile, found: Tally, spec: Drift, tests: int) -> list[object]:
    if not found.rows:
        return [name, column.kind, 0, *[None] * 6, False, "there are no rows", *[None] * 3]
    before = effects.reference_counts(column)
    psi = effects.population_stability(before, found.counts)
    limit = spec.limit(name) + noise.psi(before, found.counts, tests)
    few = found.rows < spec.min_rows
    category = isinstance(column, CategoryProfile)
    why = _reasons(column, found, spec, tests)
    drifted = (psi >= limit or bool(why)) and not few and name not in spec.ignore
    return [
        name,
        column.kind,
        found.rows,
        psi,
        effects.jensen_shannon(before, found.counts),
        found.wasserstein,
        found.null_share,
        found.null_share - column.missing / column.rows,
        found.new_share,
        drifted,
        f"not judged: fewer than {spec.min_rows} rows" if few else "; ".join(why) * drifted,
        effects.cramers_v(before, found.counts) if category else None,
        limit,
        None,
    ]


def _reasons(column: ColumnProfile, found: Tally, spec: Drift, tests: int) -> list[str]:
    """What has changed by more than its limit and chance, beside the psi."""
    why = []
    before = column.missing / column.rows
    change = found.null_share - before
    chance = noise.share(before, column.rows, found.null_share, found.rows, tests)
    if abs(change) >= spec.missing + chance:
        why.append(f"{before:.0%} of values were missing, now {found.null_share:.0%}")
    if isinstance(column, CategoryProfile) and found.new_share is not None:
        other = column.other / column.rows
        now = other + found.new_share
        chance = noise.share(other, column.rows, now, found.rows, tests)
        if found.new_share >= spec.new_categories + chance:
            why.append(f"{found.new_share:.0%} of values are new categories")
    return why


def _absent(name: str, column: ColumnProfile, spec: Drift, present: bool) -> list[object]:
    why = f"the column is no longer a {column.kind}" if present else "the column is missing"
    return [name, column.kind, None, *[None] * 6, name not in spec.ignore, why, *[None] * 3]


def embedding_numbers(found: EmbeddingDrift, changed: str, spec: Drift) -> pl.DataFrame:
    """One row as those of `drift_numbers`: of what the model makes of images or texts.

    Its `limit` is of `effect`, raised by chance. It has also drifted where items lie further from
    the reference's principal components, or nearer, than `spec.joint` allows.

    Args:
        found: the distance from the reference.
        changed: what people see of it.
        spec: the limits.
    """
    limit = spec.embedding + found.chance
    off = abs(found.ratio - 1) >= spec.joint and abs(found.ratio_z) >= noise.JOINT_Z
    few = found.rows < spec.min_rows
    drifted = (found.effect >= limit or off) and not few and EMBEDDING not in spec.ignore
    words = f"what the model sees lies {found.effect:.2f} standard deviations off"
    if off:
        words += f", {found.ratio:.2f} times as far from what it knows"
    words = f"{changed}: {words}" if changed else words
    if few:
        words = f"not judged: fewer than {spec.min_rows} rows"
    told = dict.fromkeys(SCHEMA) | {
        "column": EMBEDDING,
        "kind": EMBEDDING,
        "rows": found.rows,
        "drifted": drifted,
        "words": words if drifted or few else "",
        "limit": limit,
        "effect": found.effect,
    }
    return pl.DataFrame([told], schema=SCHEMA)
