"""What of a row's moment a first query reads: parts of the calendar that come round often enough.

A part is read where the partitions that are learned from hold two of its cycles or more: of one
year each month is there once, so that a model cannot tell a season from what happened then, and of
less the next partition has a month that was never seen. Where a cycle is longer than a partition, a
partition holds but a piece of it and differs from the reference by the calendar alone, which is no
drift.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_CYCLES = 2
_YEAR = 365.0
_PARTS = {"isodow": ("weeks", 7.0), "hour": ("days", 1.0), "month": ("years", _YEAR)}
"""By function of DuckDB: what it comes round in, and after how many days."""
_LENGTHS = {"month": _YEAR / 12, "week": 7.0, "day": 1.0}


@dataclass(frozen=True)
class Calendar:
    """Parts of the calendar of one column.

    Attributes:
        features: the feature's name by the function that reads it.
        apart: features whose cycle is longer than a partition.
        left_out: of each part that is not read, why, as a sentence.
    """

    features: dict[str, str] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def calendar_of(
    time: str, kind: str, partitions: dict[str, Any] | None, window: int, names: Iterable[str]
) -> Calendar:
    """What to read of the column of moments.

    Args:
        time: its name.
        kind: its type: datetime, or date, which has no hour.
        partitions: how time is cut; None where it is not: then no season is told.
        window: of how many partitions is learned.
        names: of the table's columns, which features must not take.
    """
    taken, features, apart, left_out = {n.casefold() for n in names}, {}, [], []
    length = _LENGTHS[partitions["every"]] if partitions else None
    for part, (cycles, cycle) in _PARTS.items():
        if (part == "hour" and kind == "date") or (part == "month" and length is None):
            continue
        if partitions and length is not None and window * length < _CYCLES * cycle:
            left_out.append(
                f"No {part}({time}) is read: the {window} {partitions['every']}s that are learned "
                f"from do not hold two {cycles}."
            )
            continue
        features[part] = free_name(f"{time}_{part}", taken)
        if length is not None and cycle > length:
            apart.append(features[part])
    return Calendar(features, tuple(apart), tuple(left_out))


def free_name(name: str, taken: set[str]) -> str:
    """The name, or a longer one that is not taken, in folded case; it is taken then."""
    while name.casefold() in taken:
        name += "_"
    taken.add(name.casefold())
    return name
