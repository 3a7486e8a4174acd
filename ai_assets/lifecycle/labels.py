"""Labels: the declared SQL over request rows, with the moment at which each becomes known."""

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
