"""Three ways in which the outcome comes to depend otherwise on the same inputs.

The rows' inputs stay as they are. Where a row's label is to be another, its outcome columns (those
of the label and those known late) are taken from a real row that has that label. So the label as
declared changes, whatever SQL it is.
"""

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.injection.roles import Frames, Place, World, numbers, texts
from ai_assets.lifecycle.labels import label_rows
from ai_assets.lifecycle.schema.durations import parse_duration

SHUFFLED = 0.8
RAISED = 0.15


def label_flipped_in_segment(world: World) -> Frames:
    """In a segment of the rows the outcome turns into its opposite."""
    labels = _labels(world)
    inside = _segment(world, np.isfinite(labels))
    turned = inside & (world.random.random(len(labels)) < world.strength)
    return _with_labels(world, labels, np.where(turned, 1 - labels, labels))


def base_rate_shifted(world: World) -> Frames:
    """The outcome becomes more frequent everywhere, by 15 rows of 100; rarer if it was the rule."""
    labels = _labels(world)
    known = np.isfinite(labels)
    rate = float(labels[known].mean())
    common = rate > 0.5
    apart = rate if common else 1 - rate
    share = min(1.0, RAISED * world.strength / apart) if apart else 0.0
    turned = (labels == float(common)) & (world.random.random(len(labels)) < share)
    return _with_labels(world, labels, np.where(turned, 1 - labels, labels))


def relation_weakened(world: World) -> Frames:
    """Four of five rows get the outcome of another row: as many of each, depending on nothing."""
    labels = _labels(world)
    rows = np.flatnonzero(np.isfinite(labels) & world.some(len(labels), SHUFFLED))
    return _with_outcomes_of(world, rows, world.random.permutation(rows))


def outcome_columns(world: World) -> list[str]:
    """Columns of the request table that hold the outcome: read by the label, or known late."""
    import sqlglot
    from sqlglot import exp

    table = world.table(world.declared.request)
    read = sqlglot.parse_one(world.declared.label.sql, dialect="duckdb").find_all(exp.Column)
    named = {column.name.casefold() for column in read}
    return [c for c in table.columns if c.casefold() in named or c in table.late_columns]


def _labels(world: World) -> np.ndarray:
    """The label of each row of the request table [n]; NaN where there is none."""
    name = world.declared.request
    if not world.frames.get(name, pl.DataFrame()).height:
        raise DataError(f"this injection needs rows of '{name}', but there are none.")
    present = [c for c in world.table(name).columns if c in world.frames[name].columns]
    typed = pl.DataFrame([world.typed(Place(name, c)).alias(c) for c in present])
    rows = typed.with_row_index("_row_id")
    found = label_rows(rows, world.declared.label.sql, None, parse_duration("0 days"))
    labels = found["label"].fill_null(float("nan")).to_numpy()
    if len(np.unique(labels[np.isfinite(labels)])) < 2:
        raise DataError("this injection needs rows of both labels, but there are not.")
    return labels


def _segment(world: World, known: np.ndarray) -> np.ndarray:
    """A mask [n] of a fifth to a half of the rows: categories, or the upper part of a number."""
    request = world.declared.request
    outcome = outcome_columns(world)
    choices = [p for p in texts(world) if p.table == request and p.column not in outcome]
    if choices:
        values = world.typed(world.pick(choices, "a column of categories"))
        counts = values.drop_nulls().value_counts(name="#n").sort(values.name)
        inside = np.zeros(len(values), dtype=bool)
        for at in world.random.permutation(counts.height):
            more = (values == counts.row(int(at))[0]).fill_null(False).to_numpy()
            if (inside | more).sum() <= 0.5 * len(values):
                inside |= more
            if inside.sum() >= 0.2 * known.sum():
                return inside
    places = [p for p in numbers(world) if p.table == request and p.column not in outcome]
    values = world.typed(world.pick(places, "a column to find a segment by")).cast(pl.Float64)
    return (values >= values.quantile(0.7)).fill_null(False).to_numpy()


def _with_labels(world: World, before: np.ndarray, after: np.ndarray) -> Frames:
    """Rows whose label changes get the outcome of a random row that has the wanted one."""
    donors = np.arange(len(before))
    known = np.isfinite(before)
    for label in (0.0, 1.0):
        wanting = np.flatnonzero(known & (after == label) & (before != label))
        having = np.flatnonzero(before == label)
        if len(wanting):
            donors[wanting] = world.random.choice(having, size=len(wanting))
    rows = np.flatnonzero(known & (before != after))
    return _with_outcomes_of(world, rows, donors[rows])


def _with_outcomes_of(world: World, rows: np.ndarray, donors: np.ndarray) -> Frames:
    name = world.declared.request
    frame = world.frames[name]
    order = np.arange(frame.height)
    order[rows] = donors
    columns = [c for c in outcome_columns(world) if c in frame.columns]
    return {**world.frames, name: frame.with_columns(frame.select(columns)[order].get_columns())}
