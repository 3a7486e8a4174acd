"""Why one row got its answer: release, model, features, and the raw rows that they stand on."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ai_assets.automation.why.find_prediction import find_prediction
from ai_assets.automation.why.origins import Found, find_rows, like, same
from ai_assets.automation.why.records import Records, plain
from ai_assets.automation.why.versions import Version, as_of, collected, rows_at
from ai_assets.lifecycle.cleaning.origin import raw_rows_of
from ai_assets.lifecycle.errors import MissingPartitionsError
from ai_assets.lifecycle.features.images import png
from ai_assets.lifecycle.features.lineage import Origin, column_lineage
from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.explain import Explainer, one_row
from ai_assets.serving.scoring import Scorer
from ai_assets.stages.features import schemas
from ai_assets.stages.monitoring import read_watched

HIDDEN = "(personal)"
NOTE = (
    "Looked at were the rows from `lookback` before the answer was given up to the row's own time. "
    "Which of them a feature stands on was found by leaving rows out and running the query again."
)


def why_prediction(records: Records, row_id: str, partition: str | None = None) -> dict[str, Any]:
    """Why a row of batch predictions got its answer.

    Args:
        records: of the product.
        row_id: `_row_id` of the prediction.
        partition: where to look for it; everywhere for None.

    Raises:
        DataError: there is no such prediction, or what it was made of was vacuumed.
        BundleError: the bundle that gave it is gone or spoilt.
    """
    key, answer = find_prediction(records, row_id, partition)
    bundle = records.bundles.load(answer["bundle"])
    written = as_of(records, "predictions", [key] if key else None)
    recorded, made = recorded_features(records, bundle, key, answer["_row_id"], written)
    moment = made.at if made else written.at
    tables = table_versions(records, key, moment)
    request = request_row(records, tables[records.product.declaration.request], key, answer)
    rows = {name: near_rows(records, name, v, request) for name, v in tables.items()}
    lineage = column_lineage(bundle.features_sql, schemas(records.product))
    found = find_rows(
        partial(features_from, records, bundle, request),
        request.row(0, named=True),
        rows,
        lineage,
        entity_columns(records, request),
    )
    values = recorded or found.values
    return {
        "asked": "prediction",
        "product": records.name,
        "row_id": answer["_row_id"],
        "partition": key,
        "answer": {k: v for k, v in answer.items() if k != "_row_id"}
        | of_value(records, bundle, answer["probability"]),
        "written": written.told(),
        "release": release_of(records, answer["release_id"]),
        **explained(records, bundle, values, lineage, found),
        "not_reproduced": [n for n, v in found.values.items() if not same(values.get(n), v)],
        "request": rows_told(records, records.product.declaration.request, request, tables),
        "stands_on": [
            origin_told(records, name, rows[name], request, tables, found) for name in rows
        ],
        "note": NOTE,
    }


def recorded_features(
    records: Records, bundle: Bundle, key: str | None, row_id: int, written: Version
) -> tuple[dict[str, Any] | None, Version | None]:
    """The features that were scored; none where the bundle's own query had made others."""
    if bundle.features_sql != records.product.features_sql:
        return None, None
    try:
        made = as_of(records, "features", [key] if key else None, written.at)
    except MissingPartitionsError:
        return None, None
    found = collected(rows_at(records, made).filter(pl.col("_row_id") == row_id), made)
    return (found.drop("_row_id").row(0, named=True), made) if found.height else (None, None)


def table_versions(records: Records, key: str | None, moment: datetime) -> dict[str, Version]:
    """The version of each cleaned table that the feature query read."""
    product = records.product
    keys = product.partitions.window(key, 1 + product.reach) if product.partitions and key else None
    return {
        name: as_of(
            records, f"cleaned/{name}", keys if product.is_partitioned(name) else None, moment
        )
        for name in product.declaration.tables
    }


def request_row(
    records: Records, version: Version, key: str | None, answer: Mapping[str, Any]
) -> pl.DataFrame:
    """The cleaned request row [1]."""
    rows = rows_at(records, version).filter(pl.col("_row_id") == answer["_row_id"])
    return collected(rows, version)


