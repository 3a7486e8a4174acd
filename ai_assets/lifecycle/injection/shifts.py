"""Four ways in which inputs drift while their relation to the outcome stands."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.injection.roles import (
    Frames,
    Place,
    World,
    moved_number,
    numbers,
    of_request,
    stranger,
    texts,
    within,
)
from ai_assets.lifecycle.verdict.relations import find_relations

DROPPED = 0.85


def category_mix_shifted(world: World) -> Frames:
    """Some categories become most of the rows: rows of the others are left out by chance."""
    place = world.pick(_grouped(world), "a column of categories")
    values = world.typed(place)
    kept = _some_categories(values, world.random)
    others = ~values.is_in(kept).fill_null(False).to_numpy()
    gone = others & world.some(len(values), DROPPED)
    frame = world.frames[place.table].filter(pl.Series(~gone))
    return {**world.frames, place.table: frame}


def numeric_shifted(world: World) -> Frames:
    """A number moves by a standard deviation to where the contract leaves room."""
    place, by = moved_number(world, of_request(world, numbers(world)), 1.0)
    return world.replaced(place, within(world.typed(place) + by, world.column(place)))


def new_category(world: World) -> Frames:
    """A third of the rows get a category that was never there, as of a new customer or route."""
    found = [(p, made) for p in _grouped(world) if (made := stranger(world, p)) is not None]
    if not found:
        raise DataError("this injection needs a free text column, but the product has none.")
    place, made = found[int(world.random.integers(len(found)))]
    values = world.typed(place)
    hit = pl.Series(world.some(len(values), 0.33))
    changed = pl.select(pl.when(hit).then(pl.lit(made)).otherwise(values)).to_series()
    return world.replaced(place, changed)


def joint_shifted(world: World) -> Frames:
    """A number is shuffled among the rows: its distribution stands, what goes with it does not."""
    place = world.pick(_told_by_others(world) or numbers(world), "a column of numbers")
    values = world.typed(place)
    rows = np.flatnonzero(world.some(len(values), 1.0) & values.is_not_null().to_numpy())
    order = np.arange(len(values))
    order[rows] = world.random.permutation(rows)
    return world.replaced(place, values.gather(order))


def _grouped(world: World) -> list[Place]:
    return of_request(world, texts(world))


def _some_categories(values: pl.Series, random: np.random.Generator) -> list[str]:
    """Categories drawn until they hold a fifth of the rows; at least one is left out."""
    counts = values.drop_nulls().value_counts(name="#n").sort(values.name)
    order = random.permutation(counts.height)
    kept: list[str] = []
    rows = 0
    for at in order[: max(1, counts.height - 1)]:
        name, count = counts.row(int(at))
        # A category of half the rows leaves nothing that could become rarer.
        if rows + count > 0.5 * len(values) and kept:
            continue
        kept.append(name)
        rows += count
        if rows >= 0.2 * len(values):
            break
    return kept


def _told_by_others(world: World) -> list[Place]:
    """Numbers that the table's other columns tell, so that shuffling breaks something."""
    found = []
    known = numbers(world)
    for name in world.history:
        own = [p for p in known if p.table == name]
        words = [p for p in texts(world) if p.table == name]
        frame = pl.DataFrame([world.typed(p).alias(p.column) for p in (*own, *words)])
        if not own or frame.height < 200:
            continue
        relations = find_relations(frame, [p.column for p in own], [p.column for p in words])
        found += [p for p in own if p.column in relations]
    return found
