"""How stages show things in the UI: tables, counts, Markdown, pictures and column lineage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages.meanings import ROW

_ROWS_SHOWN = 40
_WORDS_SHOWN = 10


def rows_and_columns(
    frame: pl.LazyFrame | pl.DataFrame | pl.Schema,
    rows: int,
    declared: Mapping[str, Column] | None = None,
    meanings: Mapping[str, str] = ROW,
) -> dict[str, Any]:
    """Row count (plotted over time by the UI) and column schema, with what columns mean.

    That is what is declared of them, or of the graph's own columns what `meanings` tells.
    """
    schema = frame if isinstance(frame, pl.Schema) else frame.collect_schema()
    known = declared or {}
    columns = [
        _column(name, dtype, known.get(name), meanings.get(name)) for name, dtype in schema.items()
    ]
    return {
        "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


def _column(
    name: str, dtype: pl.DataType, declared: Column | None, meaning: str | None
) -> dg.TableColumn:
    if declared is None:
        return dg.TableColumn(name, str(dtype), description=meaning)
    bounds = [("at least", declared.min), ("at most", declared.max)]
    told = [f"{words} {bound:.16g}" for words, bound in bounds if bound is not None]
    if declared.allowed is not None:
        more = ["…"] if len(declared.allowed) > _WORDS_SHOWN else []
        told.append("one of " + ", ".join([*map(str, declared.allowed[:_WORDS_SHOWN]), *more]))
    if declared.personal:
        told.append("personal")
    return dg.TableColumn(
        name,
        str(dtype),
        description=declared.meaning or None,
        constraints=dg.TableColumnConstraints(nullable=declared.nullable, other=told),
    )


def table(frame: pl.DataFrame, digits: int = 4) -> dg.MarkdownMetadataValue:
    """A frame as a Markdown table; at most 40 rows."""
    if frame.is_empty():
        return dg.MetadataValue.md("none")
    head = "| " + " | ".join(frame.columns) + " |\n|" + "---|" * frame.width
    lines = [
        "| " + " | ".join(_cell(value, digits) for value in row) + " |"
        for row in frame.head(_ROWS_SHOWN).iter_rows()
    ]
    more = [f"\n… and {frame.height - _ROWS_SHOWN} more"] if frame.height > _ROWS_SHOWN else []
    return dg.MetadataValue.md("\n".join([head, *lines, *more]))


def _cell(value: object, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if abs(value) < 1e6 else f"{value:.3e}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def numbers(values: Mapping[str, float], prefix: str = "") -> dict[str, Any]:
    """Numbers that the UI plots over partitions; NaN is left out, it cannot be plotted."""
    return {f"{prefix}{name}": float(v) for name, v in values.items() if v == v}


def json(content: Any) -> dg.JsonMetadataValue:
    return dg.MetadataValue.json(content)


def markdown(text: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(text)


def path(file: Path) -> dg.PathMetadataValue:
    """A file that a person can open."""
    return dg.MetadataValue.path(str(file))


def column_lineage(
    product: Product, lineage: Mapping[str, Sequence[tuple[str, str]]]
) -> dg.TableColumnLineage:
    """Where each feature comes from, as Dagster's column lineage.

    The request is its own table's rows, and a moment (`<column>_known_at`) its column's.
    """
    deps = {
        feature: [
            dg.TableColumnDep(asset_key=dg.AssetKey(key), column_name=column)
            for key, column in sorted({_cleaned(product, *source) for source in sources})
        ]
        for feature, sources in lineage.items()
    }
    return dg.TableColumnLineage(deps_by_column=deps)


def _cleaned(product: Product, table: str, column: str) -> tuple[tuple[str, ...], str]:
    name = product.declaration.request if table == "request" else table
    declared = product.declaration.tables[name]
    base = column.removesuffix("_known_at")
    if base not in declared.columns and declared.time is not None:
        base = declared.time
    return tuple(product.asset(f"cleaned/{name}").key), base