def near_rows(records: Records, name: str, version: Version, request: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table that may matter, by their time; all of a table without a time."""
    declared, rows = records.product.declaration, rows_at(records, version)
    time, own = declared.tables[name].time, records.product.request_table.time
    if time is not None and own is not None:
        event = request[own][0]
        first = event - declared.horizon - declared.lookback
        rows = rows.filter(pl.col(time).is_between(first, event))
    return collected(rows, version)


def features_from(
    records: Records, bundle: Bundle, request: pl.DataFrame, tables: Mapping[str, pl.DataFrame]
) -> dict[str, Any]:
    """The request row's features, were these all rows there are."""
    declared = records.product.declaration
    made = run_features(
        bundle.features_sql,
        request,
        tables,
        specs=declared.tables,
        request_table=declared.request,
        horizon=bundle.horizon,
    )
    return made.drop("_row_id").row(0, named=True)


def entity_columns(records: Records, request: pl.DataFrame) -> list[str]:
    """Columns of the request by whose values rows of other tables can be told apart."""
    own = records.product.request_table
    return [
        name
        for name, column in own.columns.items()
        if column.type in ("string", "int64") and name not in own.late_columns
        if name != own.time and request[name][0] is not None
    ]


def release_of(records: Records, release_id: str) -> dict[str, Any] | None:
    """The ledger's entry behind a prediction, without its gate."""
    for entry in records.ledger.history(records.name).to_dicts():
        if entry["release_id"] == release_id:
            return {k: v for k, v in plain(entry).items() if k not in ("gate", "product")}
    return None


def explained(
    records: Records,
    bundle: Bundle,
    values: Mapping[str, Any],
    lineage: Mapping[str, list[Origin]],
    found: Found,
) -> dict[str, Any]:
    """What each feature contributed, how much it matters to the model, and where it comes from."""
    frame = one_row(bundle.encoding, values)
    scorer = Scorer(bundle)
    told = Explainer(scorer).explain_features(frame)[0].content()
    watched = read_watched(records.bundles.payload(bundle.tag))
    importances = watched.importances if watched else {}
    for part in told["contributions"]:
        part["importance"] = importances.get(part["feature"])
        part["made_of"] = [".".join(origin) for origin in lineage.get(part["feature"], [])]
        part["rows"] = found.sets.get(part["feature"], {})
    again = scorer.score_features(frame)
    return {"scored_again": float(again.probability[0]), "explanation": told}


def of_value(records: Records, bundle: Bundle | None, value: float) -> dict[str, Any]:
    """Of the answer of a regression its unit and interval, where there are any; else nothing."""
    if records.product.declaration.label.task != "regression":
        return {}
    interval = None if bundle is None else bundle.decision.interval
    told: dict[str, Any] = {"value": value, "unit": records.product.declaration.unit}
    if interval is not None:
        low, high = (float(end[0]) for end in interval.ends(np.array([value])))
        told |= {"interval": [low, high], "coverage": interval.coverage}
    return told


def rows_told(
    records: Records,
    name: str,
    rows: pl.DataFrame,
    tables: Mapping[str, Version],
) -> dict[str, Any]:
    """Rows of a table, cleaned and raw, each with its version."""
    version, spec = tables[name], records.product.declaration.tables[name]
    raw = as_of(
        records, f"raw/{name}", list(version.partitions) if version.partitions else None, version.at
    )
    originals = raw_rows_of(rows_at(records, raw), spec, rows["_row_id"])
    return {
        "table": name,
        "cleaned": version.told() | {"rows": [plain(r) for r in shown(rows, spec).to_dicts()]},
        "raw": raw.told() | {"rows": shown(originals, spec).to_dicts()},
    }


def origin_told(
    records: Records,
    name: str,
    rows: pl.DataFrame,
    request: pl.DataFrame,
    tables: Mapping[str, Version],
    found: Found,
) -> dict[str, Any]:
    """The rows of one table that any feature stands on."""
    asked = request.row(0, named=True)
    ways = {of[name] for of in found.sets.values() if of.get(name) is not None}
    parts = [like(rows, asked, way) for way in sorted(ways, key=str) if way is not None]
    kept = pl.concat([rows.clear(), *parts]).unique("_row_id", maintain_order=True)
    time = records.product.declaration.tables[name].time
    kept = kept.sort(time, "_row_id") if time else kept.sort("_row_id")
    sets = [
        {
            "like": shown(request, records.product.request_table).select(way).row(0, named=True),
            "features": [f for f, of in found.sets.items() if of.get(name) == way],
            "row_ids": like(rows, asked, way)["_row_id"].to_list(),
        }
        for way in sorted(ways, key=str)
        if way is not None
    ]
    spread = (kept[time].min(), kept[time].max()) if time and kept.height else (None, None)
    first, last = (m.isoformat() if isinstance(m, datetime) else None for m in spread)
    of_table = rows_told(records, name, kept, tables)
    return of_table | {"first": first, "last": last, "sets": sets}


def shown(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The rows without personal data; pictures as a caller could send them."""
    columns = [(n, c) for n, c in table.columns.items() if n in rows.columns]
    personal = [pl.lit(HIDDEN).alias(n) for n, c in columns if c.personal]
    pictures = [
        pl.Series(n, [None if v is None else _sent(v, c) for v in rows[n].to_list()], pl.String)
        for n, c in columns
        if c.type == "image" and not c.personal and rows.schema[n] == pl.Binary
    ]
    return rows.with_columns(*personal, *pictures)


def _sent(image: bytes, column: Column) -> str:
    return f"data:image/png;base64,{b64encode(png(image, column.shape)).decode()}"
