"""Images and texts in numbers that people can read: what is watched of them.

A histogram of pixels or of token numbers says nothing to anybody. Brightness, size, length and the
mix of languages do, and they have reference values, drift and causes as any other column.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.features import image_numbers, text_numbers
from ai_assets.lifecycle.schema.tables import ITEMS, NO_UNIT, Column, Table

if TYPE_CHECKING:
    import polars as pl

_WAYS = {"image": image_numbers.WAYS, "text": text_numbers.WAYS}
_WORDS: dict[str, dict[str, str]] = {"image": {}, "text": text_numbers.WORDS}


def items_of(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns that are images or texts."""
    return {name: column for name, column in columns.items() if column.type in ITEMS}


def described(frame: "pl.DataFrame", columns: Mapping[str, Column]) -> "pl.DataFrame":
    """The frame with each image or text in it replaced by numbers about it.

    Args:
        frame: rows [n]; items as they are cleaned.
        columns: the declared columns, by name.

    Returns:
        The other columns as they are, then for an image `photo` such as `photo_brightness`.
    """
    import polars as pl

    found = {name: c for name, c in items_of(columns).items() if name in frame.columns}
    parts = [frame.drop(list(found))]
    for name, column in found.items():
        values = frame[name].to_list()
        numbers = described_values(column.type, values, column.shape)
        parts.append(pl.DataFrame({f"{name}_{of}": told for of, told in numbers.items()}))
    return pl.concat(parts, how="horizontal") if found else frame


def described_values(kind: str, values: Sequence[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Numbers and words [n] about images (of uint8 `shape`) or texts, as their kind has them."""
    if kind == "image":
        return dict(image_numbers.describe(values, shape))
    return text_numbers.describe(values)


def described_names(kind: str, name: str, shape: tuple[int, ...]) -> dict[str, bool]:
    """The columns that tell of a column of images or texts, and whether each is a number."""
    numbers = {f"{name}_{of}": True for of in _numbers_of(kind, shape)}
    return numbers | {f"{name}_{of}": False for of in _WORDS[kind]}


def described_table(table: Table) -> Table:
    """The declaration of what `described` makes of a table's rows."""
    columns: dict[str, Column] = {}
    for name, column in table.columns.items():
        if column.type not in ITEMS:
            columns[name] = column
            continue
        for of, words in _numbers_of(column.type, column.shape).items():
            told = f"{name}: {words}"
            columns[f"{name}_{of}"] = Column(type="float64", unit=NO_UNIT, description=told)
        for of, words in _WORDS[column.type].items():
            columns[f"{name}_{of}"] = Column(type="string", description=f"{name}: {words}")
    return table.model_copy(update={"columns": columns})


def ways(columns: Mapping[str, Column]) -> dict[str, tuple[str, str]]:
    """Of each number about items what is said where it is less, and where it is more."""
    return {
        f"{name}_{of}": told
        for name, column in items_of(columns).items()
        for of, told in _WAYS[column.type].items()
    }


def _numbers_of(kind: str, shape: tuple[int, ...]) -> dict[str, str]:
    """Names and words of the numbers about images of a shape, or about texts."""
    return dict(image_numbers.told(shape) if kind == "image" else text_numbers.NUMBERS)
