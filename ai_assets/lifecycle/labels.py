"""Labels: the declared SQL over request rows, with the moment at which each becomes known.

Where the source does not know what a row came to, callers may have told it.
"""

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.duck import session


def label_rows(
    rows: pl.LazyFrame | pl.DataFrame, sql: str, time: str | None, arrives_after: timedelta
) -> pl.DataFrame:
    """Label request rows.

    Args:
        rows: cleaned rows of the request table, with `_row_id`.
        sql: expression over their columns that is true or 1 for the positive class; null where
            there is no outcome to learn from.
        time: the event-time column, if the table has one.
        arrives_after: how long after the event the outcome is known.

    Returns:
        `_row_id`, `label` (float64, null if there is none), and with a time column also
        `event_time` and `known_at`, in the order of `_row_id`.

    Raises:
        DeclarationError: DuckDB refuses the expression, or it gives something other than 0 and 1.
    """
    import duckdb

    with session() as connection:
        connection.register("label_rows", rows)
        times = f', "{time}" AS event_time' if time else ""
        query = f"SELECT _row_id, CAST(({sql}) AS DOUBLE) AS label{times} FROM label_rows"
        try:
            labels = connection.sql(f"{query} ORDER BY _row_id").pl()
        except duckdb.Error as error:
            raise DeclarationError(f"label.sql is not valid: {sql!r}. {error}") from error
    strange = labels.filter(~pl.col("label").is_in([0.0, 1.0]))["label"].drop_nulls()
    if strange.len():
        raise DeclarationError(
            f"label.sql must give true, false, 0, 1 or null, but {sql!r} gave {strange[0]}."
        )
    if time is None:
        return labels
    utc = pl.col("event_time").cast(pl.Datetime("us", "UTC"))
    return labels.with_columns(utc, known_at=utc + arrives_after)


@dataclass(frozen=True)
class Completed:
    """Labels with what callers told.

    Attributes:
        rows: the labels, as `label_rows` gives them.
        taken: rows whose label is the one that was told.
        contradicted: rows whose own label is another than the one that was told.
        strange: outcomes told of no row, or of one at another time.
    """

    rows: pl.DataFrame
    taken: int
    contradicted: int
    strange: int


def completed(labels: pl.DataFrame, told: pl.DataFrame) -> Completed:
    """Give rows without a label the one that was told of them, known since it was said to be.

    Args:
        labels: as `label_rows` gives them; a label of the row's own stays, whatever was told.
        told: at most one outcome a row: `_row_id`, `label`, `event_time`, `known_at`. It is of the
            row with the same id and, where rows have a time, the same time.
    """
    timed = "event_time" in labels.columns
    on = ["_row_id", "event_time"] if timed else ["_row_id"]
    known = {"_told_known_at": pl.col("known_at")} if timed else {}
    told = told.filter(pl.col("label").is_not_null()).select(*on, _told=pl.col("label"), **known)
    both = labels.join(told, on=on, how="left", maintain_order="left")
    taken = pl.col("label").is_null() & pl.col("_told").is_not_null()
    counts = both.select(
        taken=taken.sum(),
        contradicted=(pl.col("label") != pl.col("_told")).sum(),
        met=pl.col("_told").count(),
    ).row(0, named=True)
    moments = {"known_at": pl.when(taken).then("_told_known_at").otherwise("known_at")}
    rows = both.with_columns(
        label=pl.coalesce("label", "_told"), **(moments if timed else {})
    ).select(labels.columns)
    return Completed(rows, counts["taken"], counts["contradicted"], told.height - counts["met"])
