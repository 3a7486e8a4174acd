"""Personal data on its way into the lake: dropped, or replaced by what may be kept of it.

A value that breaks the plain contract (its type, range or pattern) is replaced by the broken rule,
so that cleaning rejects the row without anybody having kept the value.
"""

import hmac
from collections.abc import Callable
from functools import partial

import polars as pl

from ai_assets.lifecycle.cleaning.rules import as_declared, column_rules, raw_name
from ai_assets.lifecycle.schema.tables import Column, Table

BROKEN = "(personal) "
_SHOWN, _OF = 4, 4
_DIGITS = 32


def pseudonym(value: str, key: bytes) -> str:
    """The pseudonym of a value: 32 hexadecimal digits of its HMAC-SHA256 (RFC 2104)."""
    return hmac.digest(key, value.encode(), "sha256").hex()[:_DIGITS]


def masked(value: str) -> str:
    """Stars for all but the last characters: four, and at most a quarter of them."""
    kept = min(_SHOWN, len(value) // _OF)
    return "*" * (len(value) - kept) + value[len(value) - kept :]


def treat(rows: pl.LazyFrame, table: Table, key: bytes) -> pl.LazyFrame:
    """The rows with treated columns as text in their treated form; others as they are.

    Columns that are dropped are among `table.ignore`, which `raw` leaves out.

    Args:
        rows: as the source has them.
        table: the declaration.
        key: of pseudonyms.
    """
    schema = rows.collect_schema()
    for name, plain in table.plain.items():
        if plain.personal != "drop":
            rows = _treated(rows, name, plain, schema[name], key)
    return rows


def _treated(
    rows: pl.LazyFrame, name: str, plain: Column, given: pl.DataType, key: bytes
) -> pl.LazyFrame:
    beside, place = raw_name(name), pl.col(name)
    names = rows.collect_schema().names()
    broken = [
        pl.when(rule.broken.fill_null(False)).then(pl.lit(BROKEN + rule.words))
        for rule in column_rules(name, plain, given, is_key=False)
    ]
    left = pl.coalesce(*broken, _left(place, plain, key))
    return (
        rows.with_columns(place.alias(beside))
        .with_columns(as_declared(name, given, plain).alias(name))
        # A missing value is for cleaning to judge: there is nothing in it to hide.
        .with_columns(pl.when(pl.col(beside).is_not_null()).then(left).alias(name))
        .select(names)
    )


def _left(value: pl.Expr, plain: Column, key: bytes) -> pl.Expr:
    """What is kept of values that meet the contract, as text; a missing one stays missing."""
    if plain.personal == "hash":
        return _each(value.cast(pl.String), partial(pseudonym, key=key))
    if plain.personal == "mask":
        return _each(value, masked)
    if plain.type == "string":
        return value.str.slice(0, int(plain.to or 0))
    if plain.type in ("date", "datetime"):
        return value.dt.truncate("1y" if plain.to == "year" else "1mo").cast(pl.String)
    step = float(plain.to or 1)
    coarse = (value / step).floor() * step
    return (coarse.cast(pl.Int64) if plain.type == "int64" else coarse).cast(pl.String)


def _each(value: pl.Expr, of: Callable[[str], str]) -> pl.Expr:
    def every(given: pl.Series) -> pl.Series:
        return pl.Series(given.name, [None if v is None else of(v) for v in given], pl.String)

    return value.map_batches(every, return_dtype=pl.String)
