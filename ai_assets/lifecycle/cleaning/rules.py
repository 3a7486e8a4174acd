"""The rules of a column as polars expressions, each with the words that people read."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.images import canonical
from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.schema.files import REASONS, UNREAD
from ai_assets.lifecycle.schema.personal import MASKED, PSEUDONYM
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.lifecycle.sources.casts import cast


@dataclass(frozen=True)
class Rule:
    """A condition that marks a row as broken, over the cast columns and the raw ones."""

    words: str
    broken: pl.Expr


def raw_name(name: str) -> str:
    """The name under which a raw column travels beside the cast one."""
    return f"raw:{name}"


def cast_columns(schema: pl.Schema, table: Table) -> list[pl.Expr]:
    """Expressions over the raw columns that give the declared types; null where impossible."""
    return [as_declared(name, schema[name], column) for name, column in table.columns.items()]


def as_declared(name: str, given: pl.DataType, column: Column) -> pl.Expr:
    """A raw column as the declared type; null where a value cannot be one."""
    if column.type == "image":
        return cast_image(name, column)
    return cast(name, given, column.type)


def is_cast(column: Column, given: pl.DataType) -> bool:
    """Whether the raw values travel beside the cast ones, to tell a bad value from none."""
    return given != TYPES[column.type] or column.type == "image"


def cast_image(name: str, column: Column) -> pl.Expr:
    """A column of pictures, a byte a pixel; null where one cannot be read."""

    def read(given: pl.Series) -> pl.Series:
        return pl.Series(given.name, [_readable(v, column) for v in given.to_list()], pl.Binary)

    return pl.col(name).map_batches(read, return_dtype=pl.Binary).alias(name)


def _readable(value: Any, column: Column) -> bytes | None:
    try:
        return None if value is None else canonical(value, column)
    except DataError:
        return None


def table_rules(schema: pl.Schema, table: Table) -> list[Rule]:
    """All rules of a table, in the order of its columns; before them why a file was not read."""
    item = table.item_of_files if UNREAD in schema else None
    unread = [Rule(f"{item}: {why}", pl.col(UNREAD) == why) for why in REASONS if item]
    return unread + [
        rule if item != name else Rule(rule.words, rule.broken & pl.col(UNREAD).is_null())
        for name, column in table.columns.items()
        for rule in column_rules(name, column, schema[name], is_key=name in table.key)
    ]


def column_rules(name: str, column: Column, given: pl.DataType, *, is_key: bool) -> list[Rule]:
    """The rules of one column; a missing value breaks only the rule that it must not be."""
    value, raw = pl.col(name), pl.col(raw_name(name))
    rules = []
    if column.type == "image":
        words = f"{name} cannot be read as a picture"
        rules.append(Rule(words, raw.is_not_null() & value.is_null()))
    elif given != TYPES[column.type]:
        article = "an" if column.type == "int64" else "a"
        words = f"{name} is not {article} {column.type}"
        rules.append(Rule(words, raw.is_not_null() & value.is_null()))
    if is_key or not column.nullable:
        missing = raw.is_null() if is_cast(column, given) else value.is_null()
        reason = " (it is part of the key)" if is_key else ""
        rules.append(Rule(f"{name} is missing{reason}", missing))
    if column.type == "float64":
        rules.append(Rule(f"{name} is not a finite number", value.is_infinite()))
    return rules + _limit_rules(name, column)


def _limit_rules(name: str, column: Column) -> list[Rule]:
    if column.type == "image":
        return []
    value, number = pl.col(name), _number(pl.col(name), column)
    unit = f" {column.unit}" if column.unit else ""
    is_text = column.type in ("string", "text")
    low, high = ("is shorter than", "is longer than") if is_text else ("is below", "is above")
    rules = []
    if column.min is not None:
        rules.append(Rule(f"{name} {low} {column.min:g}{unit}", number < column.min))
    if column.max is not None:
        rules.append(Rule(f"{name} {high} {column.max:g}{unit}", number > column.max))
    if column.allowed is not None:
        # Through text, so that YAML's dates, numbers and words compare with any declared type.
        listed = pl.Series([str(item) for item in column.allowed], dtype=pl.String)
        allowed = cast("a", pl.String(), column.type)
        values = pl.DataFrame({"a": listed}).select(allowed).to_series().drop_nulls()
        shown = ", ".join(str(item) for item in column.allowed[:20])
        more = ", …" if len(column.allowed) > 20 else ""
        rules.append(Rule(f"{name} is not one of {shown}{more}", ~value.is_in(values.implode())))
    if column.pattern is not None:
        whole = rf"\A(?:{column.pattern})\z"
        text = value if is_text else value.cast(pl.String)
        words = f"{name} does not match {column.pattern}"
        if column.pattern in (PSEUDONYM, MASKED):
            words = f"{name} broke its contract before it was treated"
        rules.append(Rule(words, ~text.str.contains(whole)))
    return rules


def _number(value: pl.Expr, column: Column) -> pl.Expr:
    """What min and max are compared with: numbers as they are, times in seconds, texts' length."""
    if column.type in ("string", "text"):
        return value.str.len_chars()
    if column.type == "datetime":
        return value.dt.epoch("s")
    return value.cast(pl.Float64) if column.type in ("bool", "date") else value
