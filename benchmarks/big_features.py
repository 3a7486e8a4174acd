"""What the graph does to parcels, done plainly in polars: to compare values, and the work."""

from collections.abc import Sequence
from pathlib import Path

import big_rows
import polars as pl

from ai_assets.lifecycle.schema.tables import Column, Table

_MOMENT = pl.col(big_rows.TIME)
_DAY = 86_400_000_000
MADE = {
    f"{big_rows.TIME}_isodow": _MOMENT.dt.weekday().cast(pl.Int64),
    f"{big_rows.TIME}_hour": _MOMENT.dt.hour().cast(pl.Int64),
    f"{big_rows.TIME}_month": _MOMENT.dt.month().cast(pl.Int64),
    f"{big_rows.TIME}_days": _MOMENT.to_physical() / _DAY - 10_957,
    "ordered_on_days": pl.col("ordered_on").to_physical().cast(pl.Float64) - 10_957,
    "ordered_on_days_before": _MOMENT.to_physical() / _DAY
    - pl.col("ordered_on").to_physical().cast(pl.Float64),
}
"""Features that the scaffolded query makes, by name; the others are columns as they are."""


def plain(name: str) -> pl.Expr:
    """A feature over the columns of the source."""
    return MADE.get(name, pl.col(name)).alias(name)


def differing(
    source: pl.LazyFrame, cleaned: pl.LazyFrame, features: pl.LazyFrame, sample: int
) -> tuple[int, int]:
    """How many feature values of about so many rows are not those of the source; of how many.

    A row that is not among the features counts with all its values.
    """
    names = [n for n in features.collect_schema().names() if n != "_row_id"]
    rows = cleaned.select(pl.len()).collect(engine="streaming").item()
    picked = pl.col(big_rows.KEY) // 3 % max(1, rows // sample) == 0
    ids = cleaned.filter(picked).select(big_rows.KEY, "_row_id").collect(engine="streaming")
    wanted = (
        source.filter(pl.col(big_rows.KEY).is_in(ids[big_rows.KEY].implode()))
        .select(big_rows.KEY, *map(plain, names))
        .unique(big_rows.KEY)
        .collect(engine="streaming")
        .join(ids, on=big_rows.KEY)
        .sort("_row_id")
    )
    made = features.filter(pl.col("_row_id").is_in(ids["_row_id"].implode()))
    got = wanted.select("_row_id").join(
        made.collect(engine="streaming"), on="_row_id", how="left", maintain_order="left"
    )
    wrong = sum(_unlike(wanted[name], got[name]) for name in names)
    lost = ids.height - wanted.height
    return wrong + lost * len(names), ids.height * len(names)


def _unlike(wanted: pl.Series, got: pl.Series) -> int:
    """How many values are not the same; floats to twelve digits."""
    same = wanted.eq_missing(got.cast(wanted.dtype))
    if wanted.dtype.is_float():
        same |= ((wanted - got).abs() <= 1e-12 * wanted.abs()).fill_null(False)
    return int((~same).sum())


def script(table: Table, features: Sequence[str], out: Path) -> int:
    """Hold the files of a table to its limits and compute the features named; their rows.

    All is streamed. Writes `cleaned.parquet`, `rejected.parquet` and `features.parquet`. Of rows of
    one key any one stays.
    """
    rows = pl.scan_parquet(str(table.source.parquet))
    good = pl.all_horizontal(_keeps(name, column) for name, column in table.columns.items())
    rows.filter(~good).sink_parquet(out / "rejected.parquet")
    kept, several = rows.filter(good), pl.col(table.key[0]).is_in(_repeated(rows, table.key[0]))
    one_each = kept.filter(several).collect(engine="streaming").unique(table.key, keep="any")
    pl.concat([kept.filter(~several), one_each.lazy()]).sink_parquet(out / "cleaned.parquet")
    cleaned = pl.scan_parquet(out / "cleaned.parquet")
    computed = out / "features.parquet"
    cleaned.select(plain(name) for name in (big_rows.KEY, *features)).sink_parquet(computed)
    return int(pl.scan_parquet(computed).select(pl.len()).collect().item())


def _repeated(rows: pl.LazyFrame, key: str) -> pl.Series:
    """The keys of several rows; to make all rows unique at once would hold all of them."""
    ordered = rows.select(key).collect(engine="streaming").to_series().sort()
    return ordered.filter(ordered == ordered.shift()).unique().implode()


def _keeps(name: str, column: Column) -> pl.Expr:
    """Whether a value is as the declaration says."""
    value, keeps = pl.col(name), pl.lit(True)
    if column.min is not None:
        keeps &= (value >= column.min).fill_null(True)
    if column.max is not None:
        keeps &= (value <= column.max).fill_null(True)
    if column.allowed is not None:
        keeps &= value.is_in(column.allowed).fill_null(True)
    return keeps if column.nullable else keeps & value.is_not_null()
