"""raw/<table>: the source's rows, as the source has them."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from ai_assets.lifecycle.cleaning import check_columns
from ai_assets.lifecycle.cleaning.personal import treat
from ai_assets.lifecycle.errors import ColumnsError
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import Delivery, read_delivery
from ai_assets.lifecycle.sources.landing import Landed, check_unchanged
from ai_assets.resources.pseudonyms import pseudonym_key
from ai_assets.stages import shown
from ai_assets.stages.anomalies import changed_rows, ordered
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.broken_source import tell_broken_source, tell_read_source
from ai_assets.stages.declared.data import HAS_ROWS, NO_STRAYS, NOT_EMPTIED, has_own_files
from ai_assets.stages.landing import files_of, naming_files, told_of
from ai_assets.stages.meanings import of_table


def copy_sources(runs: Sequence[StageRun], name: str, table: Table) -> list[Outcome]:
    """Read each partition's rows from the source and replace all the partitions in the lake."""
    product, lake = runs[0].product, runs[0].lake
    keys = [run.key_in(name) for run in runs]
    found = []
    stored = lake.replacing(product.asset(f"raw/{name}"), keys)
    for run, key in zip(runs, keys, strict=True):
        files = files_of(product, name, table)
        try:
            given, injected = declared_rows(run, name, table, files)
        except ColumnsError as error:
            tell_broken_source(run, name, error.problems)
            raise
        tell_read_source(run, name)
        rows = treat(given.rows, table, pseudonym_key()) if table.plain else given.rows
        kept = rows.select(pl.exclude(*table.ignore)) if table.ignore else rows
        stored.add(key, kept)
        told = told_of(files)
        check_unchanged(files)
        own_files = has_own_files(product, name, table)
        strays = {NO_STRAYS.name: no_strays(run, given)} if own_files else {}
        found.append((kept.collect_schema(), injected | told | treatments(table), strays))
    written = stored.commit()
    return [
        Outcome(
            written[key].digest,
            {**shown.rows_and_columns(schema, written[key].rows, meanings=of_table(table)), **more},
            {
                HAS_ROWS.name: has_rows(name, run.partition, written[key].rows),
                NOT_EMPTIED.name: not_emptied(run, name, key, written[key].rows),
                **strays,
            },
        )
        for run, key, (schema, more, strays) in zip(runs, keys, found, strict=True)
    ]


def treatments(table: Table) -> dict[str, str]:
    """How each personal column was treated, for people."""
    said = ", ".join(f"{name}: {column.personal}" for name, column in table.plain.items())
    return {"personal": said} if said else {}


def declared_rows(
    run: StageRun, name: str, table: Table, files: tuple[Landed, ...]
) -> tuple[Delivery, dict[str, Any]]:
    """`source_rows`, whose columns are those declared.

    Raises:
        ColumnsError: they are others, or differ from file to file.
    """
    given, injected = source_rows(run, name, table, files)
    try:
        check_columns(given.rows, table, name)
    except ColumnsError as error:
        # from None: whoever tells of a failure looks for its first cause, which names no file
        raise naming_files(error, files) from None
    return given, injected


def source_rows(
    run: StageRun, name: str, table: Table, files: tuple[Landed, ...]
) -> tuple[Delivery, dict[str, Any]]:
    """The partition's rows, changed by the ordered anomaly if any, and what to say of that.

    Of a landing folder they are those of the files.
    """
    span = run.span if run.product.is_partitioned(name) else None
    anomaly = ordered()
    if anomaly is not None and span is not None and anomaly.applies_to(run.partition):
        changed = changed_rows(run, name, anomaly).lazy()
        return Delivery(changed, None), {"injected": anomaly.name}
    folder = run.product.folder
    given = read_delivery(
        table.source, span, table=table, folder=folder, partition=run.partition, landed=files
    )
    return given, {}


def has_rows(name: str, partition: str | None, rows: int) -> Finding:
    """Whether a source gave rows; an empty partition is suspicious, not necessarily wrong."""
    where = f" for {partition}" if partition else ""
    words = f"{name} has {rows:,} rows{where}." if rows else f"{name} has no rows{where}."
    return Finding(rows > 0, words, {"rows": rows}, warn=True)


def no_strays(run: StageRun, given: Delivery) -> Finding:
    """Whether all rows of the partition's own file lie in it."""
    if given.strays is None:
        return Finding(True, "An anomaly on order stands in for the file.")
    found = given.strays.collect(engine="streaming").row(0, named=True)
    if not found["rows"]:
        return Finding(True, "Every row of its file lies in the partition.")
    words = (
        f"The file of {run.partition} holds {found['rows']:,} rows that lie outside it, from "
        f"{found['first']} to {found['last']}; no partition reads them from there."
    )
    return Finding(False, words, {"rows_outside": found["rows"]}, warn=True)


def not_emptied(run: StageRun, name: str, key: str, rows: int) -> Finding:
    """Whether there are rows, or none were cleaned before that would go now.

    What was made of those rows stays, until somebody asks for the cleaned table by itself.
    """
    cleaned = run.product.asset(f"cleaned/{name}")
    kept = 0
    if not rows and run.lake.exists(cleaned, key):
        kept = run.lake.scan(cleaned, [key]).select(pl.len()).collect().item()
    if not kept:
        return Finding(True, "Nothing that was there is gone.")
    where = f" of {run.partition}" if key == run.partition else ""
    return Finding(
        False,
        f"{name} has no rows{where} any more; {cleaned.path} has {kept:,}. They stay, with all "
        f"that was made of them. If it is meant, materialize {cleaned.path}{where} by itself, and "
        "then this again.",
        {"rows": 0, "cleaned_rows": kept},
    )
