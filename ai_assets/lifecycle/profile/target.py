"""What is predicted: the task that the values of a target ask for, and how it is declared."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.profile.column_types import Typed
from ai_assets.lifecycle.profile.sql_words import literal, quoted
from ai_assets.lifecycle.schema.label import word_of
from ai_assets.lifecycle.tally import tally

_YES = ("yes", "true", "1", "y", "t", "ja", "oui", "si", "sí")
_NO = ("no", "false", "0", "n", "f", "nein", "non")
_MOST_NUMBERS = 10
_MOST_CLASSES = 100
_SMALL_COUNT = 10
_FEWEST_OF_A_CLASS = 10


@dataclass(frozen=True)
class Target:
    """The label as declared, and why.

    Attributes:
        label: the fields of `label:`.
        allowed: values to declare of its column; none of a regression.
        reason: what the task was told by.
        rarest: rows of the rarest class, of all that were looked at; as a share 0 to 1.
        outputs: numbers that a model answers with: one, or one a class.
    """

    label: dict[str, Any]
    reason: str
    allowed: list[Any] = field(default_factory=list)
    rarest: float = 1.0
    outputs: int = 1

    @property
    def task(self) -> str:
        """binary, multiclass or regression."""
        return str(self.label["task"])


def check_target(name: str, names: list[str], place: str) -> None:
    """Check that the target is a column.

    Raises:
        DataError: it is not; the nearest name is offered.
    """
    if name not in names or not name.strip():
        near = did_you_mean(name, names)
        shown = ", ".join(f"'{n}'" for n in names[:20]) + (", …" if len(names) > 20 else "")
        raise DataError(
            f"--target must be a column of '{place}', but got '{name}'.{near} There are {shown}."
        )


def target_of(name: str, column: Typed) -> Target:
    """The task that a target's values ask for.

    Raises:
        DataError: it has no values, one value, or too many that are no numbers.
    """
    there = column.values.drop_nulls()
    if column.type is None:
        raise DataError(
            f"The target '{name}' must be a class or a number, but it is {column.values.dtype}."
        )
    if there.is_empty():
        raise DataError(f"The target '{name}' must have values, but all of them are missing.")
    if there.dtype.is_float() and (endless := int(there.is_infinite().sum())):
        raise DataError(f"The target '{name}' must be finite, but {endless:,} values are infinite.")
    counts = tally(there, sort=True)
    values, times = counts["value"].to_list(), counts["rows"].to_list()
    if len(values) == 1:
        raise DataError(
            f"The target '{name}' must have two or more values, but all {len(there)} rows that "
            f"have one say '{word_of(values[0])}'."
        )
    if column.type in ("date", "datetime"):
        raise DataError(f"The target '{name}' must be a class or a number, but is a moment.")
    if len(values) == 2:
        return _binary(name, column, values, times)
    if column.type in ("int64", "float64"):
        whole = bool((there == there.round(0)).all()) if column.type == "float64" else True
        if len(values) > _MOST_NUMBERS or not whole:
            return _regression(name, there, len(values))
    return _multiclass(name, column, dict(zip(values, times, strict=True)))


def _binary(name: str, column: Typed, values: list[Any], times: list[int]) -> Target:
    words = {word_of(v).strip().lower(): v for v in values}
    positive = values[1]  # the rarer one
    why = "two values; what is asked for is the rarer one"
    if any(w in _NO for w in words) and any(w in _YES for w in words):
        positive = next(v for w, v in words.items() if w in _YES)
        why = "two values, yes and no"
    negative = next(v for v in values if v != positive)
    sql = quoted(name) if column.type == "bool" else f"{quoted(name)} = {literal(positive)}"
    label: dict[str, Any] = {"task": "binary", "sql": sql}
    if column.type == "string":
        label |= {"positive": positive, "negative": negative}
    else:
        label |= {"positive": name, "negative": f"not {name}"}
    share = times[values.index(positive)] / sum(times)
    allowed = sorted(values) if column.type != "bool" else []
    reason = f"{why}: {word_of(positive)} in {share:.1%} of the rows"
    return Target(label, reason, allowed, min(times) / sum(times))


def _multiclass(name: str, column: Typed, counts: dict[Any, int]) -> Target:
    classes = [v for v, n in counts.items() if n >= _FEWEST_OF_A_CLASS]
    if len(counts) > _MOST_CLASSES or len(classes) < 2:
        raise DataError(
            f"The target '{name}' must have 2 to {_MOST_CLASSES} values, {_FEWEST_OF_A_CLASS} rows "
            f"each, to be a class, but has {len(counts)} different ones. Is it an identifier?"
        )
    classes, total = sorted(classes), sum(counts.values())
    rare = sorted(word_of(v) for v in counts if v not in classes)
    most, least = max(counts.values()) / total, min(counts[v] for v in classes) / total
    label: dict[str, Any] = {"task": "multiclass", "sql": quoted(name)}
    if rare:
        among = ", ".join(literal(v) for v in classes)
        label["sql"] = f"CASE WHEN {quoted(name)} IN ({among}) THEN {quoted(name)} END"
    if rare or '"' in name:
        label["classes"] = [word_of(v) for v in classes]
    reason = (
        f"{len(classes)} classes, the most frequent {most:.1%} of the rows, the rarest {least:.1%}"
    )
    if rare:
        reason += f"; not learned for want of rows: {', '.join(rare[:10])}"
    return Target(label, reason, sorted(counts), least, len(classes))


def _regression(name: str, there: pl.Series, distinct: int) -> Target:
    label = {"task": "regression", "sql": quoted(name)}
    values = there.cast(pl.Float64).sort()
    least, middle = float(values[0]), float(values[len(values) // 2])
    if least >= 0 and middle <= _SMALL_COUNT and bool((values == values.round(0)).all()):
        return Target(
            label | {"objective": "poisson"},
            f"{distinct} different whole numbers from {least:g} on, half of them up to "
            f"{middle:g}: counts of something",
        )
    return Target(label, f"{distinct} different numbers")


def shares(values: pl.Series) -> str:
    """How the classes are balanced, in words."""
    counts = tally(values.drop_nulls(), sort=True)
    total = counts["rows"].sum()
    return ", ".join(f"{word_of(v)} {rows / total:.1%}" for v, rows in counts.head(8).iter_rows())
