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
from ai_assets.stages import delivery, shown
from ai_assets.stages.anomalies import changed_rows, ordered
from ai_assets.stages.binding import Outcome, StageRun
from ai_assets.stages.broken_source import tell_broken_source, tell_read_source
from ai_assets.stages.declared.data import has_own_files
from ai_assets.stages.landing import files_of, naming_files, told_of
from ai_assets.stages.meanings import of_table


def copy_sources(runs: Sequence[StageRun], name: str, table: Table) -> list[Outcome]:
    """Read each partition's rows from the source and replace all the partitions in the lake."""
    product, lake = runs[0].product, runs[0].lake
    keys = [run.key_in(name) for run in runs]
    asset, found = product.asset(f"raw/{name}"), []
    before, kept = lake.counts(asset), lake.counts(product.asset(f"cleaned/{name}"))
    stored = lake.replacing(asset, keys)
    for run, key in zip(runs, keys, strict=True):
        files = files_of(product, name, table)
        try:
            given, injected = declared_rows(run, name, table, files)
        except ColumnsError as error:
            tell_broken_source(run, name, error.problems)
            raise
        tell_read_source(run, name)
        rows = treat(given.rows, table, pseudonym_key()) if table.plain else given.rows
        taken = rows.select(pl.exclude(*table.ignore)) if table.ignore else rows
        stored.add(key, taken)
        told = told_of(files)
        check_unchanged(files)
        strays = delivery.no_strays(run, given) if has_own_files(product, name, table) else None
        found.append((taken.collect_schema(), injected | told | treatments(table), strays))
    written = stored.commit()
    return [
        Outcome(
            written[key].digest,
            {**shown.rows_and_columns(schema, written[key].rows, meanings=of_table(table)), **more},
            delivery.findings(
                run,
                name,
                written[key].rows,
                before=before.get(key),
                kept=kept.get(key),
                strays=strays,
            ),
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
        table.source,
        span,
        table=table,
        folder=folder,
        partition=run.partition,
        partitions=run.product.declaration.partitions,
        landed=files,
    )
    return given, {}
