"""From a cleaned row back to the raw rows that it was made of."""

import polars as pl

from ai_assets.lifecycle.cleaning.clean import as_text
from ai_assets.lifecycle.cleaning.identity import occurrences, row_hashes, row_ids
from ai_assets.lifecycle.cleaning.rules import cast_columns
from ai_assets.lifecycle.schema.tables import Table

ROW_ID = "_row_id"


def raw_rows_of(raw: pl.LazyFrame, table: Table, ids: pl.Series) -> pl.DataFrame:
    """The raw rows that cleaned rows stand on: `_row_id`, and the raw columns as text.

    A row's id is a digest of its key once cast, so a raw row has it too. Where several raw rows
    have one key, all of them are given, those that cleaning threw out as duplicates among them.

    Args:
        raw: rows with at least the declared columns, of any type.
        table: the declaration.
        ids: Int64 ids of cleaned rows.
    """
    names = list(table.columns)
    rows = raw.select(names).collect()
    typed = rows.select(cast_columns(rows.schema, table))
    hashes = row_hashes(typed, table.key or names)
    found = row_ids(hashes) if table.key else row_ids(hashes, occurrences(hashes))
    wanted = found.is_in(ids.implode())
    return as_text(rows.filter(wanted)).insert_column(0, found.filter(wanted).alias(ROW_ID))
