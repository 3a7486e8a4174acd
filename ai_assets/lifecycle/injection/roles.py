"""Which columns of a product an injection may change, read off the declaration and the rows.

Raw rows may hold texts where the declaration says numbers, so columns are cast by the contract
before they are changed and stand in the frame as the declared type afterwards.
"""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.lifecycle.sources.casts import cast

Frames = dict[str, pl.DataFrame]
MOST_CATEGORIES = 200
LEAST_KNOWN = 0.5


@dataclass(frozen=True)
class Place:
    """A column of a table."""

    table: str
    column: str


@dataclass(frozen=True)
class World:
    """The rows to change, their declaration, and the chance that chooses.

    Attributes:
        frames: Raw rows by table.
        declared: The product's declaration.
        random: Chooses columns and rows.
        strength: 1 changes as much as the injection's own measure, less changes less.
    """

    frames: Frames
    declared: TabularDeclaration
    random: np.random.Generator
    strength: float

    def table(self, name: str) -> Table:
        return self.declared.tables[name]

    def column(self, place: Place) -> Column:
        return self.table(place.table).columns[place.column]

    @property
    def history(self) -> list[str]:
        """Tables of events that have rows; lookups hardly change and are left alone."""
        return [n for n, t in self.declared.tables.items() if t.time and self._has_rows(n)] or [
            n for n in self.declared.tables if self._has_rows(n)
        ]

    def _has_rows(self, name: str) -> bool:
        return name in self.frames and self.frames[name].height > 0

    def typed(self, place: Place) -> pl.Series:
        """The column as the declared type."""
        frame = self.frames[place.table]
        kind = self.column(place).type
        return frame.select(cast(place.column, frame.schema[place.column], kind)).to_series()

    def replaced(self, place: Place, values: pl.Series) -> Frames:
        """The frames with other values in one column."""
        frame = self.frames[place.table].with_columns(values.alias(place.column))
        return {**self.frames, place.table: frame}

    def pick(self, places: list[Place], what: str) -> Place:
        """One of the places, by chance.

        Raises:
            DataError: there is none.
        """
        if not places:
            raise DataError(f"this injection needs {what}, but the product has none.")
        return places[int(self.random.integers(len(places)))]

    def some(self, rows: int, share: float) -> np.ndarray:
        """A mask [rows] of about that share of the rows, scaled by the strength."""
        return self.random.random(rows) < min(1.0, share * self.strength)


def numbers(world: World, *, late: bool = False) -> list[Place]:
    """Columns of numbers that vary and are no identity; those known late only where asked for."""
    found = []
    for place, column in _columns(world):
        if column.type not in ("int64", "float64") or place.column in world.table(place.table).key:
            continue
        if column.known_at is not None and not late:
            continue
        values = world.typed(place).drop_nulls()
        known = len(values) / max(world.frames[place.table].height, 1)
        if known >= LEAST_KNOWN and values.n_unique() >= 10 and not mostly_one(values):
            found.append(place)
    return found


def texts(world: World, *, keys: bool = True) -> list[Place]:
    """Columns of categories: texts with 2 to 200 values."""
    found = []
    for place, column in _columns(world):
        if column.type != "string" or column.known_at is not None:
            continue
        if place.column in world.table(place.table).key and not keys:
            continue
        if 2 <= world.typed(place).drop_nulls().n_unique() <= MOST_CATEGORIES:
            found.append(place)
    return found


def of_request(world: World, places: list[Place]) -> list[Place]:
    """Those in the table of requests, where there are any."""
    return [p for p in places if p.table == world.declared.request] or places


def mostly_one(values: pl.Series, share: float = 0.5) -> bool:
    """Whether one value makes up more than that share."""
    most = values.value_counts(sort=True, name="#n")["#n"][0] if len(values) else 0
    return bool(most > share * len(values))


def moved_number(world: World, places: list[Place], measure: float) -> tuple[Place, float]:
    """A column that can move by so many standard deviations, and by how much it does.

    Values that would leave the declared limits pile up there, which is another fault; so a column
    and a direction are taken in which at most 5 % would, or the least do.
    """
    choices = []
    for place in places:
        values = world.typed(place).drop_nulls().cast(pl.Float64)
        by = measure * world.strength * spread_of(values)
        for move in (by, -by):
            moved, column = values + move, world.column(place)
            left = (moved != moved.clip(column.min, column.max)).mean()
            choices.append((float(left) if isinstance(left, float) else 0.0, place, move))
    free = [choice for choice in choices if choice[0] <= 0.05]
    if free or not choices:
        place = world.pick([place for _, place, _ in free], "a column of numbers")
        moves = [move for _, p, move in free if p == place]
        return place, moves[int(world.random.integers(len(moves)))]
    _, place, move = min(choices, key=lambda choice: choice[0])
    return place, move


def spread_of(values: pl.Series) -> float:
    """Standard deviation of the known values; 0 without any."""
    spread = values.drop_nulls().std()
    return float(spread) if isinstance(spread, int | float) else 0.0


def within(values: pl.Series, column: Column) -> pl.Series:
    """Numbers kept within the declared limits and of the declared type."""
    clipped = values.cast(pl.Float64).clip(column.min, column.max)
    if column.type == "int64":
        clipped = clipped.round()
    return clipped.cast(TYPES[column.type])


def stranger(world: World, place: Place) -> str | None:
    """A text unlike all present that the contract allows: letters and digits changed for others."""
    column = world.column(place)
    if column.allowed is not None:
        return None
    present = set(world.typed(place).drop_nulls().to_list())
    model = sorted(present)[int(world.random.integers(len(present)))]
    for _ in range(1000):
        made = "".join(_other(sign, world.random) for sign in model)
        length = (column.min or 0) <= len(made) <= (column.max or len(made))
        matches = column.pattern is None or re.fullmatch(column.pattern, made) is not None
        if made not in present and matches and length:
            return made
        model = model if model else "x"
    return None


def _other(sign: str, random: np.random.Generator) -> str:
    for alphabet in ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"):
        if sign in alphabet:
            return alphabet[int(random.integers(len(alphabet)))]
    return sign


def _columns(world: World) -> list[tuple[Place, Column]]:
    return [
        (Place(name, column), declared)
        for name in world.history
        for column, declared in world.table(name).columns.items()
        if column in world.frames[name].columns
    ]
