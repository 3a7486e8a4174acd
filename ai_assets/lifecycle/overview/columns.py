"""Columns in numbers: missing, distinct, quantiles, commonest values, a histogram.

All rows are read, as a stream: a table may be larger than memory. Of a large one, distinct values
are estimated (HyperLogLog, up to a tenth off), and quantiles are those of rows drawn by `_row_id`,
which is a hash, so that the same rows are drawn each time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from ai_assets.lifecycle.schema.tables import Column, Table

EXACT_ROWS = 200_000
"""Tables of so many rows or fewer are counted exactly."""
BARS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_SHOWN = 5
# Of more distinct values than that none is common, and counting them would take memory.
_MOST_COUNTED = 10_000
_ROW = "_row_id"

_Engine = Literal["streaming", "in-memory"]


@dataclass(frozen=True)
class Overview:
    """One column, over all rows.

    Attributes:
        name: Its name.
        type: As declared.
        unit: Of its values; empty where none is declared.
        rows: How many rows there are.
        missing: How many of them have no value.
        distinct: How many values there are; None where nobody counts them, as of pictures.
        quantiles: Smallest value, those at `QUANTILES`, largest one; empty of words, of what is
            personal, and where there is no value. Of a text: its length in characters.
        bars: How many rows lie in each of `BARS` stretches of equal length from smallest to
            largest value, or at each of fewer whole numbers; empty as above.
        common: The commonest values of words and truth values, with their rows.
        personal: Whether no value may be shown.
        exact: Whether distinct values and quantiles are counted, not estimated.
    """

    name: str
    type: str
    unit: str
    rows: int
    missing: int
    distinct: int | None
    quantiles: tuple[Any, ...] = ()
    bars: tuple[int, ...] = ()
    common: tuple[tuple[str, int], ...] = ()
    personal: bool = False
    exact: bool = True

    @property
    def missing_share(self) -> float:
        return self.missing / self.rows if self.rows else 0.0


def overview(rows: pl.LazyFrame, table: Table, exact_rows: int = EXACT_ROWS) -> list[Overview]:
    """The declared columns of cleaned rows, in the order of the declaration."""
    there = rows.collect_schema()
    columns = {name: column for name, column in table.columns.items() if name in there}
    count = int(rows.select(pl.len()).collect(engine="streaming").item())
    exact = count <= exact_rows
    engine: _Engine = "in-memory" if exact else "streaming"
    rows = rows.select(*_measures(columns), *([_ROW] if _ROW in there and not exact else []))
    if exact:  # to read the file again, or to begin a stream, costs more than to count in it
        rows = rows.collect(engine="streaming" if _are_large(columns) else engine).lazy()
    told = _counted(rows, columns, engine)
    ordered = {name: c for name, c in columns.items() if _has_order(c) and not c.personal}
    spread = _quantiles(rows, ordered, -(-count // exact_rows), engine)
    bars = _bars(rows, {name: spread[name] for name in ordered if spread[name]}, columns, engine)
    return [
        Overview(
            name,
            column.type,
            column.unit or "",
            count,
            told[f"missing:{name}"],
            told.get(f"distinct:{name}"),
            spread.get(name, ()),
            bars.get(name, ()),
            _common(rows, name, column, told.get(f"distinct:{name}"), engine),
            bool(column.personal),
            exact,
        )
        for name, column in columns.items()
    ]


def _measures(columns: Mapping[str, Column]) -> list[pl.Expr]:
    """What of each column is looked at, under its name.

    That is the value; of a text how many characters it has and, to count different ones, a hash of
    64 bits; of a picture only that it is there.
    """
    exprs, hashes = [], _hashes(columns)
    for name, column in columns.items():
        value = pl.col(name)
        if column.type == "image":
            exprs.append(_if_known(value, pl.lit(True)).alias(name))
        elif column.type == "text":
            different = _if_known(value, value.hash()).alias(hashes[name])
            exprs += [value.str.len_chars(), different]
        else:
            exprs.append(value)
    return exprs


def _if_known(value: pl.Expr, then: pl.Expr) -> pl.Expr:
    return pl.when(value.is_not_null()).then(then)


def _hashes(columns: Mapping[str, Column]) -> dict[str, str]:
    """What the hashes of each text are called, as none of the columns is."""
    prefix = "hash"
    while any(name.startswith(prefix) for name in columns):
        prefix = f"_{prefix}"
    texts = (name for name, column in columns.items() if column.type == "text")
    return {name: f"{prefix}{position}" for position, name in enumerate(texts)}


def _are_large(columns: Mapping[str, Column]) -> bool:
    """Whether values may be many times what is looked at of them, so that a stream is worth it."""
    return any(column.type in ("image", "text") for column in columns.values())


def _counted(rows: pl.LazyFrame, columns: Mapping[str, Column], engine: _Engine) -> dict[str, Any]:
    """Missing and distinct values of each column, in one pass over the rows."""
    asked, hashes = [], _hashes(columns)
    for name, column in columns.items():
        value = pl.col(name)
        asked.append(value.null_count().alias(f"missing:{name}"))
        if column.type != "image":
            known = pl.col(hashes.get(name, name)).drop_nulls()
            distinct = known.approx_n_unique() if engine == "streaming" else known.n_unique()
            asked.append(distinct.alias(f"distinct:{name}"))
    return rows.select(asked).collect(engine=engine).row(0, named=True) if asked else {}


def _has_order(column: Column) -> bool:
    return column.type in ("int64", "float64", "datetime", "date", "text")


def _value(name: str, column: Column) -> pl.Expr:
    """What is measured of a column, as `_measures` gives it; finite."""
    value = pl.col(name)
    return value.filter(value.is_finite()) if column.type == "float64" else value


def _quantiles(
    rows: pl.LazyFrame, columns: Mapping[str, Column], one_of: int, engine: _Engine
) -> dict[str, tuple[Any, ...]]:
    """Smallest value, quantiles and largest one of each column; empty where there is no value.

    Quantiles are those of `one_of` so many rows.
    """
    ends = rows.select(
        pick(_value(name, column)).alias(f"{end}:{name}")
        for name, column in columns.items()
        for end, pick in (("low", pl.Expr.min), ("high", pl.Expr.max))
    ).collect(engine=engine)
    drawn = rows
    if one_of > 1 and _ROW in rows.collect_schema():
        drawn = rows.filter(pl.col(_ROW).abs() % one_of == 0)
    within = drawn.select(
        _value(name, column).quantile(q, "nearest").alias(f"{q}:{name}")
        for name, column in columns.items()
        for q in QUANTILES
    ).collect(engine=engine)
    low_high = ends.row(0, named=True) if ends.height else {}
    told = within.row(0, named=True) if within.height else {}
    found = {}
    for name, column in columns.items():
        inside = [told[f"{q}:{name}"] for q in QUANTILES]
        whole = (low_high[f"low:{name}"], *inside, low_high[f"high:{name}"])
        found[name] = () if None in whole else tuple(_shown(v, column) for v in whole)
    return found


def _shown(value: Any, column: Column) -> Any:
    """polars gives quantiles of whole numbers as floats."""
    return int(value) if column.type in ("int64", "text") else value


def _bars(
    rows: pl.LazyFrame,
    spread: Mapping[str, tuple[Any, ...]],
    columns: Mapping[str, Column],
    engine: _Engine,
) -> dict[str, tuple[int, ...]]:
    """How many rows of each column lie in each of `BARS` equal stretches."""
    bars = {name: _bar(name, columns[name], spread[name]) for name in spread}
    stretches = [bar.alias(str(position)) for position, (bar, _) in enumerate(bars.values())]
    if engine == "streaming":  # one column at a time: what is counted together is held together
        each = (
            rows.select(bar).drop_nulls().group_by(pl.all()).len("rows").collect(engine=engine)
            for bar in stretches
        )
    else:
        counted = (bar.drop_nulls().value_counts(name="rows").implode() for bar in stretches)
        each = (column.explode().struct.unnest() for column in rows.select(counted).collect())
    found = {}
    for (name, (_, many)), counts in zip(bars.items(), each, strict=True):
        got = dict(counts.iter_rows())
        found[name] = tuple(got.get(number, 0) for number in range(many))
    return found


def _bar(name: str, column: Column, quantiles: tuple[Any, ...]) -> tuple[pl.Expr, int]:
    """In which stretch a value lies, and how many stretches there are."""
    low, high = _number(quantiles[0]), _number(quantiles[-1])
    value = _as_number(_value(name, column), column)
    whole = column.type in ("int64", "text") and high - low < BARS
    many = int(high - low) + 1 if whole else BARS
    width = 1.0 if whole else (high - low) / many or 1.0
    return ((value - low) / width).floor().clip(0, many - 1).cast(pl.Int32), many


def _as_number(value: pl.Expr, column: Column) -> pl.Expr:
    if column.type == "datetime":
        return value.dt.epoch("us").cast(pl.Float64) / 1e6
    if column.type == "date":
        return value.dt.epoch("d").cast(pl.Float64) * 86_400.0
    return value.cast(pl.Float64)


def _number(value: Any) -> float:
    """As `_as_number`: seconds since 1970 of a moment or a day."""
    if isinstance(value, datetime):
        return value.timestamp()
    if hasattr(value, "toordinal"):
        return (value.toordinal() - datetime(1970, 1, 1).toordinal()) * 86_400.0
    return float(value)


def _common(
    rows: pl.LazyFrame, name: str, column: Column, distinct: int | None, engine: _Engine
) -> tuple[tuple[str, int], ...]:
    """The commonest words; none where each row has its own."""
    if column.personal or column.type not in ("string", "bool"):
        return ()
    if not distinct or distinct > _MOST_COUNTED:
        return ()
    counts = (
        rows.select(word=pl.col(name).cast(pl.String))
        .drop_nulls()
        .group_by("word")
        .len("rows")
        .sort("rows", "word", descending=[True, False])
        .head(_MOST_SHOWN)
        .collect(engine=engine)
    )
    if counts.height and counts["rows"][0] == 1 and distinct > _MOST_SHOWN:
        return ()
    return tuple((str(value), int(n)) for value, n in counts.iter_rows())
