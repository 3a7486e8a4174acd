"""Five ways in which data breaks, and one in which our own code changes it."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.injection.roles import (
    Frames,
    Place,
    World,
    moved_number,
    numbers,
    spread_of,
    within,
)
from ai_assets.lifecycle.verdict.units import Conversion, canonical, conversions


def column_renamed(world: World) -> Frames:
    """A column of the source gets another name."""
    name = world.history[int(world.random.integers(len(world.history)))]
    columns = [c for c in world.table(name).columns if c in world.frames[name].columns]
    column = columns[int(world.random.integers(len(columns)))]
    renamed = world.frames[name].rename({column: f"{column}_{world.random.integers(2, 10)}"})
    return {**world.frames, name: renamed}


def nulls_spread(world: World) -> Frames:
    """A third of a column's values go missing."""
    place = world.pick(_may_be_missing(world), "a column outside keys")
    values = world.typed(place)
    gone = pl.Series(world.some(len(values), 0.33))
    return world.replaced(place, _put(values, gone, None))


def unit_changed(world: World) -> Frames:
    """A number arrives in another unit of its family, or, without a unit, ten times as large."""
    places = numbers(world, late=True)
    known = [p for p in places if canonical(world.column(p).unit) is not None]
    place = world.pick(known or places, "a column of numbers")
    values = world.typed(place).cast(pl.Float64)
    choices = [c for c in _of_family(world, place) if _visible(values, c)]
    if not choices:
        choices = [Conversion(10.0, 0.0, "multiplied by 10")]
    conversion = choices[int(world.random.integers(len(choices)))]
    changed = values * conversion.factor + conversion.offset
    hit = pl.Series(world.some(len(values), 1.0))
    mixed = pl.select(pl.when(hit).then(changed).otherwise(values)).to_series()
    if world.column(place).type == "int64":
        mixed = mixed.round().cast(pl.Int64)
    return world.replaced(place, mixed)


def clock_shifted(world: World) -> Frames:
    """A table's times run some hours fast or slow, as where a zone was forgotten."""
    tables = [n for n in world.history if world.table(n).time]
    if not tables:
        raise DataError("this injection needs a table with a time, but the product has none.")
    name = tables[int(world.random.integers(len(tables)))]
    time = world.table(name).time
    assert time is not None
    hours = int(world.random.integers(4, 10)) * (1 if world.random.random() < 0.5 else -1)
    place = Place(name, time)
    shift = pl.duration(days=1 if hours > 0 else -1)
    if world.column(place).type == "datetime":
        shift = pl.duration(minutes=round(60 * hours * world.strength))
    frame = world.frames[name].with_columns(world.typed(place).alias(time))
    return {**world.frames, name: frame.with_columns(pl.col(time) + shift)}


def value_stuck(world: World) -> Frames:
    """From some moment to the end of the rows, a number repeats the value it had then."""
    place = world.pick(numbers(world, late=True), "a column of numbers")
    values = world.typed(place)
    time = world.table(place.table).time
    order = np.arange(len(values))
    if time and time in world.frames[place.table].columns:
        order = world.typed(Place(place.table, time)).arg_sort(nulls_last=True).to_numpy()
    last = order[round(len(order) * (1 - min(1.0, 0.5 * world.strength))) :]
    known = values.gather(last).drop_nulls()
    if not len(known):
        raise DataError("this injection needs rows with a value, but there are none.")
    stuck = np.zeros(len(values), dtype=bool)
    stuck[last] = True
    return world.replaced(place, _put(values, pl.Series(stuck), known[0]))


def upstream_code_changed(world: World) -> Frames:
    """A number is computed otherwise: three quarters of a standard deviation off.

    The change of the code's version goes with it; `Injection.changes_code` says so.
    """
    place, by = moved_number(world, numbers(world), 0.75)
    return world.replaced(place, within(world.typed(place) + by, world.column(place)))


def _may_be_missing(world: World) -> list[Place]:
    """Columns outside keys and times that hold values in most rows."""
    found = []
    for name in world.history:
        table = world.table(name)
        for column in table.columns:
            if column in table.key or column == table.time:
                continue
            if column not in world.frames[name].columns:
                continue
            if world.frames[name][column].null_count() < 0.5 * world.frames[name].height:
                found.append(Place(name, column))
    return found


def _of_family(world: World, place: Place) -> list[Conversion]:
    """Conversions of the declared unit into others of its family; none without a known unit."""
    return [c for c in conversions(world.column(place).unit) if " to " in c.words]


def _visible(values: pl.Series, conversion: Conversion) -> bool:
    """Whether the conversion changes the numbers at all by a tenth of their spread."""
    known = values.drop_nulls()
    moved = (known * conversion.factor + conversion.offset - known).abs().mean()
    return isinstance(moved, float) and moved > 0.1 * spread_of(known)


def _put(values: pl.Series, where: pl.Series, what: object) -> pl.Series:
    literal = pl.lit(what, dtype=values.dtype)
    return pl.select(pl.when(where).then(literal).otherwise(values).alias(values.name)).to_series()
