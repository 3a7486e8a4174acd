"""Labels: the declared SQL over request rows, with the moment at which each becomes known.

Where the source does not know what a row came to, callers may have told it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.features.duck import session
from ai_assets.lifecycle.schema.label import word_of


def label_rows(
    rows: pl.LazyFrame | pl.DataFrame,
    sql: str,
    time: str | None,
    arrives_after: timedelta,
    classes: Sequence[str] = (),
    *,
    values: bool = False,
    counts: bool = False,
) -> pl.DataFrame:
    """Label request rows.

    Args:
        rows: cleaned rows of the request table, with `_row_id`.
        sql: expression over their columns that is true or 1 for the positive class, or of several
            classes the class's word; null where there is no outcome to learn from.
        time: the event-time column, if the table has one.
        arrives_after: how long after the event the outcome is known.
        classes: words of several classes; none of another task.
        values: whether the label is the number of a regression.
        counts: whether that is a count, which is never below 0.

    Returns:
        `_row_id`, `label` (float64: 0 or 1, the number of the class, or the value; null if there is
        none), and with a time column also `event_time` and `known_at`, in the order of `_row_id`.

    Raises:
        DeclarationError: DuckDB refuses the expression, or it gives something other than 0 and 1,
            than the classes, than finite numbers, or than counts.
    """
    labels = _evaluated(rows, sql, time, as_number=not classes)
    labels = labels.with_columns(_numbered(labels["label"], sql, classes) if classes else [])
    if not classes:
        _check_numbers(labels["label"], sql, values, 0.0 if counts else -math.inf)
    if time is None:
        return labels
    utc = pl.col("event_time").cast(pl.Datetime("us", "UTC"))
    return labels.with_columns(utc, known_at=utc + arrives_after)


def _check_numbers(given: pl.Series, sql: str, values: bool, least: float) -> None:
    known = given.drop_nulls()
    fine = known.is_finite() & (known >= least) if values else known.is_in([0.0, 1.0])
    strange = known.filter(~fine)
    if strange.len():
        numbers = "finite numbers or null" if math.isinf(least) else "numbers from 0 on, or null"
        allowed = numbers if values else "true, false, 0, 1 or null"
        raise DeclarationError(f"label.sql must give {allowed}, but {sql!r} gave {strange[0]}.")


def _evaluated(
    rows: pl.LazyFrame | pl.DataFrame, sql: str, time: str | None, *, as_number: bool
) -> pl.DataFrame:
    """`_row_id`, `label` and `event_time` of the rows, in the order of `_row_id`."""
    import duckdb

    value = f"CAST(({sql}) AS DOUBLE)" if as_number else f"({sql})"
    times = f', "{time}" AS event_time' if time else ""
    with session() as connection:
        connection.register("label_rows", rows)
        query = f"SELECT _row_id, {value} AS label{times} FROM label_rows ORDER BY _row_id"
        try:
            return connection.sql(query).pl()
        except duckdb.Error as error:
            raise DeclarationError(f"label.sql is not valid: {sql!r}. {error}") from error


def _numbered(given: pl.Series, sql: str, classes: Sequence[str]) -> pl.Series:
    """The numbers of the classes that a column names; null where it is."""
    values = given.unique().drop_nulls().to_list()
    words = {value: word_of(value) for value in values}
    numbers = {word: float(number) for number, word in enumerate(classes)}
    for word in words.values():
        if word not in numbers:
            what = f"The class that label.sql ({sql}) gives"
            raise DeclarationError(must_be(what, classes, word))
    return given.replace_strict(
        values, [numbers[words[value]] for value in values], default=None, return_dtype=pl.Float64
    )


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
