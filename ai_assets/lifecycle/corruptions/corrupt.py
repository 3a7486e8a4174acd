"""A column's items, corrupted by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from ai_assets.lifecycle.corruptions import images, texts
from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.schema.tables import ITEMS, Column

SEVERITIES = (1, 2, 3, 4, 5)


def corruptions_of(column: Column) -> Mapping[str, str]:
    """What may be done to the items of a column: names, and what each does in words."""
    if column.type not in ITEMS:
        return {}
    known = images.CORRUPTIONS if column.type == "image" else texts.CORRUPTIONS
    return {name: _words(change) for name, change in known.items()}


def corrupt(items: Sequence[Any], column: Column, name: str, severity: int, seed: int) -> list[Any]:
    """Items of a column after something happened to them.

    Args:
        items: as they are cleaned: uint8 bytes of `column.shape`, or texts; None stays None.
        column: the declared column, of type image or text.
        name: one of `corruptions_of`.
        severity: 1 is seen by who looks for it, 5 by everybody.
        seed: the same seed changes the same; by the place of an item among all, so that two
            severities of a corruption differ by nothing but it.

    Raises:
        DeclarationError: the name or the severity is unknown.
    """
    if name not in corruptions_of(column):
        raise DeclarationError(must_be("the corruption", corruptions_of(column), name))
    if severity not in SEVERITIES:
        raise DeclarationError(must_be("severity", "a whole number from 1 to 5", severity))
    there = [place for place, item in enumerate(items) if item is not None]
    given = [items[place] for place in there]
    if not given:
        return list(items)
    changed: Sequence[Any]
    if column.type == "image":
        changed = images.changed(given, column.shape, name, severity, seed)
    else:
        changed = texts.changed(given, name, severity, seed)
    found = list(items)
    for place, item in zip(there, changed, strict=True):
        found[place] = item
    return found


def _words(change: Any) -> str:
    return (change.__doc__ or "").split("\n")[0].rstrip(".")
